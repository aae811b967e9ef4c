"""Plain text to rows: paragraphs, as many together as fit into a row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from lorafit.data.readers.decoded import lines
from lorafit.records import Record, Source

_BLANK = "\t\n\r\f "


def read_text(chunks: Iterable[str], name: str, longest: int) -> Iterator[Record]:
    """Rows of whole paragraphs (blank lines are between them), each of at most `longest` characters.

    A paragraph that is longer is cut at the ends of its lines, and a line at spaces, else anywhere. The rows together
    are the file, but for the blank lines between them.
    """
    number = 0
    held: list[str] = []
    length = 0
    for piece in _pieces(chunks, longest):
        if held and length + len(piece) > longest:
            if "".join(held).strip(_BLANK):
                number += 1
                yield _row(held, name, number)
            held, length = [], 0
        held.append(piece)
        length += len(piece)
    if "".join(held).strip(_BLANK):
        yield _row(held, name, number + 1)


def _row(held: list[str], name: str, number: int) -> Record:
    return Record({"text": "".join(held).strip("\n")}, Source(name, number))


def _pieces(chunks: Iterable[str], longest: int) -> Iterator[str]:
    """Paragraphs with the blank lines after them; of one that is too long its lines, of such a line parts of it."""
    paragraph: list[str] = []
    length = 0
    ended = False
    for line in lines(chunks):
        line = line.rstrip("\r") + "\n"
        blank = not line.strip(_BLANK)
        if paragraph and ((ended and not blank) or length + len(line) > longest):
            yield "".join(paragraph)
            paragraph, length = [], 0
        ended = blank
        while len(line) > longest + 1:
            cut = line.rfind(" ", 1, longest) + 1 or longest
            yield line[:cut]
            line = line[cut:]
        paragraph.append(line)
        length += len(line)
    if paragraph:
        yield "".join(paragraph)
