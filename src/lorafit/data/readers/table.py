"""CSV and TSV to rows: the delimiter is seen from the first lines, quoted line breaks are kept."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

from lorafit.data.convert import Rejected
from lorafit.data.readers.decoded import lines
from lorafit.errors import DataError
from lorafit.records import Record, Source

_DELIMITERS = ",\t;|"
_LOOKED_AT = 50  # rows
_LONGEST = 64 << 20  # characters of a cell: above it a quote was opened and never closed


def delimiter_of(head: str, is_whole: bool) -> str | None:
    """The delimiter that cuts the first rows into equally many cells, at least two; None where none does."""
    sample = head.splitlines(keepends=True)
    if not is_whole and len(sample) > 1:
        sample.pop()  # cut off
    best, most = None, (0.0, 0)
    for delimiter in _DELIMITERS:
        try:
            rows = [row for row, _ in zip(_cells(sample, delimiter), range(_LOOKED_AT), strict=False) if row]
        except csv.Error:
            continue
        if not rows or len(rows[0]) < 2:
            continue
        widths = Counter(map(len, rows))
        score = (widths[len(rows[0])] / len(rows), len(rows[0]))
        if score[0] > 0.5 and score > most:
            best, most = delimiter, score
    return best


def read_table(
    chunks: Iterable[str], name: str, delimiter: str, columns: Sequence[str] = ()
) -> Iterator[Record | Rejected]:
    """Rows by the names in the first line; row 1 is the one after it. Columns without a name are left out.

    columns: the names where the file has none; a first line that says the same is still no row.

    A row with too many or too few cells is rejected. Raises DataError for a header with one name twice, and for a quote
    that is never closed.
    """
    rows = _cells((line + "\n" for line in lines(chunks)), delimiter)
    number = 0
    try:
        first = next((row for row in rows if any(map(str.strip, row))), [])
        header = [cell.strip() for cell in first]
        if columns and header != list(columns):
            header, rows = list(columns), chain([first], rows)
        twice = [column for column, count in Counter(header).items() if count > 1 and column]
        if twice:
            raise DataError(
                f"{name}: the column {twice[0]!r} is there twice in the first line, which should name the columns.\n"
                "Rename one of them (or add the line, if the file has no names)."
            )
        for number, cells in enumerate(rows, start=1):
            if not cells or (len(cells) == 1 < len(header) and not cells[0].strip()):
                continue  # an empty line
            source = Source(name, number)
            if len(cells) == len(header):
                yield Record({column: cell for column, cell in zip(header, cells, strict=True) if column}, source)
            else:
                named = "there are names for" if columns else "the first line names"
                problem = f"{len(cells)} cells, but {named} {len(header)} columns"
                yield Rejected(Record({"cells": cells}, source), "", f"the row has {problem}: is a quote missing?")
    except csv.Error as error:
        raise DataError(
            f"{name}, row {number + 1}: this row cannot be read: {error}.\n"
            "A quote may be open that is never closed, or the file is not CSV."
        ) from None


def _cells(text: Iterable[str], delimiter: str) -> Iterator[list[str]]:
    csv.field_size_limit(_LONGEST)
    return csv.reader(text, delimiter=delimiter)
