"""Chunks: bounded, nothing lost, cut where the text itself is cut, each with its place."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorafit.data.documents import Document, chunk_documents
from lorafit.errors import DataError

MANUAL = """# Manual

Before all.

## Runs

A run is a folder. It can be moved! Can it? Yes.

### Names

They are e.g. dates, or what you call them.

## Parts

```text
# no heading

in a fence
```
"""
pieces = st.sampled_from(
    ["# A\n", "## B\n", "\n", "\n\n", "Words of it. ", "一句话。", "长" * 30, "x" * 30, "```\n", "    in\n", "- a\n"]
)


def document(text: str, **fields: object) -> Document:
    return Document("manual.md", "", "", text, **fields)  # type: ignore[arg-type]


def bare(text: str) -> str:
    return re.sub(r"\s", "", text)


@given(st.lists(pieces, max_size=40).map("".join), st.integers(1, 60), st.sampled_from(["prose", "code"]))
def test_bounded_and_nothing_lost(text: str, limit: int, kind: str) -> None:
    chunks = chunk_documents([document(text, kind=kind)], limit)
    assert all(0 < len(chunk.text) <= limit for chunk in chunks)
    assert bare("".join(chunk.text for chunk in chunks)) == bare(text)
    assert [chunk.source.row for chunk in chunks] == list(range(1, len(chunks) + 1))


@given(st.lists(pieces, max_size=40).map("".join), st.integers(8, 60), st.integers(1, 4))
def test_overlap_stays_within_the_limit(text: str, limit: int, overlap: int) -> None:
    chunks = chunk_documents([document(text)], limit, overlap=overlap)
    assert all(len(chunk.text) <= limit for chunk in chunks)
    assert all(chunk.text in text for chunk in chunks)


def test_cut_before_headings_with_the_headings_above() -> None:
    chunks = chunk_documents([document(MANUAL, numbered=True)], limit=80)
    assert [(chunk.text.split("\n")[0], chunk.place, chunk.headings) for chunk in chunks] == [
        ("# Manual", "lines 1-7", ("Manual",)),
        ("### Names", "lines 9-11", ("Manual", "Runs", "Names")),
        ("## Parts", "lines 13-19", ("Manual", "Parts")),
    ]


def test_a_chunk_ends_before_a_heading_rather_than_full() -> None:
    text = "First paragraph.\n\nSecond paragraph.\n\n## B\n\nThird paragraph.\n\nFourth paragraph."
    cut = [chunk.text for chunk in chunk_documents([document(text)], limit=60)]
    assert cut == ["First paragraph.\n\nSecond paragraph.", "## B\n\nThird paragraph.\n\nFourth paragraph."]


def test_a_heading_is_never_the_last_of_its_chunk() -> None:
    long = "Its first sentence is here. Its second sentence is there."
    cut = [chunk.text for chunk in chunk_documents([document(f"Short.\n\n## B\n\n{long}")], limit=60)]
    assert cut == ["Short.\n\n## B\n\nIts first sentence is here.", "Its second sentence is there."]
    cut = [chunk.text for chunk in chunk_documents([document(f"Short.\n\n## B\n\n{long}")], limit=38)]
    assert cut == ["Short.", "## B\n\nIts first sentence is here.", "Its second sentence is there."]
    cut = [
        chunk.text
        for chunk in chunk_documents(
            [document(f"This paragraph is not so short any more.\n\n## B\n\n{long}")], limit=60
        )
    ]
    assert cut == [
        "This paragraph is not so short any more.",
        "## B\n\nIts first sentence is here.",
        "Its second sentence is there.",
    ]


def test_sentences_of_two_scripts() -> None:
    text = "First one. Second e.g. this! 第一句话。第二句话？“第三句话。”第四"
    cut = [chunk.text for chunk in chunk_documents([document(text)], limit=18)]
    assert cut == ["First one.", "Second e.g. this!", "第一句话。第二句话？“第三句话。”", "第四"]


def test_overlap_repeats_whole_sentences() -> None:
    sentences = [f"This is sentence {number}." for number in range(1, 7)]
    chunks = chunk_documents([document(" ".join(sentences))], limit=70, overlap=25)
    assert [chunk.text.split(". ")[0].strip(".") for chunk in chunks] == [
        "This is sentence 1",
        "This is sentence 3",
        "This is sentence 5",
    ]
    assert chunks[0].text.endswith("sentence 3.")


def test_counted_by_tokens() -> None:
    chunks = chunk_documents([document("one two three. four five. six")], limit=3, count=lambda text: len(text.split()))
    assert [chunk.text for chunk in chunks] == ["one two three.", "four five. six"]


def test_code_by_definition_with_lines_and_names() -> None:
    source = Path(__file__).read_text(encoding="utf-8")
    chunks = chunk_documents([document(source, kind="code", language="python", numbered=True)], 3000, code="definition")
    named = {chunk.headings[-1]: chunk for chunk in chunks if chunk.headings}
    own = named["def test_code_by_definition_with_lines_and_names"]
    first, last = map(int, own.place.removeprefix("lines ").split("-"))
    assert own.text == "\n".join(source.split("\n")[first - 1 : last])
    assert own.text.startswith("def test_code_by_definition")
    assert own.language == "python"
    whole = chunk_documents([document(source, kind="code", language="python")], len(source))
    assert len(whole) == 1


def test_place_in_pages_and_chapters() -> None:
    paged = document("First page.\n\nSecond page.", pages=(0, 13))
    assert [chunk.place for chunk in chunk_documents([paged], 14)] == ["page 1", "page 2"]
    assert [chunk.place for chunk in chunk_documents([paged], 99)] == ["pages 1-2"]
    chapter = Document("book.epub", "chapter 3", "The Book", "Text.")
    (chunk,) = chunk_documents([chapter])
    assert (chunk.place, chunk.headings) == ("chapter 3", ("The Book",))


@pytest.mark.parametrize(("limit", "overlap"), [(0, 0), (10, 6), (10, -1)])
def test_limits_that_make_no_sense(limit: int, overlap: int) -> None:
    with pytest.raises(DataError, match="overlap"):
        chunk_documents([], limit, overlap=overlap)
