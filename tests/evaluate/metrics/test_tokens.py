"""Texts cut to tokens, in languages with and without spaces."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lorafit.errors import DataError, RecipeError
from lorafit.evaluate.metrics.tokens import caption_tokens, mteval_tokens, normalise, segmenter, spaced, words


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
        ("人々と〇", ["人", "々", "と", "〇"]),
    ],
)
def test_words(text: str, expected: list[str]) -> None:
    assert words(text) == expected


@settings(deadline=None)
@given(st.text())
def test_evening_out_twice_changes_nothing(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It isn't family-friendly.", ["it", "is", "n't", "family-friendly"]),
        ("You'll like The Wrestlers', won't you?", ["you", "'ll", "like", "the", "wrestlers", "wo", "n't", "you"]),
        ("£20-25, or £20-£25; 5of5", ["£", "20-25", "or", "£", "20", "-£25", "5of5"]),
        ("Is it cheap? No.", ["is", "it", "cheap", "no."]),
        ("非常好，Mira！", ["非", "常", "好", "mira"]),
        ('"Café" (new) ...', ["café", "(", "new", ")"]),
    ],
)
def test_caption_tokens(text: str, expected: list[str]) -> None:
    assert caption_tokens(text) == expected


def test_mteval_tokens_are_those_of_sacrebleu_and_cut_kana_and_hangul_too() -> None:
    assert mteval_tokens('He paid 1,000.50, "all".') == ["He", "paid", "1,000.50", ",", '"', "all", '"', "."]
    assert mteval_tokens("我爱NLP，真的。") == ["我", "爱", "NLP", "，", "真", "的", "。"]
    assert mteval_tokens("すき안녕 OK.", cased=False) == ["す", "き", "안", "녕", "ok", "."]


def test_words_instead_of_characters() -> None:
    assert spaced("안녕하세요 Mira", segmenter("ko")).split() == ["안녕하세요", "Mira"]
    pytest.importorskip("jieba")
    assert words("我在北京大学", segmenter("zh")) == ["我", "在", "北京大学"]


def test_japanese_words() -> None:
    pytest.importorskip("janome")
    assert words("東京に住む", segmenter("ja")) == ["東京", "に", "住む"]


def test_a_language_that_there_is_not() -> None:
    with pytest.raises(RecipeError, match="'xx'; it may be zh, ja, ko"):
        segmenter("xx")


def test_a_missing_package_is_named_when_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jieba", None)
    with pytest.raises(DataError, match=r"pip install 'lorafit\[words\]'"):
        segmenter("zh")
