"""JSON that is read in pieces gives the rows of the whole, and the place of a fault."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lorafit.data.convert import Rejected
from lorafit.data.readers.json_rows import is_lines, read_lines, read_values
from lorafit.errors import DataError

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
ROWS = st.lists(
    st.dictionaries(st.sampled_from(["text", "output", "Answer"]), VALUES, min_size=1), min_size=1, max_size=5
)


def pieces(text: str, size: int) -> Iterator[str]:
    return (text[start : start + size] for start in range(0, len(text), size))


def fields(text: str, size: int = 7) -> list[Any]:
    return [None if isinstance(r, Rejected) else r.fields for r in read_values(pieces(text, size), "rows.json")]


@settings(deadline=None)
@given(rows=ROWS, indent=st.sampled_from([None, 1]), size=st.integers(1, 9), ascii=st.booleans())
def test_pieces_give_the_rows_of_the_whole(rows: list[Any], indent: int | None, size: int, ascii: bool) -> None:
    text = json.dumps(rows, indent=indent, ensure_ascii=ascii)
    assert fields(text, size) == rows
    assert fields('{"version": [1, {}], "rows": ' + text + ', "end": "x"}', size) == rows
    assert fields("\n".join(json.dumps(row, indent=indent) for row in rows), size) == rows


def test_numbers_of_rows_are_counted_in_the_array() -> None:
    rows = list(read_values(['[{"a": 1}, {"a"', ": 2}]"], "rows.json"))
    assert [str(row.source) for row in rows if not isinstance(row, Rejected)] == [
        "rows.json, row 1",
        "rows.json, row 2",
    ]


def test_a_broken_row_is_found_where_it_is_however_it_is_cut() -> None:
    text = json.dumps([{"a": n, "b": "é\n" * n} for n in range(40)], indent=1, ensure_ascii=False)
    broken = text.replace('"a": 30', '"a" 30')
    line = broken[: broken.index('"a" 30')].count("\n") + 1
    for size in (1, 10, 100_000):
        with pytest.raises(DataError, match=rf"row 31: broken JSON at line {line}, column 7: expecting ':'"):
            fields(broken, size)


def test_a_fault_does_not_read_the_rest_of_the_file() -> None:
    read = []

    def chunks() -> Iterator[str]:
        yield '[{"a": 1}, {"a": nonsense and much that follows it},'
        for number in range(1000):
            read.append(number)
            yield '{"a": 2},'

    with pytest.raises(DataError, match="row 2"):
        list(read_values(chunks(), "rows.json"))
    assert not read


def test_an_object_around_the_rows_is_taken_when_there_is_one_list_of_them() -> None:
    assert fields('{"data": [{"a": 1}], "more": 3}') == [{"a": 1}]
    with pytest.raises(DataError, match="lists of rows in 'train' and in 'test'"):
        fields('{"train": [{"a": 1}], "test": [{"a": 2}]}')
    dialogue = {"id": 1, "talk": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}
    assert fields(json.dumps(dialogue)) == [dialogue]
    row = {"messages": [{"role": "user", "content": "q"}], "extra": [{"a": 1}]}
    assert fields(json.dumps(row)) == [row]


def test_squad_is_a_row_for_each_question() -> None:
    paragraphs = [{"context": "c", "qas": [{"question": "q1", "answers": []}, {"question": "q2", "answers": []}]}]
    found = fields(json.dumps({"version": "1", "data": [{"title": "t", "paragraphs": paragraphs}] * 2}))
    assert [row["question"] for row in found] == ["q1", "q2"] * 2
    assert all(row["context"] == "c" for row in found)


def test_a_broken_line_is_rejected_and_the_next_ones_are_read() -> None:
    rows = list(read_lines(['{"a": 1}\n{"a": }\n\n7\n{"a"', ": 2}"], "rows.jsonl"))
    assert [(row.record.source.row, row.problem[:20]) for row in rows if isinstance(row, Rejected)] == [
        (2, "broken JSON at line "),
        (4, "a row should be an o"),
    ]
    assert [(r.source.row, r.fields["a"]) for r in rows if not isinstance(r, Rejected)] == [(1, 1), (5, 2)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a": 1}\n{"a": 2}', True),
        ('{"a": \n{"a": 2}', False),
        ('{"a": }\n{"a": 2}', True),
        ('{"a": 1}\n', False),
        ('{\n"a": 1}', False),
        ('[{"a": 1},\n{"a": 2}]', False),
    ],
)
def test_what_is_jsonl(text: str, expected: bool) -> None:
    assert is_lines(text) is expected
