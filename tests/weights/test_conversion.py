"""Pure: small handmade graphs. With the real weights: compares the converted model with the export."""

import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime  # type: ignore[import-untyped]
import pytest
import torch
from attrs import frozen
from kokoro import KModel  # type: ignore[import-untyped]
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from kokoro_trio.weights.conversion import (
    Graph,
    dequantize,
    integer_weight,
    load_onnx_parameters,
    module_path,
    named_parameters,
    node_parameters,
    rescaling,
    split_weight_norms,
    torch_gates,
    weight_norm,
)
from kokoro_trio.weights.parameters import ParametersUnusable, complete_parameters
from kokoro_trio.weights.preparation import ONNX_FILE
from kokoro_trio.weights.prepared import Weights, open_weights
from kokoro_trio.weights.release import Release, file_sha256
from tests.support.environment import TEST_WEIGHTS

Floats = NDArray[np.float32]

# --- names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("node", "module"),
    [
        ("/encoder/F0.0/conv1/Conv_quant", "predictor.F0.0.conv1"),
        ("/encoder/N.1/pool/ConvTranspose", "predictor.N.1.pool"),
        ("/encoder/F0_proj/Conv_quant", "predictor.F0_proj"),
        ("/encoder/shared/LSTM_quant", "predictor.shared"),
        ("/encoder/predictor/lstm/LSTM_quant", "predictor.lstm"),
        ("/encoder/bert_encoder/MatMul_quant", "bert_encoder"),
        (
            "/encoder/bert/encoder/embedding_hidden_mapping_in/MatMul",
            "bert.encoder.embedding_hidden_mapping_in",
        ),
        ("/encoder/text_encoder/cnn.0/cnn.0.0/Conv_quant", "text_encoder.cnn.0.0"),
        ("/decoder/decoder/asr_res/asr_res.0/Conv_quant", "decoder.asr_res.0"),
        ("/decoder/decoder/generator/ups.1/ConvTranspose", "decoder.generator.ups.1"),
        ("/encoder/MatMul_1", ""),
    ],
)
def test_module_path_of_a_node(node: str, module: str) -> None:
    assert module_path(node) == module


def test_named_floats_drop_the_stage_prefix() -> None:
    graph = graph_of(
        [],
        {
            "encoder.predictor.F0.0.conv1.bias": np.ones(2, np.float32),
            "decoder.decoder.encode.conv1.bias": np.zeros(2, np.float32),
            "decoder.decoder.encode.norm1.fc.weight_quantized": np.zeros((2, 2), np.int8),
            "onnx::Slice_579": np.zeros(2, np.float32),
        },
    )
    assert [name for name, _ in named_parameters(graph)] == [
        "predictor.F0.0.conv1.bias",
        "decoder.encode.conv1.bias",
    ]


# --- numbers -------------------------------------------------------------------------------------


def test_dequantization_does_not_overflow_int8() -> None:
    quantized, zero_point = np.array([-128, 127], np.int8), np.array(127, np.int8)
    scale = np.array(0.5, np.float32)
    np.testing.assert_array_equal(dequantize(quantized, scale, zero_point), [-127.5, 0.0])


def test_linear_weight_is_dequantized_per_column_and_transposed() -> None:
    quantized = np.array([[1, 2, 3], [4, 5, 6]], np.int8)  # two inputs, three outputs
    graph = integer_graph(
        "MatMulInteger",
        "/encoder/bert_encoder/MatMul_quant",
        quantized,
        scale=np.array([1, 10, 100], np.float32),
        zero_point=np.array([0, 1, 2], np.int8),
    )
    ((name, weight),) = node_parameters(graph)
    assert name == "bert_encoder.weight"
    np.testing.assert_array_equal(weight, [[1, 4], [10, 40], [100, 400]])


