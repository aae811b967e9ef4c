"""Repairs change what is broken, and nothing else."""

from __future__ import annotations

import pytest

from lorafit.data.documents.mend import halve_doubled, join_hyphenated, join_lines, words_of


@pytest.mark.parametrize(
    ("broken", "whole"),
    [
        ("HHeelllloo", "Hello"),
        ("TThhee  rreessuullttss  ((22002244))", "The results (2024)"),
        ("AAAnnnnnnuuuaaalll", "Annual"),
        ("用用户户手手册册", "用户手册"),
        ("IInnttrroodduuccttiioonn of the parts", "Introduction of the parts"),
    ],
)
def test_doubled_letters_are_halved(broken: str, whole: str) -> None:
    assert halve_doubled(f"before\n{broken}\nafter") == f"before\n{whole}\nafter"


@pytest.mark.parametrize(
    "text", ["高高兴兴", "AABB", "11223344", "----------", "bookkeeper", "aaaaaaaa", "== 11 ==", ""]
)
def test_what_is_meant_stays(text: str) -> None:
    assert halve_doubled(text) == text


def test_words_cut_at_line_ends() -> None:
    text = "The infor-\nmation, as well-\nknown as it is,\nis well-known. Anglo-\nSaxon\n- one\n- two\n"
    mended = "The information,\nas well-known\nas it is,\nis well-known. Anglo-Saxon\n\n- one\n- two\n"
    assert join_hyphenated(text) == mended


@pytest.mark.parametrize(
    ("first", "second", "joined"),
    [
        ("请先阅读", "手册。", "请先阅读手册。"),
        ("请先阅读", "README", "请先阅读 README"),
        ("a dual-", "encoder", "a dual-encoder"),
        ("em-", "beddings", "embeddings"),
        ("the end", "of it", "the end of it"),
    ],
)
def test_lines_of_a_paragraph(first: str, second: str, joined: str) -> None:
    assert join_lines(first, second, words_of("dual models, and an encoder")) == joined
