"""What passes between reading and chunking: a document, a chunk of one, and a file that could not be read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from lorafit.errors import DataError
from lorafit.records import Source

INSTALL = "pip install 'lorafit[documents]'"


@dataclass(frozen=True, slots=True)
class Document:
    """The text of a file, or of a part of it; headings of prose are Markdown.

    path: the file as it was found; place: the part of the file, "" for all of it; title: "" where there is none;
    language: the programming language of code, or the language that a page declares; pages: for each page the
    character of `text` it begins at; numbered: whether line 1 of `text` is line 1 of the file.
    """

    path: str
    place: str
    title: str
    text: str
    language: str | None = None
    kind: Literal["prose", "code"] = "prose"
    pages: tuple[int, ...] = ()
    numbered: bool = False


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a document, to be trained on as one text.

    source: the file, and the number of the chunk in it; place: pages, lines or chapter; headings: the titles above the
    beginning of the chunk, outermost first (for Python, the classes and functions); language: as of the document.
    """

    text: str
    source: Source
    place: str
    headings: tuple[str, ...] = ()
    language: str | None = None


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file, or pages of it, that could not be read: why, and what the user can do."""

    file: str
    reason: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.file}: {self.reason} {self.remedy}"


@dataclass(frozen=True, slots=True)
class DocumentSet:
    """documents in the order of the files; skipped: what could not be read; left_out: files or folders that are not
    meant for training (vendored, generated, ignored, of another kind), counted by reason."""

    documents: tuple[Document, ...]
    skipped: tuple[Skipped, ...] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        files = len({document.path for document in self.documents})
        characters = sum(len(document.text) for document in self.documents)
        lines = [f"{files} files read: {len(self.documents)} documents, {characters:,} characters"]
        lines += [f"left out: {count} × {reason}" for reason, count in self.left_out.items()]
        lines += [f"not read: {skipped}" for skipped in self.skipped]
        return "\n".join(lines)


class Unreadable(DataError):
    """One file cannot be read: the reason and the remedy, each a sentence. Readers raise it; read_documents gathers."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(f"{reason} {remedy}")
        self.reason, self.remedy = reason, remedy


class LeftOut(Exception):
    """A file that is not meant for training, with the reason that it is counted under."""


def first_heading(text: str) -> str:
    """The first Markdown heading of a text, "" without one."""
    for line in text.split("\n"):
        if line.startswith("#") and line.lstrip("#").startswith(" "):
            return line.strip("# \t")
    return ""


def missing(library: str) -> Unreadable:
    return Unreadable(f"The library {library} is not installed.", f"Run: {INSTALL}")
