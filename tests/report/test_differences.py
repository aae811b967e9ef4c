"""What differs between an answer and its reference."""

from __future__ import annotations

import itertools
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorafit.report.differences import COMPARED, Segment, cut, differences, tokens

TEXTS = st.text(st.sampled_from("ab c,\n。的是一3👍🏽\u0301\ufe00") | st.characters(), max_size=40)


def _answer(segments: list[Segment]) -> str:
    return "".join(segment.text for segment in segments if segment.kind != "missing")


@given(TEXTS, st.lists(TEXTS, max_size=3))
def test_nothing_of_the_answer_is_lost(answer: str, references: list[str]) -> None:
    segments = differences(answer, references)
    assert _answer(segments) == answer
    assert all(segment.text for segment in segments)
    assert all(one.kind != other.kind for one, other in itertools.pairwise(segments))
    assert "".join(tokens(answer)) == answer


@given(TEXTS, st.integers(0, 50))
def test_cutting_loses_nothing(text: str, characters: int) -> None:
    shown, rest = cut([Segment(text, "same"), Segment("more", "extra")], characters)
    assert _answer(shown) + _answer(rest) == text + "more"
    assert len(_answer(shown)) == min(characters, len(text) + 4)


def test_words() -> None:
    assert differences("Six years from the date it accrued.", ["Five years from the date on which it accrued."]) == [
        Segment("Six ", "extra"),
        Segment("Five ", "missing"),
        Segment("years from the date ", "same"),
        Segment("on which ", "missing"),
        Segment("it accrued.", "same"),
    ]


def test_each_chinese_character_is_a_token() -> None:
    assert differences("期间是三年。", ["期间为三年。"]) == [
        Segment("期间", "same"),
        Segment("是", "extra"),
        Segment("为", "missing"),
        Segment("三年。", "same"),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("£3,500.25, paid", ["£", "3,500.25", ", ", "paid"]),
        ("हिन्दी में 👩‍👩‍👧!", ["हिन्दी ", "में ", "👩‍👩‍👧", "!"]),  # vowel signs and joined emoji stay whole
        ("三年 ok", ["三", "年 ", "ok"]),
        (" \n", [" \n"]),
        ("", []),
    ],
)
def test_tokens(text: str, expected: list[str]) -> None:
    assert tokens(text) == expected


def test_the_nearest_reference_counts_and_spaces_do_not() -> None:
    assert differences("buyer  and\nseller", ["seller, buyer", "buyer and seller"]) == [
        Segment("buyer  and\nseller", "same")
    ]


def test_of_another_text_nothing_is_missing() -> None:
    assert differences("It depends on the case.", ["The claimant has to prove what he says"]) == [
        Segment("It depends on the case.", "extra")
    ]


def test_no_reference() -> None:
    assert differences("An answer", []) == [Segment("An answer", "same")]
    assert differences("", ["reference"]) == [] == differences("", [])


def test_a_loop_of_any_length_is_compared_in_bounded_time() -> None:
    began = time.process_time()
    segments = differences("哈" * 100_000, ["哈" * 50_000, "很好" * 500])
    assert time.process_time() - began < 60  # quadratic it would be an hour
    assert segments == [Segment("哈" * 100_000, "same")] and len(tokens("哈" * COMPARED)) == COMPARED
