"""Packing moves samples into rows and changes nothing else."""

from __future__ import annotations

from collections import Counter

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lorafit.data.pack import make_batch, make_row, pack
from lorafit.records import Sample, Source

lengths_and_budget = st.tuples(st.lists(st.integers(1, 60), min_size=1, max_size=40), st.integers(1, 80))


def samples_of(lengths: list[int]) -> list[Sample]:
    random = np.random.default_rng(0)
    return [
        Sample(
            random.integers(0, 100, length),
            np.concatenate([[False], random.random(length - 1) < 0.5]),
            number,
            Source("rows.json", number + 1),
        )
        for number, length in enumerate(lengths)
    ]


@settings(deadline=None)
@given(lengths_and_budget)
def test_every_sample_is_in_exactly_one_row_and_no_row_is_over_the_budget(case: tuple[list[int], int]) -> None:
    lengths, budget = case
    rows = pack(lengths, budget)
    assert Counter(index for row in rows for index in row) == Counter(range(len(lengths)))
    assert all(len(row) == 1 or sum(lengths[i] for i in row) <= budget for row in rows)
    # Two rows that would fit into one were not left apart.
    loads = sorted(sum(lengths[i] for i in row) for row in rows)
    assert len(loads) < 2 or loads[0] + loads[1] > budget
    assert pack(lengths, budget) == rows


@settings(deadline=None)
@given(lengths_and_budget)
def test_a_batch_holds_every_prediction_of_its_samples(case: tuple[list[int], int]) -> None:
    lengths, budget = case
    samples = samples_of(lengths)
    expected = {
        sample.example: [
            (int(sample.token_ids[t - 1]), int(sample.token_ids[t])) for t in np.flatnonzero(sample.trained)
        ]
        for sample in samples
    }
    for packed in (True, False):
        batch = make_batch(samples, budget, packed)
        found: dict[int, list[tuple[int, int]]] = {}
        for row in batch.rows:
            owner = np.repeat(row.examples, row.lengths)
            for example in row.examples:
                found[example] = []
            for place, target in zip(row.predict.tolist(), row.targets.tolist(), strict=True):
                assert row.token_ids[place + 1] == target
                assert owner[place] == owner[place + 1]
                found[int(owner[place])].append((int(row.token_ids[place]), target))
        assert found == expected
        assert batch.supervised_tokens == sum(map(len, expected.values()))
        assert batch.tokens == sum(lengths)
    assert len(batch.rows) == len(samples)


def test_positions_begin_anew_with_each_document() -> None:
    row = make_row(samples_of([3, 1, 2]))
    assert row.position_ids.tolist() == [0, 1, 2, 0, 0, 1]
    assert row.token_ids.dtype == row.targets.dtype == torch.int64
    assert (row.lengths, row.examples) == ((3, 1, 2), (0, 1, 2))
