"""The order of the samples over updates and epochs."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from lorafit.data.batches import count_updates, epoch_order, iterate_batches
from lorafit.records import Sample, Source


def samples_of(count: int) -> list[Sample]:
    trained = np.array([False, True])
    return [Sample(np.array([number, 2]), trained, Source("rows.json", number + 1)) for number in range(count)]


def examples_of(count: int, batch_size: int, updates: int, seed: int = 0) -> list[list[int]]:
    batches = iterate_batches(samples_of(count), batch_size, updates, seed, tokens_per_pass=2)
    return [sorted(int(token) for row in batch.rows for token in row.token_ids[::2]) for _, batch in batches]


@settings(deadline=None)
@given(count=st.integers(1, 30), batch_size=st.integers(1, 12), epochs=st.integers(1, 3))
def test_every_epoch_holds_every_sample_once(count: int, batch_size: int, epochs: int) -> None:
    updates = count_updates(count, batch_size, epochs)
    per_epoch = math.ceil(count / batch_size)
    assert updates == epochs * per_epoch
    batches = examples_of(count, batch_size, updates)
    for epoch in range(epochs):
        seen = batches[epoch * per_epoch : (epoch + 1) * per_epoch]
        assert sorted(example for batch in seen for example in batch) == list(range(count))
        assert all(len(batch) == batch_size for batch in seen[:-1])


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    assert epoch_order(50, seed=3, epoch=1) == epoch_order(50, seed=3, epoch=1)
    # Seed 0 is a seed like any other.
    assert len({tuple(epoch_order(50, seed, epoch)) for seed in (0, 1) for epoch in (0, 1)}) == 4
    # A shorter run sees the same batches as the beginning of a longer one.
    assert examples_of(20, 6, 3) == examples_of(20, 6, 7)[:3]


def test_parts_of_epochs_and_the_limit() -> None:
    assert count_updates(100, 10, 0.25) == 2
    assert count_updates(100, 10, 0.001) == 1
    assert count_updates(100, 10, 3, max_updates=7) == 7
    assert count_updates(100, 10, 0.5, max_updates=7) == 5


def test_the_epochs_that_are_done_are_counted() -> None:
    done = [round(epochs, 3) for epochs, _ in iterate_batches(samples_of(5), 2, 4, seed=0, tokens_per_pass=8)]
    assert done == [0.333, 0.667, 1.0, 1.333]
