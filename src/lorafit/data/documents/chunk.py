"""Documents to chunks: cut at headings, paragraphs and sentences (for code, at definitions), each with its place.

A chunk is a stretch of its document's text as it stands there. The text is laid out as pieces, one after the other,
each with the strength of the border it begins at; chunks are runs of pieces.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from lorafit.data.documents.code import definitions
from lorafit.data.documents.document import Chunk, Document
from lorafit.errors import DataError
from lorafit.records import Source

Count = Callable[[str], int]

# Strengths of borders: headings and definitions have their level, 1 to 6.
_PARAGRAPH, _SENTENCE, _ANYWHERE = 7, 8, 9
_HEADING = re.compile(r"(#{1,6})[ \t]+(\S.*)")
_FENCE = re.compile(r"[ \t]*(`{3,}|~{3,})")
# After a full stop a sentence begins with anything but a small letter; CJK stops need no space after them.
_SENTENCE_END = re.compile(r"""[.!?…]["'”’)\]]*[ \t]+(?=[^\sa-z])|[。！？；…]+[”’」』）]*|\n(?:[ \t]*\n)*""")


@dataclass(frozen=True, slots=True)
class _Piece:
    """Characters `start` to `end` of a text; border: its strength, the least being the strongest."""

    start: int
    end: int
    border: int


@dataclass(frozen=True, slots=True)
class _Title:
    start: int
    level: int
    text: str


def chunk_documents(
    documents: Sequence[Document],
    limit: int = 2000,
    *,
    count: Count = len,
    overlap: int = 0,
    code: Literal["file", "definition"] = "file",
) -> list[Chunk]:
    """Cut documents into chunks of at most `limit`, counted by `count`: characters, or tokens of a tokenizer.

    A chunk is as long as fits, and ends before a heading where that leaves it at least half full. With `overlap` each
    chunk begins with the last sentences of the one before, as many as count up to that. Code is cut by file (files that
    are too long at definitions), or has a chunk for each outermost definition. Without overlap the chunks of a
    document are its whole text, but for white space between them.
    Raises DataError when limit is below 1, or overlap is not between 0 and half of it.
    """
    if limit < 1 or not 0 <= overlap <= limit // 2:
        raise DataError(
            f"Chunks of at most {limit} with an overlap of {overlap}: the limit must be at least 1, and the overlap "
            "between 0 and half of the limit."
        )
    chunks: list[Chunk] = []
    numbers: Counter[str] = Counter()
    for document in documents:
        titles = _titles(document)
        pieces = _fitting(document.text, _pieces(document, titles), limit, count)
        newlines = [found.start() for found in re.finditer("\n", document.text)] if document.numbered else []
        alone = document.kind == "code" and code == "definition"
        for start, end in _runs(document.text, pieces, limit, count, overlap, alone):
            text = _shown(document.text, start, end)
            if not text:
                continue
            start = document.text.index(text, start)
            numbers[document.path] += 1
            chunks.append(
                Chunk(
                    text,
                    Source(document.path, numbers[document.path]),
                    _place(document, newlines, start, start + len(text)),
                    _above(titles, start, document),
                    document.language,
                )
            )
    return chunks


def _shown(text: str, start: int, end: int) -> str:
    """What of a stretch becomes the chunk: all but empty lines around it. An indent stays, which code needs."""
    return re.sub(r"\A(?:[^\S\n]*\n)+", "", text[start:end]).rstrip()


def _titles(document: Document) -> list[_Title]:
    if document.kind == "code":
        found = definitions(document.text, document.language)
        return [_Title(start, min(depth, 6), name) for start, depth, name in found]
    titles, fence, start = [], "", 0
    for line in document.text.split("\n"):
        if mark := _FENCE.match(line):
            fence = "" if fence and mark[1].startswith(fence) else fence or mark[1]
        elif not fence and (heading := _HEADING.match(line)):
            titles.append(_Title(start, len(heading[1]), heading[2].rstrip("# \t")))
        start += len(line) + 1
    return titles


def _pieces(document: Document, titles: list[_Title]) -> list[_Piece]:
    """The text cut at its titles and at empty lines; fenced code stays whole, and a heading with what it is above."""
    borders = dict.fromkeys(_paragraphs(document.text), _PARAGRAPH)
    if document.kind == "prose":
        for title in titles:
            borders.pop(_line_after(document.text, title.start), None)
    borders.update((title.start, title.level) for title in titles)
    borders.setdefault(0, _PARAGRAPH)
    starts = sorted(start for start in borders if start < len(document.text))
    return [_Piece(start, end, borders[start]) for start, end in pairwise([*starts, len(document.text)])]


def _line_after(text: str, start: int) -> int:
    """Where the next line that is not empty begins."""
    line_end = text.find("\n", start)
    found = re.compile(r"(?:[^\S\n]*\n)*").match(text, line_end + 1) if line_end >= 0 else None
    return found.end() if found else len(text)


def _paragraphs(text: str) -> Iterator[int]:
    fence, empty, start = "", False, 0
    for line in text.split("\n"):
        if empty and line.strip() and not fence:
            yield start
        if mark := _FENCE.match(line):
            fence = "" if fence and mark[1].startswith(fence) else fence or mark[1]
        empty = not line.strip()
        start += len(line) + 1


