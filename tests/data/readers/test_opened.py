"""Compressed files and archives, whole and damaged."""

from __future__ import annotations

import bz2
import gzip
import lzma
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from lorafit.data.readers.opened import CHUNK, DataFile, members, open_file
from lorafit.errors import DataError

CONTENT = bytes(range(256)) * 5000


def content_of(file: DataFile) -> bytes:
    with open_file(file) as opened:
        assert opened.head == CONTENT[:CHUNK]
        assert opened.is_whole == (len(CONTENT) < CHUNK)
        return b"".join(opened.chunks())


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress])
def test_a_packed_file_is_unpacked_whatever_its_name(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(pack(CONTENT))
    assert content_of(DataFile(path)) == CONTENT


def test_zstandard_is_unpacked_and_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zstandard = pytest.importorskip("zstandard")
    path = tmp_path / "rows.jsonl.zst"
    packed = zstandard.ZstdCompressor().compress(CONTENT)
    path.write_bytes(packed)
    assert content_of(DataFile(path)) == CONTENT
    path.write_bytes(packed[:4] + b"\xff" * 60)
    with pytest.raises(DataError, match="cannot be unpacked"):
        content_of(DataFile(path))
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(DataError, match="pip install zstandard"):
        content_of(DataFile(path))


def test_a_member_of_an_archive_is_read(tmp_path: Path) -> None:
    path = tmp_path / "rows.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data/rows.jsonl", CONTENT)
    assert members(path) == ["data/rows.jsonl"]
    assert content_of(DataFile(path, "data/rows.jsonl")) == CONTENT
    assert DataFile(path, "data/rows.jsonl").name == f"{path}/data/rows.jsonl"


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_what_is_cut_off_or_damaged_is_said(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "rows.jsonl.gz"
    packed = pack(CONTENT)
    for broken in (packed[: len(packed) // 2], packed[:20] + b"damage" + packed[26:]):
        path.write_bytes(broken)
        with pytest.raises(DataError, match=r"rows\.jsonl\.gz cannot be unpacked"), open_file(DataFile(path)) as opened:
            list(opened.chunks())


def test_the_ending_is_that_below_the_compression() -> None:
    assert DataFile(Path("a/Rows.JSONL.gz")).ending == ".jsonl"
    assert DataFile(Path("a/rows.csv")).ending == ".csv"
    assert DataFile(Path("a.zip"), "b/rows.tsv").ending == ".tsv"
