"""Books to one document a chapter, in reading order."""

from __future__ import annotations

from typing import Any

import pytest

from lorafit.data.documents.document import Unreadable
from lorafit.data.documents.epub import read_epub

pytest.importorskip("lxml")
pytest.importorskip("markdownify")


def test_chapters_in_reading_order_without_contents(epub: Any) -> None:
    book = epub(["<h1>One</h1><p>It <i>began</i>.</p>", "<h2>Two</h2><ul><li>a</li><li>b</li></ul>", "<p/>"])
    chapters = list(read_epub(book, "book.epub"))
    assert [chapter.text for chapter in chapters] == ["# One\n\nIt *began*.", "## Two\n\n- a\n- b"]
    assert [chapter.place for chapter in chapters] == ["chapter 1", "chapter 2"]
    assert [chapter.title for chapter in chapters] == ["One", "Two"]
    assert {chapter.language for chapter in chapters} == {"en"}


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off", b"plain"])
def test_damaged_book(content: bytes) -> None:
    with pytest.raises(Unreadable, match="not an EPUB book, or a damaged one"):
        list(read_epub(content, "book.epub"))


def test_locked_book(epub: Any) -> None:
    with pytest.raises(Unreadable, match="locked"):
        list(read_epub(epub(["<p>text</p>"], locked=True), "book.epub"))


def test_book_without_text(epub: Any) -> None:
    with pytest.raises(Unreadable, match="no text"):
        list(read_epub(epub(["<p><img src='scan.png'/></p>"]), "book.epub"))
