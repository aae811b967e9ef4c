"""METEOR's alignment against all alignments, and its score by hand."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lorafit.errors import DataError
from lorafit.evaluate.metrics import Texts, measure
from lorafit.evaluate.metrics import meteor as module
from lorafit.evaluate.metrics.meteor import align


def all_alignments(
    answer: str, reference: str, place: int = 0, taken: tuple[int, ...] = ()
) -> list[list[tuple[int, int]]]:
    if place == len(answer):
        return [[]]
    found = all_alignments(answer, reference, place + 1, taken)
    for other, character in enumerate(reference):
        if character == answer[place] and other not in taken:
            rest = all_alignments(answer, reference, place + 1, (*taken, other))
            found = found + [[(place, other), *pairs] for pairs in rest]
    return found


def chunks_of(pairs: list[tuple[int, int]]) -> int:
    return sum((place - 1, other - 1) not in pairs for place, other in pairs)


@settings(deadline=None, max_examples=60)
@given(st.text("xyz", max_size=5), st.text("xyz", max_size=5))
def test_most_matches_in_the_fewest_chunks(answer: str, reference: str) -> None:
    pairs, chunks = align(answer, reference)
    best = min(all_alignments(answer, reference), key=lambda pairs: (-len(pairs), chunks_of(pairs)))
    assert (len(pairs), chunks) == (len(best), chunks_of(best))


def test_by_hand() -> None:
    # "fox" exact, "runs" and "running" by their stem (0.6), "the" a function word; 3 matches in 1 chunk, of 3 and 4.
    measured = measure(["meteor"], Texts(["The fox runs"], [["The fox running home"]]))["meteor"]
    precision = (0.75 * 1.6 + 0.25 * 1) / (0.75 * 2 + 0.25 * 1)
    recall = (0.75 * 1.6 + 0.25 * 1) / (0.75 * 3 + 0.25 * 1)
    mean = precision * recall / (0.85 * precision + 0.15 * recall)
    assert measured.score == pytest.approx(mean * (1 - 0.6 * (1 / 3) ** 0.2))


def test_the_best_reference_counts_and_equal_texts_are_one() -> None:
    measured = measure(["meteor"], Texts(["A red fox", "", "没有"], [["dogs", "a red fox"], ["fox"], ["没有"]]))[
        "meteor"
    ]
    assert measured.samples.tolist() == pytest.approx([1, 0, 1])
    assert 0 < measured.score < 1


def test_without_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "snowballstemmer", None)
    module.stem.cache_clear()
    module._stemmer.cache_clear()
    with pytest.raises(DataError, match="METEOR needs the package snowballstemmer"):
        measure(["meteor"], Texts(["runs"], [["running"]]))
    assert measure(["rouge_1"], Texts(["runs"], [["runs"]]))["rouge_1"].score == 1  # what needs no package still works
