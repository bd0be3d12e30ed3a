"""Converts Kokoro's ONNX export, dynamically quantised to int8, back to a float state dict.

The names of the graph's nodes contain the names of the original modules:
`/encoder/F0.0/conv1/Conv_quant` is `predictor.F0.0.conv1`. Only the preparation imports this module, the
only one that needs `onnx`.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from attrs import frozen
from numpy.typing import NDArray
from onnx import numpy_helper

from kokoro_trio.weights.parameters import Shapes, complete_parameters

Array = NDArray[np.float32]

OF_THE_PREDICTOR = re.compile(r"(F0|N)\.\d+|shared|F0_proj|N_proj")
"""The paths of these parts of the predictor lack its name, because the export calls them directly."""
TORCH_GATES = (0, 2, 3, 1)
"""ONNX stacks an LSTM's gates as i, o, f, c, and torch as i, f, g (ONNX's c), o."""
DIRECTIONS = ("", "_reverse")


@frozen
class Graph:
    """An ONNX graph: its weights by name, and the nodes that write and read each value."""

    nodes: tuple[onnx.NodeProto, ...]
    weights: Mapping[str, onnx.TensorProto]
    makers: Mapping[str, onnx.NodeProto]
    readers: Mapping[str, tuple[onnx.NodeProto, ...]]

    @classmethod
    def of(cls, graph: onnx.GraphProto) -> "Graph":
        readers: dict[str, tuple[onnx.NodeProto, ...]] = {}
        for node in graph.node:
            for name in node.input:
                readers[name] = (*readers.get(name, ()), node)
        return cls(
            nodes=tuple(graph.node),
            weights={weight.name: weight for weight in graph.initializer},
            makers={name: node for node in graph.node for name in node.output},
            readers=readers,
        )

    def weight(self, name: str) -> NDArray[Any]:
        return numpy_helper.to_array(self.weights[name])


def load_onnx_parameters(path: Path, shapes: Shapes) -> dict[str, torch.Tensor]:
    """The parameters in `shapes`, as exact as int8 is. Raises `ParametersUnusable` for a missing one."""
    graph = Graph.of(onnx.load(path).graph)
    found = dict(named_parameters(graph)) | dict(node_parameters(graph))
    # The graph also has constants, and eleven more copies of BERT's one layer, with numbered names
    # (`query_1`).
    known = {name: array for name, array in split_weight_norms(found, shapes) if name in shapes}
    return complete_parameters({name: torch.tensor(array) for name, array in known.items()}, shapes)


def named_parameters(graph: Graph) -> Iterator[tuple[str, Array]]:
    """The float weights with names of their own: biases, norms, the alphas of the snake activations."""
    for name, weight in graph.weights.items():
        if name.startswith(("encoder.", "decoder.")) and weight.data_type == onnx.TensorProto.FLOAT:
            yield name.partition(".")[2], np.asarray(graph.weight(name), np.float32)


def node_parameters(graph: Graph) -> Iterator[tuple[str, Array]]:
    """The weights without names of their own, named after the nodes that use them."""
    for node in graph.nodes:
        if read := READERS.get(node.op_type):
            module = module_path(node.name)
            for name, array in read(graph, node):
                yield f"{module}.{name}", array


def module_path(node_name: str) -> str:
    """KModel's module of a node: `/encoder/F0.0/conv1/Conv` belongs to `predictor.F0.0.conv1`."""
    stage, *parts = node_name.strip("/").split("/")[:-1]
    if stage == "encoder" and parts and OF_THE_PREDICTOR.fullmatch(parts[0]):
        parts.insert(0, "predictor")
    # The path of a module in a ModuleList repeats the list's path: `cnn.0/cnn.0.0`.
    return ".".join(part for part, after in pairwise([*parts, ""]) if not after.startswith(f"{part}."))


# One reader per kind of node with weights; it yields names relative to the module.


def _read_integer_matmul(graph: Graph, node: onnx.NodeProto) -> Iterator[tuple[str, Array]]:
    # ONNX multiplies from the right, torch.nn.Linear from the left.
    yield "weight", integer_weight(graph, node).T


def _read_integer_conv(graph: Graph, node: onnx.NodeProto) -> Iterator[tuple[str, Array]]:
    yield "weight", integer_weight(graph, node)


def _read_float_matmul(graph: Graph, node: onnx.NodeProto) -> Iterator[tuple[str, Array]]:
    if node.input[1] in graph.weights:
        yield "weight", np.asarray(graph.weight(node.input[1]), np.float32).T


