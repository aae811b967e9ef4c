"""Packing moves samples into rows and changes nothing else; sharing computes a beginning once and loses nothing."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lorafit.data.pack import make_batch, make_row, pack, prefix_numbers
from lorafit.records import Row, Sample, Source

lengths_and_budget = st.tuples(st.lists(st.integers(1, 60), min_size=1, max_size=40), st.integers(1, 80))
# Few different tokens, so that documents begin alike, repeat one another and end within one another.
documents_alike = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=12), min_size=1, max_size=12)
sharing = st.sampled_from([None, 1, 2, 5])


def sample(tokens: list[int], number: int = 0) -> Sample:
    trained = np.random.default_rng(number).random(len(tokens)) < 0.6
    trained[0] = False
    return Sample(np.array(tokens), trained, Source("rows.json", number + 1))


def predictions(token_ids: np.ndarray, trained: np.ndarray) -> list[tuple[tuple[int, ...], int]]:
    """(all that a target is predicted from, the target) of a document."""
    return [(tuple(token_ids[:t].tolist()), int(token_ids[t])) for t in np.flatnonzero(trained)]


def seen_from(row: Row) -> list[list[int]]:
    """The places that each place attends to, its own last: the layout read slowly."""
    seen: list[list[int]] = []
    for group in row.layout:
        assert group.start == len(seen)
        path = [place for start, end in group.path for place in range(start, end)]
        for length, count in group.runs:
            for _ in range(count):
                own = range(len(seen), len(seen) + length)
                seen += [path + list(own[: i + 1]) for i in range(length)]
        assert group.end == len(seen)
        assert [length for length, _ in group.runs] == sorted({length for length, _ in group.runs})
    return seen


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


@settings(deadline=None, max_examples=200)
@given(documents_alike, st.integers(1, 40), sharing, st.booleans())
def test_a_batch_holds_every_prediction_of_its_samples(
    documents: list[list[int]], budget: int, least: int | None, packed: bool
) -> None:
    """Each with the very tokens that it is predicted from, as often as the samples have it."""
    samples = [sample(tokens, number) for number, tokens in enumerate(documents)]
    batch = make_batch(samples, budget, packed, least)
    found: Counter[tuple[tuple[int, ...], int]] = Counter()
    for row in batch.rows:
        assert len(row.token_ids) <= budget or len(row.layout[0].runs) == row.layout[0].runs[0][1] == 1
        seen = seen_from(row)
        assert len(seen) == len(row.token_ids) == len(row.position_ids)
        assert row.position_ids.tolist() == [len(places) - 1 for places in seen]
        for place, target, weight in zip(row.predict, row.targets, row.weights, strict=True):
            found[tuple(row.token_ids[seen[place]].tolist()), int(target)] += int(weight)
        for place, number in enumerate(row.prefixes):
            assert number == prefix_numbers(row.token_ids[seen[place]].numpy())[-1]
    assert found == Counter(p for s in samples for p in predictions(s.token_ids, s.trained))
    assert batch.supervised_tokens == found.total()
    assert batch.tokens == sum(map(len, documents)) >= batch.computed_tokens
    if not packed:
        assert len(batch.rows) == len(samples)
    if least is None or not packed:
        assert batch.computed_tokens == batch.tokens
        assert all(len(row.layout) == 1 for row in batch.rows)
    elif least == 1 and len(batch.rows) == 1:
        # A prefix tree has as many tokens as there are different prefixes.
        prefixes = {tuple(tokens[: i + 1]) for tokens in documents for i in range(len(tokens))}
        assert batch.computed_tokens == len(prefixes)


def test_a_short_trunk_that_costs_more_than_it_saves_does_not_break_the_budget() -> None:
    """Found by the test above: a tree's parts fit into a row, and the tree that they would make together does not."""
    documents = [[1], *[[0, 0, 2]] * 3, *[[0, 2, 2, 1, 0]] * 2, [0, 2, 2, 2]]
    batch = make_batch([sample(tokens, number) for number, tokens in enumerate(documents)], 13, True, 5)
    assert [len(row.token_ids) for row in batch.rows] == [13]


def test_positions_begin_anew_with_each_document() -> None:
    row = make_row([sample([5, 6, 7]), sample([8]), sample([9, 4])])
    assert row.position_ids.tolist() == [0, 0, 1, 0, 1, 2]  # in the order of their lengths
    assert row.token_ids.dtype == row.targets.dtype == torch.int64
    assert row.layout[0].runs == ((1, 1), (2, 1), (3, 1)) and row.layout[0].path == ()


def test_children_of_a_shared_prompt_stand_side_by_side() -> None:
    prompt = list(range(10, 90))
    row = make_row([sample([*prompt, 1, 2]), sample([3, 4]), sample([*prompt, 5, 6]), sample([*prompt, 7])])
    top, children = row.layout
    assert (top.path, top.runs) == ((), ((2, 1), (80, 1)))
    assert (children.path, children.runs) == (((2, 82),), ((1, 1), (2, 2)))
    assert row.token_ids[82:].tolist() == [7, 1, 2, 5, 6]


@pytest.mark.parametrize("common", [63, 64])
def test_too_little_in_common_is_not_shared(common: int) -> None:
    beginning = list(range(common))
    samples = [sample([*beginning, 100]), sample([*beginning, 101])]
    assert make_batch(samples, 1000).computed_tokens == 2 * (common + 1) - (64 if common == 64 else 0)


def test_a_short_common_beginning_does_not_hide_longer_ones() -> None:
    """All begin with one token, which alone is not worth sharing; each half has a long prompt."""
    one, other = [0, *range(10, 110)], [0, *range(200, 300)]
    samples = [sample([*prompt, last]) for prompt in (one, other) for last in (1, 2)]
    assert make_batch(samples, 1000).computed_tokens == 2 * 101 + 4


def test_a_tree_larger_than_the_budget_is_cut_into_rows_that_each_share() -> None:
    prompt = list(range(10, 110))
    samples = [sample([*prompt, *[number] * 10]) for number in range(10)]
    batch = make_batch(samples, 150)
    assert [len(row.token_ids) for row in batch.rows] == [150, 150]
    assert batch.computed_tokens == 300 and batch.tokens == 1100