@pytest.mark.parametrize("has_bias", [False, True])
def test_scale_of_a_convolution_behind_cast_and_bias(has_bias: bool) -> None:
    graph = integer_graph(
        "ConvInteger",
        "/encoder/F0.0/conv1/Conv_quant",
        np.array([[[1, 2, 3]]], np.int8),
        scale=np.array(0.25, np.float32),
        zero_point=np.array(2, np.int8),
        has_bias=has_bias,
    )
    ((name, weight),) = node_parameters(graph)
    assert name == "predictor.F0.0.conv1.weight"
    np.testing.assert_array_equal(weight, [[[-0.25, 0, 0.25]]])


def test_embedding_is_the_whole_table() -> None:
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["rows"]),
        helper.make_node(
            "DequantizeLinear",
            ["rows", "scale", "zero"],
            ["out"],
            "/encoder/text_encoder/embedding/Gather_quant",
        ),
    ]
    weights: dict[str, NDArray[Any]] = {
        "table": np.array([[3], [5]], np.uint8),
        "scale": np.array(2, np.float32),
        "zero": np.array(4, np.uint8),
    }
    ((name, table),) = node_parameters(graph_of(nodes, weights))
    assert name == "text_encoder.embedding.weight"
    np.testing.assert_array_equal(table, [[-2], [2]])


def test_lstm_gates_are_reordered() -> None:
    i, o, f, c = 1, 2, 3, 4
    np.testing.assert_array_equal(
        torch_gates(np.array([[i], [o], [f], [c]], np.float32)), [[i], [f], [c], [o]]
    )


def test_converted_lstm_equals_onnxruntime() -> None:
    """Compares with onnxruntime's float LSTM with the same numbers as the quantised node."""
    node, weights = small_lstm()
    graph = graph_of([node], weights)
    state = {name.removeprefix("predictor.shared."): torch.tensor(a) for name, a in node_parameters(graph)}
    lstm = torch.nn.LSTM(3, 2, bidirectional=True)
    lstm.load_state_dict(state)

    x = np.random.default_rng(1).standard_normal((4, 1, 3), np.float32)
    y, *_ = lstm(torch.from_numpy(x))

    float_node, float_weights = float_lstm(graph, node)
    (expected,) = run([float_node], float_weights, {"x": x}, [node.output[0]])
    # onnxruntime returns (steps, directions, batch, hidden).
    both = np.concatenate([expected[:, 0], expected[:, 1]], axis=-1)
    np.testing.assert_allclose(y.detach().numpy(), both, rtol=1e-5, atol=1e-6)


def test_weight_norm_round_trips_and_keeps_zero_rows() -> None:
    weight = np.array([[[3, 4]], [[0, 0]]], np.float32)
    g, v = weight_norm(weight)
    assert g.shape == (2, 1, 1)
    rebuilt = torch._weight_norm(torch.from_numpy(v), torch.from_numpy(g), 0)
    np.testing.assert_allclose(rebuilt.numpy(), weight)


def test_only_parameters_with_weight_norm_are_split() -> None:
    shapes = {"a.weight_g": (1, 1), "a.weight_v": (1, 1), "b.weight": (1, 1)}
    ones = np.ones((1, 1), np.float32)
    assert [name for name, _ in split_weight_norms({"a.weight": ones, "b.weight": ones}, shapes)] == [*shapes]


# --- the whole state dict ------------------------------------------------------------------------


def test_untrained_parameters_are_filled_in() -> None:
    shapes = {
        "x.norm1.norm.weight": (2,),
        "x.norm1.norm.bias": (2,),
        "bert.pooler.bias": (1,),
        "y.bias": (1,),
    }
    state = complete_parameters({"y.bias": torch.tensor([5.0])}, shapes)
    assert {name: tensor.tolist() for name, tensor in state.items()} == {
        "x.norm1.norm.weight": [1, 1],
        "x.norm1.norm.bias": [0, 0],
        "bert.pooler.bias": [0],
        "y.bias": [5],
    }


@pytest.mark.parametrize(
    ("state", "message"),
    [({}, "y.bias is missing"), ({"y.bias": torch.zeros(2)}, r"y.bias has shape \(2,\), not \(1,\)")],
)
def test_missing_trained_parameter_raises(state: dict[str, torch.Tensor], message: str) -> None:
    with pytest.raises(ParametersUnusable, match=message):
        complete_parameters(state, {"y.bias": (1,)})


