"""The fast step against the slow, obvious one: plain transformers + PEFT, one example at a time, full logits.

Equality: float32, relative 1e-5, of the loss and of every adapter gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers import AttentionInterface

from lorafit.adapters.inject import Injection, inject
from lorafit.adapters.settings import AdapterSettings
from lorafit.data.pack import make_batch
from lorafit.hardware import Hardware
from lorafit.model.forward import Forward, choose_forward
from lorafit.model.load import Base, load_base
from lorafit.ops import attention
from lorafit.ops.attention import PACKED
from lorafit.records import Batch, Layout, Sample, Siblings, Source
from lorafit.train.optim import MasterOptimizer
from lorafit.train.step import train_step

CPU = Hardware(torch.device("cpu"), torch.float32, "a test")
FAMILIES = ["llama", "qwen2", "qwen3", "mistral", "gemma2", "gpt2"]
# The documents of one update: one of a single target, one that fills the row, one beyond the sliding window of 6.
LENGTHS = (2, 9, 17, 3, 30, 12)


def make_samples(lengths: Sequence[int] = LENGTHS) -> list[Sample]:
    generator = np.random.default_rng(3)
    samples = []
    for number, length in enumerate(lengths):
        trained = generator.random(length) < 0.6
        trained[0], trained[-1] = False, True
        samples.append(Sample(generator.integers(3, 512, length), trained, Source("made", number + 1)))
    return samples


def adapted(folder: Path, **settings: Any) -> tuple[Base, Injection]:
    base = load_base(folder, CPU)
    injection = inject(base, AdapterSettings(rank=4, alpha=8, **settings), seed=1)
    with torch.no_grad():  # B starts at zero, which would make every gradient of A zero
        for name, parameter in injection.model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.05, generator=torch.Generator().manual_seed(len(name)))
    return base, injection


def gradients(model: Any) -> dict[str, torch.Tensor]:
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.requires_grad and p.grad is not None}


def reference(model: Any, samples: Sequence[Sample]) -> tuple[float, dict[str, torch.Tensor]]:
    """Each example alone through the unchanged model, full logits, the mean over all supervised tokens."""
    model.zero_grad()
    total = sum(s.supervised_tokens for s in samples)
    loss = torch.zeros(())
    for sample in samples:
        ids = torch.from_numpy(sample.token_ids)[None]
        labels = torch.where(torch.from_numpy(sample.trained), ids[0], -100)
        logits = model(input_ids=ids, use_cache=False).logits[0]
        loss = loss + cross_entropy(logits[:-1], labels[1:], ignore_index=-100, reduction="sum")
    (loss / total).backward()
    return (loss / total).item(), gradients(model)


def ours(injection: Injection, forward: Forward, batch: Batch) -> tuple[float, dict[str, torch.Tensor]]:
    optimizer = MasterOptimizer(injection.model.parameters(), "sgd", 0.0)
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    with forward.running():
        step = train_step(forward, batch, optimizer, scaler, injection.place, 0, 0.0, 0.0)
    return step.loss, gradients(injection.model)


def assert_equal(
    found: tuple[float, dict[str, torch.Tensor]], wanted: tuple[float, dict[str, torch.Tensor]], bound: float = 1e-5
) -> None:
    assert found[0] == pytest.approx(wanted[0], rel=bound)
    assert found[1].keys() == wanted[1].keys()
    for name, gradient in wanted[1].items():
        size = gradient.abs().max().item()
        assert size > 0, f"{name} has no gradient: nothing is compared"
        assert (found[1][name] - gradient).abs().max().item() <= bound * size, name


@pytest.mark.parametrize("family", FAMILIES)
def test_packed_rows_equal_one_example_at_a_time(bases: Callable[[str], Path], family: str) -> None:
    base, injection = adapted(bases(family))
    samples = make_samples()
    forward, reason = choose_forward(injection.model)
    assert reason is None and forward.packed
    batch = make_batch(samples, tokens_per_pass=40)
    assert len(batch.rows) == 2
    wanted = reference(injection.model, samples)
    assert base.model.config._attn_implementation != PACKED  # the reference is the plain model
    assert_equal(ours(injection, forward, batch), wanted)


@pytest.mark.parametrize("passes", [1, 2, 5])
def test_the_number_of_passes_changes_nothing(llama: Path, passes: int) -> None:
    _, injection = adapted(llama, dropout=0.1)
    samples = make_samples((16,) * 10)
    forward, _ = choose_forward(injection.model)
    injection.model.train()
    whole = ours(injection, forward, make_batch(samples, tokens_per_pass=160))
    cut = make_batch(samples, tokens_per_pass=160 // passes)
    assert len(cut.rows) == passes
    assert_equal(ours(injection, forward, cut), whole)


def test_unpacked_rows_equal_packed_ones_with_dropout(llama: Path) -> None:
    """The mask belongs to a token and its prefix, so a row of its own gives an example the mask it has in company."""
    _, injection = adapted(llama, dropout=0.3)
    samples = make_samples()
    forward, _ = choose_forward(injection.model)
    injection.model.train()
    packed = ours(injection, forward, make_batch(samples, tokens_per_pass=1000))
    alone = ours(injection, Forward(injection.model, packed=False), make_batch(samples, 1000, packed=False))
    assert_equal(packed, alone)


def test_dropout_differs_between_updates_and_is_off_in_validation(llama: Path) -> None:
    _, injection = adapted(llama, dropout=0.3)
    forward, _ = choose_forward(injection.model)
    (row,) = make_batch(make_samples((20,)), 100).rows
    injection.place.prefixes = row.prefixes
    injection.model.train()
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
    _, injection = adapted(llama, variant=variant)
    samples = make_samples()
    forward, _ = choose_forward(injection.model)
    wanted = reference(injection.model, samples)
    # DoRA divides by the norm of every row of W + BA: its own rounding is a few times larger.
    assert_equal(ours(injection, forward, make_batch(samples, 40)), wanted, 5e-5 if variant == "dora" else 1e-5)


def test_recomputing_layers_changes_nothing(llama: Path) -> None:
    _, injection = adapted(llama, dropout=0.2)
    batch = make_batch(make_samples(), 40)
    forward, _ = choose_forward(injection.model)
    injection.model.train()
    kept = ours(injection, forward, batch)
    injection.model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    assert_equal(ours(injection, forward, batch), kept)


def test_a_mean_of_means_would_be_seen(llama: Path) -> None:
    """The reference is able to fail: averaging each row by itself is not the loss of the update."""
    _, injection = adapted(llama)
    samples = make_samples()
    wanted, _ = reference(injection.model, samples)
    forward, _ = choose_forward(injection.model)
    rows = make_batch(samples, 40).rows
    with forward.running(), torch.no_grad():
        mean_of_means = sum(forward(row).item() / len(row.targets) for row in rows) / len(rows)
    assert mean_of_means != pytest.approx(wanted, rel=1e-5)


def test_a_leaking_neighbour_is_seen_by_the_probe(llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, injection = adapted(llama)
    right = attention.packed_attention

    def leaking(*args: Any, row_layout: Layout, **kwargs: Any) -> Any:
        end = row_layout[-1].end
        return right(*args, row_layout=(Siblings(0, end, (), ((end, 1),)),), **kwargs)

    monkeypatch.setitem(AttentionInterface._global_mapping, PACKED, leaking)
    forward, reason = choose_forward(injection.model)
    assert not forward.packed
    assert reason is not None and "see one another" in reason


def test_full_fine_tuning_equals_the_reference(llama: Path) -> None:
    base = load_base(llama, CPU)
    injection = inject(base, AdapterSettings(method="none"), seed=0)
    samples = make_samples()
    forward, _ = choose_forward(injection.model)
    assert_equal(ours(injection, forward, make_batch(samples, 40)), reference(injection.model, samples))
