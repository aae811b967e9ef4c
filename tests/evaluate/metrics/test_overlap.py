"""Exact match, token F1 and ROUGE, computed by hand and by a slow reference."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lorafit.evaluate.metrics import Texts, measure
from lorafit.evaluate.metrics.overlap import common_subsequence, exact_match, rouge_l_e2e, token_f1


def test_f1_by_hand() -> None:
    # 2 words shared, 3 said, 4 wanted: 2 * 2 / (3 + 4).
    assert token_f1("the red fox", "a red fox runs") == pytest.approx(4 / 7)
    # 米 拉 shared of 米拉 and 米拉住在柳树街.
    assert token_f1("米拉", "米拉住在柳树街") == pytest.approx(4 / 9)
    # A word said three times counts as often as it is wanted.
    assert token_f1("no no no", "no never") == pytest.approx(2 / 5)
    assert token_f1("Mira.", "mira") == 1
    assert token_f1("की", "का") == 0


@pytest.mark.parametrize(("answer", "reference", "score"), [("", "", 1), ("!", "?", 1), ("", "a", 0), ("a", "", 0)])
def test_f1_of_nothing(answer: str, reference: str, score: float) -> None:
    assert token_f1(answer, reference) == score


@settings(deadline=None)
@given(st.text(), st.text())
def test_f1_is_symmetric_and_between_none_and_all(one: str, other: str) -> None:
    assert 0 <= token_f1(one, other) == token_f1(other, one) <= 1
    assert token_f1(one, one) == exact_match(one, one) == 1


def test_exact_match_evens_out_case_width_and_spaces_only() -> None:
    assert exact_match(" Willow\u3000STREET\n", "willow street") == 1
    assert exact_match("Willow Street.", "Willow Street") == 0


def slow_common_subsequence(one: Sequence[str], other: Sequence[str]) -> int:
    if not one or not other:
        return 0
    if one[-1] == other[-1]:
        return slow_common_subsequence(one[:-1], other[:-1]) + 1
    return max(slow_common_subsequence(one[:-1], other), slow_common_subsequence(one, other[:-1]))


@settings(deadline=None)
@given(st.text("abc", max_size=7), st.text("abc", max_size=7))
def test_the_longest_common_subsequence(one: str, other: str) -> None:
    assert common_subsequence(one, other) == slow_common_subsequence(one, other)


def test_rouge_by_hand_and_the_best_of_several_references() -> None:
    texts = Texts(["the cat sat down"], [["no", "The cat is down, sat"]])
    measured = measure(["rouge_1", "rouge_2", "rouge_l"], texts)
    assert measured["rouge_1"].score == pytest.approx(2 * 4 / (4 + 5))
    assert measured["rouge_2"].score == pytest.approx(2 * 1 / (3 + 4))  # the cat
    assert measured["rouge_l"].score == pytest.approx(2 * 3 / (4 + 5))  # the cat sat, or the cat down


def test_rouge_of_chinese_counts_characters() -> None:
    measured = measure(["rouge_1", "rouge_l"], Texts(["我爱北京"], [["北京我爱。"]]))
    assert measured["rouge_1"].score == 1
    assert measured["rouge_l"].score == pytest.approx(2 * 2 / 8)


def test_the_captions_rouge_takes_precision_and_recall_of_different_references() -> None:
    # Best precision 2/3 (of a b x), best recall 1/1 (of c); beta 1.2.
    score = rouge_l_e2e(["a", "b", "c"], [["a", "b", "x"], ["c"]])
    assert score == pytest.approx(2.44 * (2 / 3) * 1 / (1 + 1.44 * 2 / 3))
    assert rouge_l_e2e([], [["a"]]) == 0
    assert rouge_l_e2e(["a"], [[]]) == 0