def _fitting(text: str, pieces: list[_Piece], limit: int, count: Count) -> list[_Piece]:
    """Pieces that are too long cut at sentences and line ends, and sentences that are too long wherever it must be."""
    fitting = []
    for piece in pieces:
        if count(_shown(text, piece.start, piece.end)) <= limit:
            fitting.append(piece)
            continue
        ends = [found.end() for found in _SENTENCE_END.finditer(text, piece.start, piece.end)]
        border, start = piece.border, piece.start
        for end in [*ends, piece.end]:
            while start < end:
                cut = _longest(text, start, end, limit, count)
                fitting.append(_Piece(start, cut, border))
                border, start = (_SENTENCE if cut == end else _ANYWHERE), cut
    return fitting


def _longest(text: str, start: int, end: int, limit: int, count: Count) -> int:
    """Where the longest beginning of text[start:end] ends that fits; one character at least, a word's end if it can."""
    if count(_shown(text, start, end)) <= limit:
        return end
    low, high = start + 1, end
    while high - low > 1:
        middle = (low + high) // 2
        if count(_shown(text, start, middle)) <= limit:
            low = middle
        else:
            high = middle
    space = max(text.rfind(" ", start, low), text.rfind("\n", start, low))
    return space + 1 if space > start + (low - start) // 2 else low


def _runs(
    text: str, pieces: list[_Piece], limit: int, count: Count, overlap: int, alone: bool
) -> Iterator[tuple[int, int]]:
    """Start and end of each chunk. `alone`: a chunk ends before every border of level 1."""
    first = 0
    begin = 0  # with overlap, before the first piece
    while first < len(pieces):
        last = _fill(text, pieces, first, begin, limit, count)
        if alone:
            last = next((at for at in range(first + 1, last) if pieces[at].border == 1), last)
        if last < len(pieces):
            last = _better_end(text, pieces, first, last, begin, limit, count)
        yield begin, pieces[last - 1].end
        if last < len(pieces):
            begin = _overlapping(text, begin, pieces[last], overlap, limit, count)
        first = last


def _fill(text: str, pieces: list[_Piece], first: int, begin: int, limit: int, count: Count) -> int:
    """The number of the piece after the last that fits. Counts of pieces are added up, then the whole is checked."""
    last, size = first + 1, count(_shown(text, begin, pieces[first].end))
    while last < len(pieces):
        size += count(text[pieces[last].start : pieces[last].end])
        if size > limit:
            break
        last += 1
    while last > first + 1 and count(_shown(text, begin, pieces[last - 1].end)) > limit:
        last -= 1
    return last


def _better_end(text: str, pieces: list[_Piece], first: int, last: int, begin: int, limit: int, count: Count) -> int:
    """An end before a heading or definition where half of the chunk stays: the strongest, and of these the last."""
    best = last
    for at in range(last, first, -1):
        if pieces[at].border >= _PARAGRAPH or (pieces[at].border >= pieces[best].border and at != last):
            continue
        if count(_shown(text, begin, pieces[at].start)) < limit / 2:
            break
        best = at
    # The line of a heading goes with what it is above.
    if best > first + 1 and pieces[best - 1].border < _PARAGRAPH < pieces[best].border:
        best -= 1
    return best


def _overlapping(text: str, begin: int, following: _Piece, overlap: int, limit: int, count: Count) -> int:
    """Where the next chunk begins: before its first piece by the sentences that fit into the overlap."""
    start = following.start
    if not overlap or following.border < _PARAGRAPH:
        return start
    window = max(begin, start - 40 * overlap)  # a token is hardly ever longer
    for end in [found.end() for found in _SENTENCE_END.finditer(text, window, start)]:
        if (
            end < start
            and count(_shown(text, end, start)) <= overlap
            and count(_shown(text, end, following.end)) <= limit
        ):
            return end
    return start


def _above(titles: list[_Title], start: int, document: Document) -> tuple[str, ...]:
    """The titles that the character `start` stands under, its own included, outermost first."""
    path: list[_Title] = []
    for at in range(bisect_right(titles, start, key=lambda title: title.start) - 1, -1, -1):
        if not path or titles[at].level < path[0].level:
            path.insert(0, titles[at])
            if titles[at].level == 1:
                break
    names = tuple(title.text for title in path if title.text)
    has_top = document.kind == "code" or document.title in ("", *names) or (path and path[0].level == 1)
    return names if has_top else (document.title, *names)


def _place(document: Document, newlines: list[int], start: int, end: int) -> str:
    if document.pages:
        first, last = (max(1, bisect_right(document.pages, place)) for place in (start, max(start, end - 1)))
        return _span("page", first, last)
    if document.numbered:
        return _span("line", bisect_left(newlines, start) + 1, bisect_left(newlines, end) + 1)
    return document.place


def _span(unit: str, first: int, last: int) -> str:
    return f"{unit} {first}" if first == last else f"{unit}s {first}-{last}"