def _read_float_conv(graph: Graph, node: onnx.NodeProto) -> Iterator[tuple[str, Array]]:
    yield "weight", np.asarray(graph.weight(node.input[1]), np.float32)


def _read_embedding(graph: Graph, node: onnx.NodeProto) -> Iterator[tuple[str, Array]]:
    rows, scale, zero_point = node.input
    table = graph.makers[rows].input[0]
    yield "weight", dequantize(graph.weight(table), graph.weight(scale), graph.weight(zero_point))


def _read_lstm(graph: Graph, node: onnx.NodeProto) -> Iterator[tuple[str, Array]]:
    """Both directions. The weights have shape (2, inputs, 4 x hidden) and one scale per direction."""
    _, w, r, biases, *_, w_scale, w_zero, r_scale, r_zero = node.input
    weights = {"weight_ih_l0": (w, w_scale, w_zero), "weight_hh_l0": (r, r_scale, r_zero)}
    for direction, suffix in enumerate(DIRECTIONS):
        for name, values in weights.items():
            array = dequantize(*(graph.weight(value)[direction] for value in values))
            yield name + suffix, torch_gates(array.T)
        halves = np.split(graph.weight(biases)[direction], 2)
        for name, half in zip(("bias_ih_l0", "bias_hh_l0"), halves, strict=True):
            yield name + suffix, torch_gates(half)


Reader = Callable[[Graph, onnx.NodeProto], Iterator[tuple[str, Array]]]
READERS: Mapping[str, Reader] = {
    "MatMulInteger": _read_integer_matmul,
    "ConvInteger": _read_integer_conv,
    "MatMul": _read_float_matmul,
    "Conv": _read_float_conv,
    "ConvTranspose": _read_float_conv,
    "DequantizeLinear": _read_embedding,
    "DynamicQuantizeLSTM": _read_lstm,
}


def integer_weight(graph: Graph, node: onnx.NodeProto) -> Array:
    """The weight of a MatMulInteger (one scale per column) or a ConvInteger (one scale)."""
    _, weight, _, zero_point = node.input
    return dequantize(graph.weight(weight), _weight_scale(graph, node), graph.weight(zero_point))


def _weight_scale(graph: Graph, node: onnx.NodeProto) -> NDArray[Any]:
    """`rescaling` multiplies by the input's scale, known only at run time, times the weight's scale."""
    makers = (graph.makers[name] for name in rescaling(graph, node).input)
    (scales,) = (maker for maker in makers if maker.op_type == "Mul")
    (scale,) = (name for name in scales.input if name in graph.weights)
    return graph.weight(scale)


def rescaling(graph: Graph, node: onnx.NodeProto) -> onnx.NodeProto:
    """The Mul that rescales a node's int32 result, after a cast and sometimes a bias."""
    while node.op_type != "Mul":
        (node,) = graph.readers[node.output[0]]
    return node


def dequantize(quantized: NDArray[Any], scale: NDArray[Any], zero_point: NDArray[Any]) -> Array:
    # The difference of two int8 values overflows int8.
    return np.asarray((quantized.astype(np.int32) - zero_point.astype(np.int32)) * scale, np.float32)


def torch_gates(stacked: Array) -> Array:
    """Reorders the rows of an LSTM weight or bias from ONNX's order of gates to torch's."""
    gates = np.split(stacked, len(TORCH_GATES))
    return np.concatenate([gates[gate] for gate in TORCH_GATES])


def split_weight_norms(found: Mapping[str, Array], shapes: Shapes) -> Iterator[tuple[str, Array]]:
    """Splits each `weight` of a module with weight norm into `weight_g` and `weight_v`."""
    for name, array in found.items():
        if f"{name}_g" in shapes:
            yield from zip((f"{name}_g", f"{name}_v"), weight_norm(array), strict=True)
        else:
            yield name, array


def weight_norm(weight: Array) -> tuple[Array, Array]:
    """(g, v) with weight = g * v / |v|. The norm is over all dimensions except the first.

    Quantisation turned 94 of Kokoro's rows into zeros, and 0 / 0 would make the whole output NaN. For
    those rows g is 0, so v may have any other value.
    """
    g = np.sqrt(np.square(weight).sum(axis=tuple(range(1, weight.ndim)), keepdims=True))
    return g, np.where(g == 0, np.float32(1), weight)
