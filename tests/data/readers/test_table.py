"""CSV in its dialects."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorafit.data.convert import Rejected
from lorafit.data.readers.table import delimiter_of, read_table
from lorafit.errors import DataError

CELLS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\0"), max_size=6)


def rows(text: str, delimiter: str = ",") -> list[Any]:
    return list(read_table([text[:5], text[5:]], "rows.csv", delimiter))


@given(st.lists(st.tuples(CELLS.filter(str.strip), CELLS), min_size=1, max_size=4), st.sampled_from(",\t;|"))
def test_cells_come_back_with_quotes_and_line_breaks(cells: list[tuple[str, str]], delimiter: str) -> None:
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter).writerows([("prompt", "answer"), *cells])
    found = rows(text.getvalue(), delimiter)
    assert [(row.fields["prompt"], row.fields["answer"]) for row in found] == cells


@pytest.mark.parametrize("delimiter", [",", "\t", ";", "|"])
def test_the_delimiter_is_seen(delimiter: str) -> None:
    rows = [["prompt", "answer", "note"], ["one, two", '"an; answer, a\tlong | one"', ""]]
    head, row = (delimiter.join(cells) + "\n" for cells in rows)
    assert delimiter_of(head + (row.replace("one, two", "one") * 5), is_whole=True) == delimiter


def test_a_text_has_no_delimiter() -> None:
    assert delimiter_of("one word\nanother, here\nthen, two, more\nnone\n", is_whole=True) is None


def test_rows_of_another_length_are_rejected_and_the_others_kept() -> None:
    found = rows("prompt,answer\nq,a\nq\n\nq,a,b\nq2,a2\n")
    assert [(row.record.source.row, row.problem[:7]) for row in found if isinstance(row, Rejected)] == [
        (2, "the row"),
        (4, "the row"),
    ]
    assert [row.source.row for row in found if not isinstance(row, Rejected)] == [1, 5]


def test_a_column_without_a_name_is_left_out_and_one_named_twice_refused() -> None:
    assert rows(",prompt\n0,q\n")[0].fields == {"prompt": "q"}
    with pytest.raises(DataError, match="the column 'a' is there twice"):
        rows("a,a\n1,2\n")


def test_an_open_quote_is_named_by_its_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lorafit.data.readers.table._LONGEST", 1000)
    with pytest.raises(DataError, match=r"rows\.csv, row 2: this row cannot be read"):
        rows('prompt,answer\nq,a\nq,"open\n' + "q,a\n" * 1000)


@pytest.mark.parametrize("header", ["", "prompt,answer\n"])
def test_names_are_given_where_the_file_has_none(header: str) -> None:
    found = list(read_table([header + " q ,a\nq2\nq3,a3\n"], "rows.csv", ",", ("prompt", "answer")))
    assert [(row.source.row, row.fields) for row in found if not isinstance(row, Rejected)] == [
        (1, {"prompt": " q ", "answer": "a"}),
        (3, {"prompt": "q3", "answer": "a3"}),
    ]
    assert [row.problem for row in found if isinstance(row, Rejected)] == [
        "the row has 1 cells, but there are names for 2 columns: is a quote missing?"
    ]
