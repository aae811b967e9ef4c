"""Files to rows, and the message for each way in which a file can be broken."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lorafit.data.read import read_file, read_records
from lorafit.data.readers.opened import DataFile, open_file
from lorafit.errors import DataError
from lorafit.records import Record

ROWS = [{"instruction": f"question {number}", "output": f"答案 {number}"} for number in range(1, 10)]


def written(folder: Path, text: str, name: str = "rows.json") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8", newline="")
    return path


def message_of(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        read_records(path)
    return str(caught.value)


@pytest.mark.parametrize("indent", [None, 2])
def test_array_and_lines_hold_the_same_rows(tmp_path: Path, indent: int | None) -> None:
    array = read_records(written(tmp_path, json.dumps(ROWS, indent=indent)))
    # The ending of the name says nothing: what counts is what stands in the file.
    lines = read_records(written(tmp_path, "\n".join(map(json.dumps, ROWS)), "lines.json"))
    assert [record.fields for record in array] == [record.fields for record in lines] == ROWS
    assert [record.source.row for record in array] == [record.source.row for record in lines] == list(range(1, 10))
    assert str(array[6].source) == f"{tmp_path / 'rows.json'}, row 7"


# Any text at all, above all the line breaks of Unicode (U+2028, U+0085), which stand unescaped in JSON.
@settings(deadline=None)
@given(texts=st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=4))
def test_a_text_is_read_as_it_was_written(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    folder = tmp_path_factory.mktemp("texts")
    lines = "\r\n".join(json.dumps({"text": text}, ensure_ascii=False) for text in texts)
    assert [r.fields["text"] for r in read_records(written(folder, lines))] == texts


def test_blank_lines_are_no_rows_but_are_counted(tmp_path: Path) -> None:
    # A row of JSONL is called by its line, which is what an editor shows.
    records = read_records(written(tmp_path, '\n{"a": 1}\n\n{"a": 2}\n'))
    assert [record.source.row for record in records] == [2, 4]


def test_a_byte_order_mark_is_skipped(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_text(json.dumps(ROWS), encoding="utf-8-sig")
    assert len(read_records(path)) == 9


def test_a_broken_row_of_an_array_is_named_by_row_line_and_column(tmp_path: Path) -> None:
    lines = json.dumps(ROWS, indent=1, ensure_ascii=False).split("\n")
    place = next(number for number, line in enumerate(lines) if "答案 7" in line)
    lines[place] = '  "output" "答案 7"'
    message = message_of(written(tmp_path, "\n".join(lines)))
    assert f"rows.json, row 7: broken JSON at line {place + 1}, column 12: expecting ':' delimiter" in message


def test_a_broken_row_of_jsonl_is_named_by_row_line_and_column(tmp_path: Path) -> None:
    lines = [json.dumps(row) for row in ROWS]
    lines[6] = '{"instruction": "question 7", "output": }'
    message = message_of(written(tmp_path, "\n".join(lines)))
    assert "rows.json, row 7: broken JSON at line 7, column 41: expecting value" in message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[{"a": 1}\n {"a": 2}]', "row 2: broken JSON at line 2, column 2: expected a comma"),
        ('[{"a": 1},\n {"a": 2},\n', "the array ends after row 2 without a closing bracket"),
        ('[{"a": 1}] [{"a": 2}]', "more text after the array's closing bracket (row 1)"),
        ('[{"a": 1}, "b"]', 'row 2: a row should be an object with named fields, found "b"'),
        ('{"a": 1}\n[2]', "row 2: a row should be an object with named fields, found [2]"),
        ("[ ]", "holds an empty array"),
        (" \n ", "is empty"),
        ("", "is empty"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, text: str, said: str) -> None:
    assert said in message_of(written(tmp_path, text))


def test_a_missing_file_is_answered_with_a_near_name(tmp_path: Path) -> None:
    written(tmp_path, "[]", "training_rows.json")
    assert f"did you mean {tmp_path / 'training_rows.json'}?" in message_of(tmp_path / "trainingrows.json")
    assert "data files in" in message_of(tmp_path / "else.json")
    assert f"there is no folder {tmp_path / 'nowhere'}" in message_of(tmp_path / "nowhere" / "rows.json")


def test_the_format_is_what_the_content_shows(tmp_path: Path) -> None:
    table = "instruction,output\nquestion 1,answer 1\n"
    for text, name, found, said in [
        (json.dumps(ROWS), "rows.csv", "JSON", "is read as JSON, which it is, though its name says CSV"),
        ("\n".join(map(json.dumps, ROWS)), "rows.txt", "JSONL", "though its name says text"),
        ("\n".join(map(json.dumps, ROWS)), "rows", "JSONL", ""),
        (table, "rows.json", "CSV", "though its name says JSON"),
        (table, "rows.csv", "CSV", ""),
        (table.replace(",", "\t"), "rows.csv", "TSV", ""),
        (table, "rows.txt", "text", ""),
        ("[Verse 1]\nthe fox\n", "song.txt", "text", ""),
    ]:
        with open_file(DataFile(written(tmp_path, text, name))) as opened:
            rows = read_file(opened)
            assert (rows.format, said in rows.note, bool(rows.note)) == (found, True, bool(said))
            assert next(rows.rows)


def test_other_encodings_are_read(tmp_path: Path) -> None:
    text = json.dumps([{"text": "今天天气很好，我们去公园玩。"}] * 3, ensure_ascii=False)
    for encoding in ("gb18030", "utf-16", "utf-8-sig"):
        path = tmp_path / f"{encoding}.json"
        path.write_bytes(text.encode(encoding))
        assert read_records(path)[2].fields["text"] == "今天天气很好，我们去公园玩。"


def test_a_document_becomes_rows_of_text(tmp_path: Path) -> None:
    paragraphs = "\n\n".join(f"Paragraph {number} tells of the fox and the garden wall." for number in range(9))
    path = written(tmp_path, f"# Foxes\n\n{paragraphs}\n", "foxes.md")
    with open_file(DataFile(path)) as opened:
        rows = list(read_file(opened, longest_text=200).rows)
    assert "\n".join(row.fields["text"] for row in rows if isinstance(row, Record)).count("Paragraph") == 9
    assert [row.source.row for row in rows if isinstance(row, Record)] == list(range(1, len(rows) + 1))


def test_a_file_that_is_not_what_its_name_says_is_refused(tmp_path: Path) -> None:
    assert "is no Parquet file, though its name says so" in message_of(written(tmp_path, "a,b\n1,2\n", "rows.parquet"))
    (tmp_path / "rows.csv").write_bytes(bytes(range(256)) * 9)
    assert "is a document or an archive, though its name says CSV" in message_of(written(tmp_path, "%PDF-1.7", "a.csv"))
    assert "is not a text file" in message_of(tmp_path / "rows.csv")


@pytest.mark.parametrize("value", ["[" * 100_000 + "]" * 100_000, "9" * 5000])
@pytest.mark.parametrize("shape", ['[{{"a": {}}}]', '{{"a": {}}}'])
def test_json_that_python_refuses_is_named_by_its_row(tmp_path: Path, value: str, shape: str) -> None:
    path = tmp_path / "deep.json"
    path.write_text(shape.format(value))
    with pytest.raises(DataError, match="row 1: this JSON cannot be read"):
        read_records(path)
