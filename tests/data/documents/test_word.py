"""Word files to Markdown: headings by style, page headers left out, locked files said to be that."""

from __future__ import annotations

from typing import Any

import pytest

from lorafit.data.documents.document import Unreadable
from lorafit.data.documents.word import read_word

pytest.importorskip("mammoth")


def test_headings_and_paragraphs(docx: Any) -> None:
    content = docx(
        [
            ("Title", "Manual"),
            ("Heading1", "Runs"),
            ("Normal", "A run is a folder."),
            ("1", "安装"),
            ("Normal", "先读手册。"),
        ]
    )
    (document,) = read_word(content, "manual.docx")
    assert document.text == "# Manual\n\n# Runs\n\nA run is a folder.\n\n# 安装\n\n先读手册。"
    assert document.title == "Manual"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + "EncryptedPackage".encode("utf-16-le"), "locked by a password"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1 WordDocument", r"an old Word file"),
        (b"PK\x03\x04 cut off", "damaged"),
        (b"", "damaged"),
    ],
)
def test_what_cannot_be_read_says_why(content: bytes, said: str) -> None:
    with pytest.raises(Unreadable, match=said):
        list(read_word(content, "manual.docx"))


def test_zip_with_broken_xml_is_damaged(docx: Any) -> None:
    with pytest.raises(Unreadable, match="damaged"):
        list(read_word(docx([("Normal", "a < b")]), "manual.docx"))


def test_file_without_text(docx: Any) -> None:
    with pytest.raises(Unreadable, match="no text"):
        list(read_word(docx([]), "manual.docx"))
