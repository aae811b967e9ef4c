"""Scores computed by hand, in languages with and without spaces."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lorafit.evaluate.text_metrics import exact_match, interval, normalise, token_f1, words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Mira lives, on Willow Street 7!", ["mira", "lives", "on", "willow", "street", "7"]),
        ("米拉住在7号。", ["米", "拉", "住", "在", "7", "号"]),
        ("GPT模型v2", ["gpt", "模", "型", "v2"]),
        ("コーヒー・カップ", ["コ", "ー", "ヒ", "ー", "カ", "ッ", "プ"]),  # the dot between the words is none
        ("안녕 Mira", ["안", "녕", "mira"]),
        ("ＡＢＣ　１２", ["abc", "12"]),
        ("किताब अच्छी", ["किताब", "अच्छी"]),  # vowel signs do not cut a word
        ("snake_case don't", ["snake", "case", "don", "t"]),
        ("🦊 … !", []),
        ("𠮷野", ["𠮷", "野"]),
    ],
)
def test_words(text: str, expected: list[str]) -> None:
    assert words(text) == expected


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
    assert normalise(normalise(one)) == normalise(one)


def test_exact_match_evens_out_case_width_and_spaces_only() -> None:
    assert exact_match(" Willow\u3000STREET\n", "willow street") == 1
    assert exact_match("Willow Street.", "Willow Street") == 0


def test_the_interval_is_that_of_the_mean() -> None:
    low, high = interval([0.0, 1.0] * 50)
    # The normal approximation: 0.5 +- 1.96 * 0.5 / sqrt(100).
    assert low == pytest.approx(0.402, abs=0.02)
    assert high == pytest.approx(0.598, abs=0.02)
    assert interval([0.0, 1.0] * 50) == (low, high)
    assert interval([0.25]) == (0.25, 0.25)
