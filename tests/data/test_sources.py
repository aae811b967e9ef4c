"""data.train to conversations: names, columns, weights, and whatever may stand in a file."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from lorafit.data.convert import Rejected
from lorafit.data.forms.layout import ROW_NAMES
from lorafit.data.settings import DataSettings
from lorafit.data.sources import Mixture, describe_sources, iterate_conversations
from lorafit.errors import DataError
from lorafit.records import Conversation, Source

ROWS = [{"instruction": f"question {number}", "output": f"answer {number}"} for number in range(1, 10)]


def written(path: Path, rows: list[Any]) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n", encoding="utf-8")
    return str(path)


def read(**data: Any) -> list[Conversation | Rejected]:
    return list(iterate_conversations(DataSettings(**data)))


def message_of(**data: Any) -> str:
    with pytest.raises(DataError) as caught:
        read(**data)
    return str(caught.value)


def test_a_folder_of_many_formats_is_one_stream(tmp_path: Path) -> None:
    written(tmp_path / "1.jsonl", ROWS)
    (tmp_path / "2.csv").write_text("question,answer\nq,a\n", encoding="utf-8")
    (tmp_path / "10.json.gz").write_bytes(gzip.compress(json.dumps(ROWS[:2]).encode()))
    found = read(train=str(tmp_path))
    assert [Path(row.source.file).name for row in found if isinstance(row, Conversation)] == [
        *["1.jsonl"] * 9, "2.csv", *["10.json.gz"] * 2,
    ]  # fmt: skip
    shown = [str(one) for one in describe_sources(DataSettings(train=str(tmp_path)))]
    assert shown[1] == f"{tmp_path / '2.csv'}: CSV, utf-8, read as question/answer (question as prompt, answer)"


def test_rows_of_several_forms_in_one_file_are_read_and_said(tmp_path: Path) -> None:
    path = written(tmp_path / "mixed.jsonl", [ROWS[0], {"text": "once"}, {"prompt": "q", "completion": "a"}])
    forms: dict[str, Counter[str]] = {}
    found = list(iterate_conversations(DataSettings(train=path), forms=forms))
    assert [len(row.messages) for row in found if isinstance(row, Conversation)] == [2, 1, 2]
    assert forms == {path: {"Alpaca": 1, "text": 1, "prompt/completion": 1}}
    (told,) = describe_sources(DataSettings(train=path))
    assert len(told.forms) == 3
    assert "holds rows of several forms" in told.notes[0]


def test_a_mapped_column_that_is_not_there_is_answered_with_a_near_one(tmp_path: Path) -> None:
    path = written(tmp_path / "rows.jsonl", [{"frage": "q", "antwort": "a"}])
    assert len(read(train=path, columns={"prompt": "frage", "answer": "antwort"})) == 1
    message = message_of(train=path, columns={"prompt": "frgae", "answer": "antwort"})
    assert "has no column 'frgae', which is to be `prompt`. Did you mean 'frage'?" in message
    assert "The columns are 'frage', 'antwort'." in message


def test_a_file_of_no_form_is_one_message(tmp_path: Path) -> None:
    message = message_of(train=written(tmp_path / "rows.jsonl", [{"a": 1, "b": 2}] * 200))
    assert "rows.jsonl, row 1, columns a, b: these columns are no form that is known" in message
    assert message.count("row") < 3
    assert "holds no rows" in message_of(train=written(tmp_path / "head.csv", []) and _only_a_header(tmp_path))


def _only_a_header(folder: Path) -> str:
    (folder / "head.csv").write_text("prompt,answer\n", encoding="utf-8")
    return str(folder / "head.csv")


def test_names_that_lead_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    written(tmp_path / "rows.jsonl", ROWS)
    (tmp_path / "dataset_info.json").write_text('{"identity": {"file_name": "rows.jsonl"}}', encoding="utf-8")
    assert len(read(train="identity")) == 9
    assert "did you mean identity (in dataset_info.json)?" in message_of(train="identty")
    assert f"did you mean {tmp_path / 'rows.jsonl'}?" in message_of(train=str(tmp_path / "row.jsonl"))
    assert "there is no folder" in message_of(train="data/rows.jsonl")  # no data set of a hub is called so
    (tmp_path / "data").mkdir()
    assert "data holds no data file" in message_of(train="data/rows")


def test_a_split_may_stand_after_the_name(tmp_path: Path) -> None:
    written(tmp_path / "train.jsonl", ROWS)
    written(tmp_path / "test.jsonl", ROWS[:4])
    assert len(read(train=str(tmp_path))) == 9
    assert len(read(train=f"{tmp_path}[test]")) == 4
    assert len(read(train=[{"source": str(tmp_path), "split": "test", "limit": 3}])) == 3
    held = DataSettings(train=str(tmp_path), held_out=f"{tmp_path}[test]")
    assert len(list(iterate_conversations(held, held_out=True))) == 4


def test_the_built_in_data_is_read_by_its_name() -> None:
    assert all(isinstance(row, Conversation) for row in read(train="builtin", held_out="builtin"))


def test_weights_are_copies_in_an_epoch_and_fractions_are_drawn(tmp_path: Path) -> None:
    one, two, three = (written(tmp_path / f"{name}.jsonl", ROWS * 100) for name in ("one", "two", "three"))
    mixture = Mixture(DataSettings(train=[one, {"source": two, "weight": 2}, {"source": three, "weight": 0.3}]))
    assert not mixture.is_even
    assert [mixture.copies(Source(file, 1), 0) for file in (one, two)] == [1, 2]
    drawn = [mixture.copies(Source(three, row), 0) for row in range(1, 901)]
    assert drawn == [mixture.copies(Source(three, row), 0) for row in range(1, 901)]
    assert drawn != [mixture.copies(Source(three, row), 1) for row in range(1, 901)]
    assert set(drawn) == {0, 1}
    assert 0.25 < sum(drawn) / 900 < 0.35  # 0.3 within three standard deviations of 900 draws
    rows = [Source(file, row) for file in (one, two, three) for row in range(1, 901)]
    shares = mixture.shares(rows, 0)
    assert [shares[file][0] for file in (one, two, three)] == [900, 900, 900]
    assert shares[two][1] == pytest.approx(1800 / (2700 + sum(drawn)))


def test_a_document_belongs_to_its_source(tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("# Notes\n\nThe fox lives behind the wall.\n", encoding="utf-8")
    data = DataSettings(train=[{"source": str(tmp_path), "weight": 2}])
    (row,) = iterate_conversations(data)
    assert isinstance(row, Conversation)
    assert Mixture(data).copies(row.source, 0) == 2


def test_a_file_in_two_sources_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "rows.jsonl", ROWS)
    with pytest.raises(DataError, match=r"is in two sources of data\.train"):
        Mixture(DataSettings(train=[path, {"source": str(tmp_path), "weight": 2}]))


def test_progress_tells_bytes(tmp_path: Path) -> None:
    written(tmp_path / "1.jsonl", ROWS * 300)
    written(tmp_path / "2.jsonl", ROWS)
    told: list[tuple[int, int, str]] = []
    for _ in iterate_conversations(DataSettings(train=str(tmp_path)), progress=lambda *said: told.append(said)):
        pass
    total = sum(file.stat().st_size for file in tmp_path.iterdir())
    assert [done for done, _, _ in told] == sorted(done for done, _, _ in told)
    assert (told[-1][0], {all for _, all, _ in told}) == (total, {total})


@pytest.mark.parametrize("columns", [{"prompt": "q"}, {"answer": "a"}, {"question": "q", "answer": "a"}, {"text": ""}])
def test_half_a_column_map_is_refused(columns: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        DataSettings(train="rows.json", columns=columns)


def test_an_unknown_key_of_a_source_is_named() -> None:
    with pytest.raises(ValidationError, match="a source has no key 'wieght'; it has source, weight, split"):
        DataSettings.model_validate({"train": [{"source": "rows.json", "wieght": 2}]})


# Whatever stands in a file: rows of known columns with any values, text with any characters, bytes, cut anywhere.
LEAVES = st.none() | st.booleans() | st.integers(-2, 2) | st.floats() | st.text(max_size=8) | st.just('[{"role": 1}]')
KEYS = "role content from value tool_calls function name arguments weight text type".split()  # noqa: SIM905
ROLES = ["user", "assistant", "gpt", "human", "tool", "function_call", "system"]
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner | st.sampled_from(ROLES), max_size=4)
    ),
    max_leaves=8,
)
COLUMNS = st.sampled_from(sorted(ROW_NAMES | {"choices", "paragraphs"}))
NAMES = st.sampled_from(["rows.json", "rows.jsonl", "rows.csv", "rows.tsv", "rows.txt", "rows", "rows.md", "r.parquet"])
TABLES = st.lists(st.dictionaries(COLUMNS, VALUES, max_size=5), max_size=4)


def never_a_traceback(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    data = DataSettings(train=str(path))
    try:
        for row in iterate_conversations(data):
            if isinstance(row, Rejected):
                assert str(path) in str(row)
                assert ", row " in str(row)
                json.loads(row.to_json())
            else:
                assert row.messages[-1].role == "assistant"
                json.dumps([list(m.tool_calls) for m in row.messages])
                "".join(m.content + m.thinking for m in row.messages).encode()
        describe_sources(data)
    except DataError as error:
        assert path.name in str(error)


@settings(deadline=None, max_examples=150)
@given(rows=TABLES, indent=st.sampled_from([None, 1]), name=NAMES, lines=st.booleans(), cut=st.integers(0, 400))
def test_malformed_rows_never_end_in_a_traceback(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Any], indent: int | None, name: str, lines: bool, cut: int
) -> None:
    text = "\n".join(json.dumps(row) for row in rows) if lines else json.dumps(rows, indent=indent)
    content = text.encode()
    never_a_traceback(tmp_path_factory.mktemp("rows") / name, content[:-cut] if cut % 3 == 0 and cut else content)


@settings(deadline=None, max_examples=150)
@given(
    content=st.binary(max_size=60)
    | st.text('[]{}":,\n\\"ab é0\t', max_size=60).map(str.encode)
    | st.sampled_from([b"\x1f\x8b", b"PAR1", b"ARROW1", b"\xff\xff\xff\xff", b"%PDF-", b"PK\x03\x04", b"BZh9"]),
    name=NAMES,
)
def test_malformed_files_never_end_in_a_traceback(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, name: str
) -> None:
    never_a_traceback(tmp_path_factory.mktemp("files") / name, content)
