"""Folders, patterns, splits and archives to files."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from lorafit.data.readers.find import find, missing
from lorafit.errors import DataError


def folder_of(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("x", encoding="utf-8")
    return root


def names(root: Path, split: str | None = None, pattern: str = "") -> list[str]:
    files, _ = find(str(root / pattern) if pattern else str(root), split)
    return [file.member or file.path.relative_to(root).as_posix() for file in files]


def test_files_come_in_natural_order(tmp_path: Path) -> None:
    root = folder_of(tmp_path, "part-10.jsonl", "part-2.jsonl", "b/1.csv", ".hidden.json", ".git/x.json")
    assert names(root) == ["b/1.csv", "part-2.jsonl", "part-10.jsonl"]
    assert names(root, pattern="part-*.jsonl") == ["part-2.jsonl", "part-10.jsonl"]
    assert names(root, pattern="**/*.csv") == ["b/1.csv"]
    assert names(root, pattern="none.json") == []


def test_documents_are_read_only_where_there_are_no_rows(tmp_path: Path) -> None:
    root = folder_of(tmp_path, "README.md", "rows.jsonl.gz", "dataset_info.json", "guide.pdf")
    assert names(root) == ["rows.jsonl.gz"]
    assert "not 1 .md, 1 .pdf" in find(str(root))[1][0] or "not 1 .pdf, 1 .md" in find(str(root))[1][0]
    (root / "rows.jsonl.gz").unlink()
    assert names(root) == ["README.md", "guide.pdf"]


def test_of_several_splits_the_training_split_is_read_and_it_is_said(tmp_path: Path) -> None:
    root = folder_of(
        tmp_path, "data/train-00000-of-00002.parquet", "data/test-00000.parquet", "dev/a.json", "more.json"
    )
    assert names(root) == ["data/train-00000-of-00002.parquet", "more.json"]
    assert "only the training split is read, not test, validation" in find(str(root))[1][-1]
    assert names(root, "test") == ["data/test-00000.parquet"]
    assert names(root, "validation") == ["dev/a.json"]
    with pytest.raises(DataError, match="has no split 'other': its files are called after test, train, validation"):
        find(str(root), "other")


def test_a_name_that_only_holds_the_word_is_no_split(tmp_path: Path) -> None:
    assert len(names(folder_of(tmp_path, "training.json", "testimony.json", "contest.json"))) == 3


def test_an_archive_is_its_data_files(tmp_path: Path) -> None:
    path = tmp_path / "set.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("set/b10.jsonl", "set/b9.jsonl", "__MACOSX/set/b9.jsonl", "set/cover.png"):
            archive.writestr(name, "x")
    assert [file.member for file in find(str(path))[0]] == ["set/b9.jsonl", "set/b10.jsonl"]
    assert [file.member for file in find(str(tmp_path))[0]] == ["set/b9.jsonl", "set/b10.jsonl"]
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("cover.png", "x")
    with pytest.raises(DataError, match=r"holds no data file, but cover\.png"):
        find(str(path))
    path.write_bytes(b"PK nothing")
    with pytest.raises(DataError, match="is not a ZIP archive"):
        find(str(path))


def test_an_empty_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no data"):
        find(str(tmp_path))
    assert "holds no data file" in missing(str(tmp_path / "x.json"))
