"""Text, Markdown and notebooks: decoded, mended, as they are otherwise."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from lorafit.data.documents.document import Document, LeftOut, Unreadable, first_heading
from lorafit.data.documents.mend import halve_doubled, join_hyphenated
from lorafit.data.encoding import decode

_FRONT_MATTER = re.compile(r"\A---[ \t]*\n(.*?\n)(?:---|\.\.\.)[ \t]*\n", re.S)


def read_text(content: bytes, path: str) -> Iterator[Document]:
    """One Document; words cut at line ends and doubled letters mended, lines kept."""
    text = halve_doubled(join_hyphenated(_lines(content, path)))
    yield _document(path, text, title="")


def read_markdown(content: bytes, path: str) -> Iterator[Document]:
    """One Document, without front matter and comments. The lines keep their numbers."""
    text = _lines(content, path)
    front = _FRONT_MATTER.match(text)
    title = ""
    if front:
        named = re.search(r"(?m)^title:\s*(.+?)\s*$", front[1])
        title = named[1].strip("\"'") if named else ""
        text = _blank(front[0]) + text[front.end() :]
    text = re.sub(r"(?s)<!--.*?-->", lambda comment: _blank(comment[0]), text)
    yield _document(path, text, title or first_heading(text))


def read_notebook(content: bytes, path: str) -> Iterator[Document]:
    """One Document: text cells as they are, code cells as fenced code; outputs are left out."""
    try:
        notebook = json.loads(_lines(content, path))
        language = notebook.get("metadata", {}).get("kernelspec", {}).get("language", "python")
        cells = [(cell["cell_type"], "".join(cell["source"]).strip()) for cell in notebook["cells"]]
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise Unreadable(
            f"This is not a Jupyter notebook ({type(error).__name__}: {error}).", "Open and save it."
        ) from None
    parts = [f"```{language}\n{source}\n```" if kind == "code" else source for kind, source in cells if source]
    text = "\n\n".join(parts)
    if not text:
        raise LeftOut("empty file")
    yield Document(path, "", first_heading(text), text, language)


def _lines(content: bytes, path: str) -> str:
    text, _ = decode(content, path)
    return re.sub(r"\r\n?", "\n", text)


def _blank(text: str) -> str:
    """As many empty lines, so that what follows keeps its line number."""
    return "\n" * text.count("\n")


def _document(path: str, text: str, title: str) -> Document:
    if not text.strip():
        raise LeftOut("empty file")
    return Document(path, "", title, text, numbered=True)
