"""The model without memory has the parameters, and the bytes, of one that was loaded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from tests.conftest import FAMILIES, LLAMA_LIKE
from torch import nn

from lorafit.hardware import Hardware
from lorafit.model.load import count_parameters, load_base
from lorafit.model.settings import Quantization
from lorafit.plan.meta import held_constants, meta_base, with_layers

CPU = torch.device("cpu")


def parameters_of(model: nn.Module) -> dict[str, Any]:
    return {name: (p.shape, p.dtype, p.requires_grad, type(p)) for name, p in model.named_parameters()}


@pytest.mark.parametrize(("quantization", "double"), [("none", False), ("nf4", True), ("nf4", False), ("int8", False)])
@pytest.mark.parametrize("family", FAMILIES)
def test_parameters_are_those_of_a_loaded_model(
    family: str, quantization: Quantization, double: bool, bases: Callable[[str], Path]
) -> None:
    dtype = torch.bfloat16
    real = load_base(bases(family), Hardware(CPU, dtype, "a test"), quantization, double).model
    planned = meta_base(real.config, dtype, quantization, double).model
    assert parameters_of(planned) == parameters_of(real)
    assert count_parameters(planned) == count_parameters(real)
    assert [type(m).__name__ for m in planned.modules()] == [type(m).__name__ for m in real.modules()]
    assert [(b.shape, b.dtype) for b in planned.buffers()] == [(b.shape, b.dtype) for b in real.buffers()]
    tied = [model.get_output_embeddings().weight is model.get_input_embeddings().weight for model in (planned, real)]
    assert tied[0] == tied[1]
    constants = [[(t.shape, t.dtype) for t in held_constants(model)] for model in (planned, real)]
    assert constants[0] == constants[1]
    assert bool(constants[0]) == (quantization != "none")


def test_constants_of_nf4_by_hand() -> None:
    """44 x 32 weights: 22 blocks of 64; a byte each and one float32 for the 22, the two tables and the offset."""
    config = transformers.LlamaConfig(**LLAMA_LIKE)
    for double, expected in ((True, 22 + 4 + 4 * (16 + 256 + 1)), (False, 22 * 4 + 16 * 4)):
        model = meta_base(config, torch.bfloat16, "nf4", double).model
        layer = nn.ModuleList([model.model.layers[0].mlp.gate_proj])
        assert sum(t.untyped_storage().nbytes() for t in held_constants(layer)) == expected
        assert layer[0].weight.untyped_storage().nbytes() == 44 * 32 // 2


def test_kinds_of_layers_go_on_in_their_order() -> None:
    config = transformers.Gemma3TextConfig(**{**LLAMA_LIKE, "num_hidden_layers": 12})
    sliding, full = "sliding_attention", "full_attention"
    assert with_layers(config, 4).layer_types == [sliding] * 4
    assert with_layers(config, 14).layer_types == ([sliding] * 5 + [full]) * 2 + [sliding] * 2
    assert with_layers(config, 14).num_hidden_layers == 14
    assert (config.num_hidden_layers, len(config.layer_types)) == (12, 12)
    model = meta_base(with_layers(config, 7), torch.float32, "none", False).model
    assert len(model.model.layers) == 7


def test_the_default_type_is_as_before() -> None:
    before = torch.get_default_dtype()
    meta_base(transformers.LlamaConfig(**LLAMA_LIKE), torch.bfloat16, "none", False)
    assert torch.get_default_dtype() == before
