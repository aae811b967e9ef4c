"""The way found for a small model of the kind is the one found for the model itself."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers
from tests.conftest import FAMILIES, LLAMA_LIKE

from lorafit.hardware import Hardware
from lorafit.model.forward import choose_forward, plain_head
from lorafit.model.load import load_base
from lorafit.plan.ways import ways_of


@pytest.mark.parametrize("family", FAMILIES)
def test_ways_are_those_of_the_real_model(family: str, bases: Callable[[str], Path]) -> None:
    base = load_base(bases(family), Hardware(torch.device("cpu"), torch.float32, "a test"))
    forward, reason = choose_forward(base.model)
    ways = ways_of(base.model.config)
    assert (ways.packed, ways.reason) == (forward.packed, reason)
    assert ways.plain_head == (plain_head(base.model) is not None)


@pytest.mark.parametrize(
    ("config", "packed", "plain"),
    [
        (transformers.LlamaConfig(hidden_size=8192, num_attention_heads=64, num_key_value_heads=8), True, True),
        (transformers.Phi3Config(), True, True),
        (transformers.Gemma2Config(), True, False),
        (transformers.Gemma3TextConfig(), True, True),
        (transformers.GPT2Config(), True, True),
        (transformers.MistralConfig(), True, True),
    ],
    ids=lambda value: getattr(value, "model_type", str(value)),
)
def test_a_config_of_usual_size(config: transformers.PreTrainedConfig, packed: bool, plain: bool) -> None:
    before, state = copy.deepcopy(config.to_dict()), torch.get_rng_state()
    ways = ways_of(config)
    assert (ways.packed, ways.plain_head) == (packed, plain), ways.reason
    assert config.to_dict() == before
    assert torch.equal(torch.get_rng_state(), state)
    assert ways_of(config) == ways


def test_an_architecture_that_mixes_documents() -> None:
    """A state-space model lets what was before in the row through."""
    config = transformers.MambaConfig(hidden_size=64, num_hidden_layers=2, vocab_size=100)
    ways = ways_of(config)
    assert not ways.packed
    assert ways.reason


def test_what_cannot_be_built_small_is_said() -> None:
    config = transformers.LlamaConfig(**LLAMA_LIKE, hidden_act="no such function")
    ways = ways_of(config)
    assert (ways.packed, ways.plain_head) == (False, False)
    assert "llama" in ways.reason and "no such function" in ways.reason
