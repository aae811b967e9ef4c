"""Text, Markdown and notebooks."""

from __future__ import annotations

import json

import pytest

from lorafit.data.documents.document import LeftOut, Unreadable
from lorafit.data.documents.plain import read_markdown, read_notebook, read_text


def test_text_is_mended_and_keeps_its_lines() -> None:
    (document,) = read_text("TTiittllee\r\nThe infor-\r\nmation is here.\r\n".encode("utf-16"), "notes.txt")
    assert document.text == "Title\nThe information\nis here.\n"


def test_markdown_without_front_matter_and_comments_keeps_line_numbers() -> None:
    source = "---\ntitle: 'The manual'\n---\n<!-- todo:\nwrite -->\n# Runs\n\nText\n"
    (document,) = read_markdown(source.encode(), "manual.md")
    assert document.title == "The manual"
    assert document.text.split("\n")[5] == source.split("\n")[5] == "# Runs"
    assert "todo" not in document.text and "title" not in document.text


def test_notebook_without_outputs() -> None:
    cells = [
        {"cell_type": "markdown", "source": ["# Plan\n", "First"]},
        {"cell_type": "code", "source": "print(1)", "outputs": [{"text": "SECRET"}]},
        {"cell_type": "code", "source": []},
    ]
    (document,) = read_notebook(json.dumps({"cells": cells}).encode(), "plan.ipynb")
    assert document.text == "# Plan\nFirst\n\n```python\nprint(1)\n```"


@pytest.mark.parametrize("content", [b"[1]", b"{", b'{"cells": [{}]}', b'{"cells": 1}', b'{"metadata": []}'])
def test_broken_notebook(content: bytes) -> None:
    with pytest.raises(Unreadable, match="not a Jupyter notebook"):
        list(read_notebook(content, "plan.ipynb"))


@pytest.mark.parametrize("read", [read_text, read_markdown])
def test_empty_file(read: object) -> None:
    with pytest.raises(LeftOut, match="empty file"):
        list(read(b" \n\n", "notes"))  # type: ignore[operator]
