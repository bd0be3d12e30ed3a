"""Builds Kokoro's network from the kokoro package's modules.

The modules and their names are those of `kokoro.KModel`, which itself only loads a pickle. Weight norm is
folded into plain weights, because otherwise every call recomputes it.
"""

import warnings
from collections.abc import Mapping
from typing import Any

import torch
from kokoro.istftnet import Decoder  # type: ignore[import-untyped]
from kokoro.modules import (  # type: ignore[import-untyped]
    CustomAlbert,
    ProsodyPredictor,
    TextEncoder,
)
from torch import nn
from torch.nn.utils import remove_weight_norm
from transformers import AlbertConfig

STYLE_CHANNELS = 128


class KokoroNetwork(nn.Module):
    """`configuration` is the model's `config.json`, `state` its state dict with KModel's names."""

    def __init__(self, configuration: Mapping[str, Any], state: Mapping[str, torch.Tensor]) -> None:
        super().__init__()
        hidden = configuration["hidden_dim"]
        with warnings.catch_warnings():
            # The package uses the old interface of weight norm and dropout in an LSTM of one layer.
            # Neither matters, because weight norm is folded and dropout is off.
            warnings.filterwarnings("ignore", category=FutureWarning, message=".*weight_norm")
            warnings.filterwarnings("ignore", category=UserWarning, message="dropout option adds dropout")
            bert = AlbertConfig(vocab_size=configuration["n_token"], **configuration["plbert"])
            self.bert = CustomAlbert(bert)
            self.bert_encoder = nn.Linear(bert.hidden_size, hidden)
            self.predictor = ProsodyPredictor(
                style_dim=configuration["style_dim"],
                d_hid=hidden,
                nlayers=configuration["n_layer"],
                max_dur=configuration["max_dur"],
                dropout=configuration["dropout"],
            )
            self.text_encoder = TextEncoder(
                channels=hidden,
                kernel_size=configuration["text_encoder_kernel_size"],
                depth=configuration["n_layer"],
                n_symbols=configuration["n_token"],
            )
            self.decoder = Decoder(
                dim_in=hidden,
                style_dim=configuration["style_dim"],
                dim_out=configuration["n_mels"],
                **configuration["istftnet"],
            )
        self.load_state_dict(state)
        self.eval()
        _fold_weight_norm(self)
        _fuse_activation(self.bert)


def _fold_weight_norm(network: nn.Module) -> None:
    for module in network.modules():
        if hasattr(module, "weight_g"):
            remove_weight_norm(module)


def _fuse_activation(bert: CustomAlbert) -> None:
    """Replaces BERT's GELU by an equal one that reads memory once instead of eight times."""
    for group in bert.encoder.albert_layer_groups:
        for layer in group.albert_layers:
            layer.activation = nn.GELU(approximate="tanh")