def test_graph_of_another_model_raises(tmp_path: Path) -> None:
    path = tmp_path / "other.onnx"
    graph = helper.make_graph([], "other", [], [])
    onnx.save(helper.make_model(graph), path)
    with pytest.raises(ParametersUnusable, match=r"bert_encoder\.bias is missing"):
        load_onnx_parameters(path, {"bert_encoder.bias": (1,)})


# --- the proof -----------------------------------------------------------------------------------

# "The quick brown fox jumps over the lazy dog."
PHONEMES = "ðə kwˈɪk bɹˈWn fˈɑks ʤˈʌmps ˌOvəɹ ðə lˈAzi dˈɔɡ."
VOICE = "af_heart"
TOLERANCE = 1e-5
GRAPH_OUTPUTS = {
    "durations": "/encoder/Clip_output_0",
    "asr": "/encoder/MatMul_1_output_0",
    "f0": "/encoder/F0_proj/Conv_output_0",
    "n": "/encoder/N_proj/Conv_output_0",
    "decoded": "/decoder/decoder/decode.3/Div_4_output_0",
    "har": "/decoder/decoder/generator/Concat_3_output_0",
    "conv_post": "/decoder/decoder/generator/conv_post/Conv_output_0",
}


@frozen
class Proof:
    """The values of one sentence in the export made float, in torch, and in the quantised export."""

    float_graph: dict[str, Floats]
    torch: dict[str, Floats]
    int8_graph: dict[str, Floats]


@pytest.fixture(scope="module")
def proof() -> Proof:
    weights = open_weights(TEST_WEIGHTS)
    export = TEST_WEIGHTS / ONNX_FILE
    assert file_sha256(export) == Release.load().registry.model_sha256
    model = onnx.load(export)
    inputs = graph_inputs(weights)
    float_values = run_export(made_float(model), inputs)
    return Proof(
        float_graph=float_values,
        torch=run_torch(weights, inputs, float_values["har"]),
        int8_graph=run_export(model, inputs),
    )


@pytest.mark.model
def test_durations_equal_those_of_the_export(proof: Proof) -> None:
    np.testing.assert_array_equal(proof.torch["durations"], proof.float_graph["durations"])
    assert proof.torch["durations"].sum() > 80  # frames of 25 ms; the sentence takes longer than two seconds


@pytest.mark.model
@pytest.mark.parametrize("name", ["asr", "f0", "n", "decoded", "conv_post"])
def test_features_equal_those_of_the_export(proof: Proof, name: str) -> None:
    """Up to conv_post, the last layer, with the export's harmonic source, because torch's is random."""
    assert relative_error(proof.torch[name], proof.float_graph[name]) < TOLERANCE


@pytest.mark.model
@pytest.mark.parametrize("name", ["asr", "f0", "n", "decoded"])
def test_quantized_export_is_close(proof: Proof, name: str) -> None:
    """The other comparisons dequantise both sides, so only this one finds a wrong scale.

    int8 arithmetic is off by 0.005 to 0.05 on this sentence; 0.1 is far from both that and a mistake.
    """
    assert relative_error(proof.int8_graph[name], proof.float_graph[name]) < 0.1


def relative_error(got: Floats, expected: Floats) -> float:
    """The norm of the difference, relative to the norm of the expected values."""
    assert got.shape == expected.shape
    return float(np.linalg.norm(got - expected) / np.linalg.norm(expected))


def graph_inputs(weights: Weights) -> dict[str, NDArray[Any]]:
    vocabulary = weights.config["vocab"]
    tokens = [0, *(vocabulary[phoneme] for phoneme in PHONEMES), 0]
    return {
        "tokens": np.array([tokens], np.int64),
        "style": weights.voices[VOICE][len(PHONEMES) - 1][None].numpy(),
        "speed": np.ones(1, np.float32),
    }


def run_export(model: onnx.ModelProto, inputs: dict[str, NDArray[Any]]) -> dict[str, Floats]:
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    watched.graph.output.extend(onnx.ValueInfoProto(name=name) for name in GRAPH_OUTPUTS.values())
    found = run_model(watched, inputs, [*GRAPH_OUTPUTS.values()])
    return dict(zip(GRAPH_OUTPUTS, found, strict=True))


