"""A shared beginning computed once changes neither the loss nor any gradient, whatever it is combined with.

The reference never shares, packs or takes a fast path (reference.py). Equality: float32, relative 1e-5.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.train.reference import (
    ALIKE,
    FAMILIES,
    adapted,
    adapted_in_16_bits,
    assert_equal,
    assert_near,
    ours,
    reference,
    spelt,
)

from lorafit.adapters.inject import Injection
from lorafit.data.pack import make_batch
from lorafit.model.forward import Forward, choose_forward
from lorafit.model.fused import fuse, unfuse
from lorafit.model.settings import Quantization
from lorafit.records import Sample, Source
from lorafit.train.recompute import recomputing

# Of each token which it is and whether it is trained; few different ones, so that documents begin alike.
token = st.tuples(st.integers(3, 5), st.booleans())
drawn_documents = st.lists(st.lists(token, min_size=1, max_size=10), min_size=1, max_size=8)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Injection, Forward]:
    """A Llama of one layer, and the forward that a run would choose for it."""
    torch.manual_seed(5)
    config = transformers.LlamaConfig(
        vocab_size=16, hidden_size=16, intermediate_size=20, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=1, max_position_embeddings=64, initializer_range=0.1,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("small")
    transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32).save_pretrained(folder)
    injection = adapted(folder, dropout=0.3)
    forward, reason = choose_forward(injection.model)
    assert reason is None and forward.packed
    return injection, forward


@settings(max_examples=20, deadline=None, derandomize=True, database=None)
@given(drawn_documents, st.integers(1, 30), st.booleans())
# The budget in turn: all that there is, the longest document to the token, less than any document of two.
@example([[(3, False), (4, True)], [(3, False)], [(5, False), (5, False)]], 5, True)
@example([[(3, False), (4, True), (4, True)], [(3, False), (4, True)], [(3, False), (4, True), (4, True)]], 3, True)
@example([[(3, False), (4, True), (5, True)], [(3, False), (4, True), (3, True)], [(4, False)]], 1, False)
def test_any_packing_with_and_without_sharing(
    small: tuple[Injection, Forward], documents: list[list[tuple[int, bool]]], budget: int, dropout: bool
) -> None:
    injection, forward = small
    samples = [
        Sample(np.array([t for t, _ in d]), np.array([False, *(on for _, on in d[1:])]), Source("drawn", i + 1))
        for i, d in enumerate(documents)
    ]
    if not any(s.supervised_tokens for s in samples):
        samples.append(Sample(np.array([3, 4]), np.array([False, True]), Source("drawn", 0)))
    injection.model.train(dropout)
    wanted = reference(injection, samples)
    for least in (None, 1, 2):
        assert_equal(ours(injection, make_batch(samples, budget, least_shared=least), forward), wanted, least=0.01)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family(bases: Callable[[str], Path], family: str, dropout: float) -> None:
    """Mistral, Gemma and Phi attend to 6 tokens here, fewer than the shared path has; Gemma caps its scores."""
    injection = adapted(bases(family), dropout=dropout)
    wanted = reference(injection, ALIKE)
    for budget in (1000, 40):
        batch = make_batch(ALIKE, budget, least_shared=1)
        assert batch.computed_tokens < 0.7 * batch.tokens
        assert max(group.path_length for row in batch.rows for group in row.layout) > 6
        assert any((row.weights > 1).any() for row in batch.rows)
        assert_equal(ours(injection, batch), wanted)


@pytest.mark.parametrize(("family", "budget"), [("llama", 15), ("gemma2", 15), ("llama", 1000), ("gemma2", 1000)])
def test_rows_without_a_supervised_token(bases: Callable[[str], Path], family: str, budget: int) -> None:
    """Gemma's head caps its logits, so that they are asked of the model: for no place at all."""
    injection = adapted(bases(family))
    samples = ALIKE + spelt("unsupervised", "unsupervized")
    wanted = reference(injection, samples)
    batch = make_batch(samples, budget, least_shared=1)
    assert (min(len(row.targets) for row in batch.rows) == 0) == (budget < 1000)
    assert_equal(ours(injection, batch), wanted)
    alone = make_batch(samples, budget, packed=False)
    assert_equal(ours(injection, alone, Forward(injection.model, packed=False)), wanted)


@pytest.mark.parametrize("quantization", ["nf4", "int8"])
@pytest.mark.parametrize("family", ["llama", "even-llama", "gpt2", "phi3"])
def test_a_quantised_base(bases: Callable[[str], Path], family: str, quantization: Quantization) -> None:
    """The reference is PEFT's own layers on the same quantised weights."""
    injection = adapted(bases(family), quantization=quantization, dropout=0.1)
    wanted = reference(injection, ALIKE)
    for least in (None, 1):
        assert_equal(ours(injection, make_batch(ALIKE, 60, least_shared=least)), wanted)


@pytest.mark.parametrize("family", ["llama", "gemma2", "phi3"])
@pytest.mark.parametrize("policy", ["layers", "attention"])
def test_everything_at_once(bases: Callable[[str], Path], family: str, policy: str) -> None:
    """Sharing, dropout, NF4, rsLoRA, recomputation and fused norms, gates and rotary embeddings."""
    injection = adapted(bases(family), quantization="nf4", dropout=0.3, variant="rslora")
    wanted = reference(injection, ALIKE)
    fused = fuse(injection.model, compile=False)
    try:
        assert fused.norms and fused.gated
        with recomputing(injection.model, policy):
            assert_equal(ours(injection, make_batch(ALIKE, 60, least_shared=1)), wanted)
    finally:
        unfuse(injection.model)


@pytest.mark.parametrize("family", ["llama", "qwen3", "gemma2", "gpt2"])
def test_bfloat16(bases: Callable[[str], Path], family: str) -> None:
    """Rounding only: within a stated bound of float32, and about as far from it as plain bfloat16 is."""
    injection, exact, plain = adapted_in_16_bits(bases(family), ALIKE, dropout=0.3)
    for least in (None, 1):
        assert_near(ours(injection, make_batch(ALIKE, 1000, least_shared=least)), exact, plain)
