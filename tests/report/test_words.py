from __future__ import annotations

import pytest

from lorafit.report import words


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.0081401, "0.008140"),
        (3.85257, "3.853"),
        (123456.7, "123,457"),
        (2.857e-4, "0.000286"),
        (5e-7, "5e-07"),
    ],
)
def test_figure_has_four_significant_digits(value: float, text: str) -> None:
    assert words.figure(value) == text


@pytest.mark.parametrize("value", [None, "7", True, float("nan"), float("inf"), [], {}])
def test_what_is_no_number_is_a_dash(value: object) -> None:
    for word in (words.count, words.figure, words.share, words.size, words.duration, words.moment):
        assert word(value) == words.NONE


def test_size_and_duration_take_the_unit_that_fits() -> None:
    assert [words.size(n) for n in (74_256, 1_146_880, 624_376_553, 23_612_182_528)] == [
        "74 kB",
        "1.15 MB",
        "624 MB",
        "23.6 GB",
    ]
    assert [words.duration(s) for s in (59.4, 61, 3599.7, 7384)] == ["59 s", "1 min 1 s", "1 h 0 min", "2 h 3 min"]


def test_moment_survives_a_year_without_a_calendar() -> None:
    assert words.moment(1e18) == words.NONE
    assert words.moment(1795280202).startswith("2026-11-2")


@pytest.mark.parametrize(("text", "code"), [("plain", ""), ("中文", "zh"), ("ひらがな漢字", "ja"), ("한국어", "ko")])
def test_language_by_script(text: str, code: str) -> None:
    assert words.language(text) == code


def test_clip_says_how_much_is_left_out() -> None:
    assert words.clip("a" * 20, 20) == "a" * 20
    assert words.clip("a" * 25, 20) == "a" * 20 + "… (5 more characters)"
    assert words.clip(None) == ""