def run_torch(weights: Weights, inputs: dict[str, NDArray[Any]], har: Floats) -> dict[str, Floats]:
    """`kokoro.KModel` with `har` as its harmonic source, and with hooks that record values."""
    model = load_kmodel(weights)
    generator = model.decoder.generator
    magnitude, phase = torch.from_numpy(har).chunk(2, dim=1)
    generator.stft.transform = lambda source: (magnitude, phase)
    seen: dict[str, torch.Tensor] = {}
    model.decoder.register_forward_pre_hook(
        lambda _, given: seen.update(asr=given[0], f0=given[1], n=given[2])
    )
    model.decoder.decode[-1].register_forward_hook(lambda *call: seen.update(decoded=call[-1]))
    generator.conv_post.register_forward_hook(lambda *call: seen.update(conv_post=call[-1]))
    _, durations = model.forward_with_tokens(
        torch.from_numpy(inputs["tokens"]), torch.from_numpy(inputs["style"]), speed=1
    )
    found = {name: value.numpy() for name, value in seen.items()}
    # KModel squeezes a channel that the export keeps.
    return found | {"f0": found["f0"][None], "n": found["n"][None], "durations": durations.numpy()[None]}


def load_kmodel(weights: Weights) -> KModel:
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.filterwarnings("ignore", category=FutureWarning, message=".*weight_norm")
        warnings.filterwarnings("ignore", category=UserWarning, message="dropout option adds dropout")
        empty = Path(folder, "empty.pth")  # KModel reads a pickle; this one holds nothing
        torch.save({}, empty)
        model = KModel(repo_id="", config=dict(weights.config), model=str(empty))
    model.load_state_dict(weights.model)
    return model.eval()


def made_float(model: onnx.ModelProto) -> onnx.ModelProto:
    """The export with float nodes and dequantised weights instead of quantised ones.

    Those weights are not the converted ones but lie as they lay in the export, so that the names, the
    transpositions, the order of gates and weight norm are all at stake.
    """
    graph = Graph.of(model.graph)
    made: dict[str, onnx.NodeProto] = {}
    dropped: set[str] = set()
    weights = {name: graph.weight(name) for name in graph.weights}
    for node in graph.nodes:
        if node.op_type in ("MatMulInteger", "ConvInteger"):
            float_node, its_weights = float_product(graph, node)
            dropped.update(outputs_up_to(graph, node, float_node.output[0]))
        elif node.op_type == "DynamicQuantizeLSTM":
            float_node, its_weights = float_lstm(graph, node)
        else:
            continue
        made[float_node.output[0]] = float_node
        weights |= its_weights
    result = onnx.ModelProto()
    result.CopyFrom(model)
    del result.graph.node[:], result.graph.initializer[:]
    kept = (node for node in graph.nodes if node.output[0] not in dropped)
    result.graph.node.extend(made.get(node.output[0], node) for node in kept)
    result.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in weights.items())
    return result


def float_product(graph: Graph, node: onnx.NodeProto) -> tuple[onnx.NodeProto, dict[str, NDArray[Any]]]:
    """One float node for a MatMulInteger or ConvInteger with its bias, cast and rescaling."""
    quantized, weight, *_ = node.input
    inputs = [graph.makers[quantized].input[0], f"{weight}_float", *bias_of(graph, node)]
    kind = node.op_type.removesuffix("Integer")
    made = helper.make_node(kind, inputs, [rescaling(graph, node).output[0]])
    made.attribute.extend(node.attribute)
    return made, {inputs[1]: integer_weight(graph, node)}


def bias_of(graph: Graph, node: onnx.NodeProto) -> list[str]:
    """The float bias that is quantised for the int32 sum, if there is one."""
    (reader,) = graph.readers[node.output[0]]
    if reader.op_type != "Add":
        return []
    name = reader.input[1]
    while name not in graph.weights:
        name = graph.makers[name].input[0]
    return [name]


