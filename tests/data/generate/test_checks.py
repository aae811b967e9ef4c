"""What refuses a row, and what does not."""

from __future__ import annotations

import pytest

from lorafit.data.generate.answers import Row
from lorafit.data.generate.checks import Checks, Duplicates
from lorafit.records import Source

HERE = Source("a.md", 1)


def row(question: str, answer: str, passage: str = "") -> Row:
    return Row(((question, answer),), passage)


@pytest.mark.parametrize(
    ("question", "answer", "mentioned"),
    [
        ("What does the passage say?", "Much.", "the passage"),
        ("Who?", "According to the text, Mira.", "according to the text"),
        ("文中提到了谁？", "米拉。", "文中提到"),
        ("Who opened the passages?", "Mira.", None),
        ("谁写中文？", "米拉。", None),
    ],
)
def test_mentions(question: str, answer: str, mentioned: str | None) -> None:
    assert Checks().fault(row(question, answer), "") == (f"it mentions {mentioned!r}" if mentioned else None)


def test_a_row_with_its_passage_may_mention_it() -> None:
    assert Checks().fault(row("Sum up the passage.", "Short.", "Long."), "Long.") is None


def test_length() -> None:
    checks = Checks(shortest=3, longest=5)
    faults = [checks.fault(row("q", answer), "") for answer in ("ab", "abc", "abcde", "abcdef")]
    assert [fault is None for fault in faults] == [False, True, True, False]


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ("It costs 1200.50.", True),
        ("It costs 1,200.5 in 2019.", True),
        ("1. first\n2. second", True),
        ("共１２００.5元", True),
        ("It costs 1300.", False),
        ("Version 2.13.1", False),
        ("Version 2.13.0", True),
    ],
)
def test_numbers(answer: str, right: bool) -> None:
    passage = "In 2019 it cost 1,200.50; the version was 2.13.0."
    assert (Checks(numbers=True).fault(row("q", answer), passage) is None) is right
    assert Checks().fault(row("q", answer), passage) is None


def test_duplicates() -> None:
    pytest.importorskip("rensa")
    long = "The boats of the harbour town go out one after another before the sun is up and come back at noon"
    duplicates = Duplicates(near=0.7, known=[row("Seed?", "Yes.").conversation(HERE)])
    asked = [
        row("Who?", "Mira."),
        row("Who?", "Mira."),
        row(" who? ", "Tom."),
        row("Seed?", "No."),
        row("When do they go?", long),
    ]
    asked.append(row("When do they go ?", f"{long}."))
    faults = [duplicates.fault(one.conversation(HERE)) for one in asked]
    assert [fault is None for fault in faults] == [True, False, False, False, True, False]
    assert faults[-1] == "it is nearly an earlier row"
