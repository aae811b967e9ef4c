"""The fast step against the slow, obvious one: plain transformers + PEFT, one example at a time, full logits.

Equality: float32, relative 1e-5, of the loss and of every adapter gradient. Documents that share a beginning:
test_exactness_sharing.py.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.train.reference import FAMILIES, adapted, assert_equal, make_samples, ours, reference
from transformers import AttentionInterface

from lorafit.data.pack import make_batch
from lorafit.model.forward import Forward, choose_forward
from lorafit.ops import attention
from lorafit.ops.attention import PACKED
from lorafit.records import Layout, Siblings


@pytest.mark.parametrize("family", FAMILIES)
def test_packed_rows_equal_one_example_at_a_time(bases: Callable[[str], Path], family: str) -> None:
    injection = adapted(bases(family))
    samples = make_samples()
    batch = make_batch(samples, tokens_per_pass=40)
    assert len(batch.rows) == 2
    assert_equal(ours(injection, batch), reference(injection, samples))


@pytest.mark.parametrize("passes", [1, 2, 5])
def test_the_number_of_passes_changes_nothing(llama: Path, passes: int) -> None:
    injection = adapted(llama, dropout=0.1)
    samples = make_samples((16,) * 10)
    whole = ours(injection, make_batch(samples, tokens_per_pass=160))
    cut = make_batch(samples, tokens_per_pass=160 // passes)
    assert len(cut.rows) == passes
    assert_equal(ours(injection, cut), whole)


def test_unpacked_rows_equal_packed_ones_with_dropout(llama: Path) -> None:
    """The mask belongs to a token and its prefix, so a row of its own gives an example the mask it has in company."""
    injection = adapted(llama, dropout=0.3)
    samples = make_samples()
    packed = ours(injection, make_batch(samples, tokens_per_pass=1000))
    alone = make_batch(samples, 1000, packed=False)
    assert_equal(packed, ours(injection, alone, Forward(injection.model, packed=False)))
    assert_equal(packed, reference(injection, samples))


def test_dropout_differs_between_updates_and_is_off_in_validation(llama: Path) -> None:
    injection = adapted(llama, dropout=0.3)
    forward, _ = choose_forward(injection.model)
    (row,) = make_batch(make_samples((20,)), 100).rows
    injection.place.prefixes = row.prefixes
    losses = []
    with forward.running(), torch.no_grad():
        for update in (0, 1, 0):
            injection.place.update = update
            losses.append(forward(row).item())
        injection.model.eval()
        plain = forward(row).item()
    assert losses[0] == losses[2] != losses[1]
    assert plain not in losses


@pytest.mark.parametrize("variant", ["rslora", "dora", "pissa"])
def test_variants_equal_the_reference(llama: Path, variant: str) -> None:
    injection = adapted(llama, variant=variant)
    samples = make_samples()
    # DoRA divides by the norm of every row of W + BA: its own rounding is a few times larger.
    bound = 5e-5 if variant == "dora" else 1e-5
    assert_equal(ours(injection, make_batch(samples, 40)), reference(injection, samples), bound)


def test_recomputing_layers_changes_nothing(llama: Path) -> None:
    injection = adapted(llama, dropout=0.2)
    batch = make_batch(make_samples(), 40)
    kept = ours(injection, batch)
    injection.model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    assert_equal(ours(injection, batch), kept)


def test_a_leaking_neighbour_is_seen_by_the_probe(llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    injection = adapted(llama)
    right = attention.packed_attention

    def leaking(*args: Any, row_layout: Layout, **kwargs: Any) -> Any:
        end = row_layout[-1].end
        return right(*args, row_layout=(Siblings(0, end, (), ((end, 1),)),), **kwargs)

    monkeypatch.setitem(AttentionInterface._global_mapping, PACKED, leaking)
    forward, reason = choose_forward(injection.model)
    assert not forward.packed
    assert reason is not None and "see one another" in reason


def test_full_fine_tuning_equals_the_reference(llama: Path) -> None:
    injection = adapted(llama, method="none")
    samples = make_samples()
    assert_equal(ours(injection, make_batch(samples, 40)), reference(injection, samples))