def outputs_up_to(graph: Graph, node: onnx.NodeProto, last: str) -> Iterator[str]:
    while node.output[0] != last:
        yield node.output[0]
        (node,) = graph.readers[node.output[0]]


# --- small graphs --------------------------------------------------------------------------------


def graph_of(nodes: list[onnx.NodeProto], weights: dict[str, NDArray[Any]]) -> Graph:
    initializers = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    return Graph.of(helper.make_graph(nodes, "small", [], [], initializers))


def integer_graph(
    kind: str,
    name: str,
    quantized: NDArray[np.int8],
    *,
    scale: Floats,
    zero_point: NDArray[np.int8],
    has_bias: bool = False,
) -> Graph:
    """A quantised node with its neighbours in the export. Biases of convolutions are added to the int32."""
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["xq", "xs", "xz"]),
        helper.make_node("Mul", ["xs", "scale"], ["scales"]),
        helper.make_node(kind, ["xq", "w", "xz", "wz"], ["sum"], name),
        *([helper.make_node("Add", ["sum", "bias"], ["biased"])] if has_bias else []),
        helper.make_node("Cast", ["biased" if has_bias else "sum"], ["cast"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Mul", ["cast", "scales"], ["y"]),
    ]
    return graph_of(nodes, {"w": quantized, "wz": zero_point, "scale": scale, "bias": np.zeros(1, np.int32)})


def small_lstm() -> tuple[onnx.NodeProto, dict[str, NDArray[Any]]]:
    """Three inputs, two hidden units and both directions, with different scales and zero points."""
    random = np.random.default_rng(0)
    weights: dict[str, NDArray[Any]] = {
        "w": random.integers(0, 255, (2, 3, 8), np.uint8),
        "r": random.integers(0, 255, (2, 2, 8), np.uint8),
        "b": random.standard_normal((2, 16), np.float32),
        "ws": np.array([0.01, 0.02], np.float32),
        "wz": np.array([128, 100], np.uint8),
        "rs": np.array([0.03, 0.01], np.float32),
        "rz": np.array([120, 140], np.uint8),
    }
    names = ["x", "w", "r", "b", "", "", "", "", "ws", "wz", "rs", "rz"]
    node = helper.make_node(
        "DynamicQuantizeLSTM",
        names,
        ["y", "h", "c"],
        "/encoder/shared/LSTM_quant",
        domain="com.microsoft",
        direction="bidirectional",
        hidden_size=2,
    )
    return node, weights


def run(
    nodes: list[onnx.NodeProto],
    weights: dict[str, NDArray[Any]],
    inputs: dict[str, Floats],
    outputs: list[str],
) -> list[Floats]:
    float_of = onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info(name, float_of, array.shape) for name, array in inputs.items()],
        [onnx.ValueInfoProto(name=name) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    return run_model(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), inputs, outputs
    )


def run_model(model: onnx.ModelProto, inputs: dict[str, NDArray[Any]], outputs: list[str]) -> list[Floats]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors; it warns of every weight that is not used any more
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    found: list[Floats] = session.run(outputs, inputs)
    return found


def float_lstm(graph: Graph, node: onnx.NodeProto) -> tuple[onnx.NodeProto, dict[str, NDArray[Any]]]:
    """A standard ONNX LSTM with the numbers of a quantised one, whose weights are transposed."""
    x, w, r, b, lengths, h, c, _, ws, wz, rs, rz = node.input
    weights = {
        f"{name}_float": dequantize(
            graph.weight(name), graph.weight(scale)[:, None, None], graph.weight(zero)[:, None, None]
        ).transpose(0, 2, 1)
        for name, scale, zero in ((w, ws, wz), (r, rs, rz))
    }
    hidden_size = graph.weight(r).shape[1]
    made = helper.make_node(
        "LSTM",
        [x, f"{w}_float", f"{r}_float", b, lengths, h, c],
        node.output,
        direction="bidirectional",
        hidden_size=hidden_size,
    )
    return made, weights | ({} if b not in graph.weights else {b: graph.weight(b)})
