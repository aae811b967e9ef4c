"""Text to rows: nothing is lost, and no row is too long."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lorafit.data.readers.plain import read_text


def texts(text: str, longest: int) -> list[str]:
    return [row.fields["text"] for row in read_text([text[:3], text[3:]], "book.txt", longest)]


@given(st.text("ab 中\n"), st.integers(3, 20))
def test_the_rows_are_the_text_but_for_blank_lines(text: str, longest: int) -> None:
    found = texts(text, longest)
    assert "".join("".join(row.split()) for row in found) == "".join(text.split())
    assert all(0 < len(row) <= longest and row.strip() for row in found)


def test_paragraphs_stay_whole_where_they_fit() -> None:
    assert texts("one one\n\ntwo two\n\nthree\n", 18) == ["one one\n\ntwo two", "three"]
    assert texts("a line\nand one\nmore\n\nend\n", 15) == ["a line\nand one", "more\n\nend"]
    assert texts("words that are too long for it", 12) == ["words that ", "are too ", "long for it"]
