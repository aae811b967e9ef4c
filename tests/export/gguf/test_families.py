"""What GGUF export can write is said beforehand, from a config.json alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from tests.conftest import FAMILIES
from tests.export.gguf.shapes import GEMMA, SHAPES, SIZES

from lorafit.errors import ExportError
from lorafit.export.gguf.families import family_of, pair_rotary_rows, supports
from lorafit.export.gguf.metadata import context_length
from lorafit.model.hub import read_config


@pytest.mark.parametrize("shape", SHAPES)
def test_each_shape_is_supported_as_config_and_as_json(shapes: Callable[[str], Path], shape: str) -> None:
    assert supports(SHAPES[shape]()) is None
    assert supports(read_config(shapes(shape))) is None


def test_an_unknown_architecture_names_those_that_are_known() -> None:
    said = supports({"model_type": "mamba"})
    assert said is not None and "'mamba'" in said
    assert all(title in said for title in ("Llama", "Mistral", "Qwen2", "Qwen3", "Gemma 2", "GPT-2"))
    with pytest.raises(ExportError, match="phi3"):
        family_of(FAMILIES["phi3"]())


def test_an_old_config_with_rope_at_its_top_is_read(tmp_path: Path) -> None:
    scaling = {"type": "dynamic", "factor": 2.0}
    old = {"model_type": "llama", **SIZES, "rope_theta": 10000.0, "rope_scaling": scaling}
    said = supports(old)
    assert said is not None and "dynamic" in said


UNLIKE = [
    (lambda: transformers.LlamaConfig(**SIZES, hidden_act="gelu"), "activation is gelu"),
    (lambda: transformers.Gemma2Config(**{**GEMMA, "query_pre_attn_scalar": 100}), "query_pre_attn_scalar is 100"),
    (lambda: transformers.Gemma2Config(**GEMMA, layer_types=["full_attention"] * 2), "slide"),
    (lambda: transformers.GPT2Config(activation_function="relu"), "activation is relu"),
    (lambda: transformers.GPT2Config(scale_attn_by_inverse_layer_idx=True), "scaled otherwise"),
    (
        lambda: transformers.LlamaConfig(
            **SIZES,
            rope_parameters={
                "rope_type": "yarn",
                "rope_theta": 1e4,
                "factor": 4.0,
                "original_max_position_embeddings": 64,
                "attention_factor": 2.0,
            },
        ),
        "attention_factor",
    ),
]


@pytest.mark.parametrize(("config", "why"), UNLIKE)
def test_what_llama_cpp_would_compute_otherwise_is_refused(config: Callable[[], Any], why: str) -> None:
    said = supports(config())
    assert said is not None and why in said


def test_rotary_rows_are_paired() -> None:
    rows = torch.arange(12.0)[:, None]  # two heads of six: 0-2 turn with 3-5
    assert pair_rotary_rows(rows, 2)[:, 0].tolist() == [0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11]
    assert pair_rotary_rows(rows[:, 0], 2).tolist() == pair_rotary_rows(rows, 2)[:, 0].tolist()


def test_a_window_that_llama_cpp_does_not_know_ends_the_context() -> None:
    config = transformers.MistralConfig(**SIZES, sliding_window=128)
    length, remark = context_length(config, family_of(config))
    assert length == 128 and remark is not None and "window" in remark
    gemma = SHAPES["gemma2"]()
    assert context_length(gemma, family_of(gemma)) == (256, None)
    assert context_length(transformers.Qwen2Config(**SIZES), family_of(SHAPES["qwen2"]())) == (256, None)
