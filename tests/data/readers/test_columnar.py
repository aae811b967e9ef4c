"""Parquet, Arrow and Feather files."""

from __future__ import annotations

import gzip
import sys
from pathlib import Path

import pytest

from lorafit.data.read import read_records
from lorafit.errors import DataError

pyarrow = pytest.importorskip("pyarrow")
ROWS = [
    {"messages": [{"role": "user", "content": f"问 {n}"}, {"role": "assistant", "content": "a"}], "id": n}
    for n in range(5)
]


def files(folder: Path) -> list[Path]:
    import pyarrow.feather
    import pyarrow.parquet

    content = pyarrow.Table.from_pylist(ROWS)
    paths = [folder / name for name in ("rows.parquet", "rows.feather", "rows.arrow", "rows.parquet.gz")]
    pyarrow.parquet.write_table(content, paths[0])
    pyarrow.feather.write_feather(content, paths[1])
    with pyarrow.ipc.new_stream(paths[2], content.schema) as stream:
        stream.write_table(content)
    paths[3].write_bytes(gzip.compress(paths[0].read_bytes()))
    return paths


def test_every_kind_gives_the_same_rows(tmp_path: Path) -> None:
    for path in files(tmp_path):
        found = read_records(path)
        assert [row.fields for row in found] == ROWS
        assert [row.source.row for row in found] == [1, 2, 3, 4, 5]


def test_keys_of_other_rows_do_not_come_in(tmp_path: Path) -> None:
    import pyarrow.parquet

    calls = [{"name": "a", "arguments": {"x": 1}}, {"name": "b", "arguments": {"y": [{"z": 2}]}}]
    pyarrow.parquet.write_table(
        pyarrow.Table.from_pylist([{"call": call} for call in calls]), tmp_path / "rows.parquet"
    )
    assert [row.fields["call"] for row in read_records(tmp_path / "rows.parquet")] == calls


def test_a_damaged_file_is_said(tmp_path: Path) -> None:
    for path in files(tmp_path)[:3]:
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
        with pytest.raises(DataError, match=rf"{path.name}, after row 0: the file cannot be read"):
            read_records(path)


def test_a_missing_library_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = files(tmp_path)[0]
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(DataError, match=r"pip install 'lorafit\[datasets\]'"):
        read_records(path)
