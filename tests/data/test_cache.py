"""Tokenised data in the cache: found again, whole or made anew, within its room, beside other processes."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from lorafit import run
from lorafit.data.cache import HEADER, STALE_SECONDS, Cache, cache_folder, key_of
from lorafit.errors import DataError


def fill(folder: Path) -> dict[str, Any]:
    (folder / "part").mkdir()
    (folder / "part/tokens").write_bytes(bytes(1000))
    return {"said": 1}


def aged(cache: Cache, key: str, seconds: float) -> None:
    os.utime(cache.folder / key / HEADER, (seconds, seconds))


def test_what_was_stored_is_found(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "new" / "cache", 10**6)
    assert cache.find("a") is None
    entry = cache.store("a", fill)
    assert Cache(cache.folder, 10**6).find("a") == entry
    assert json.loads((entry / HEADER).read_text())["sizes"] == {"part/tokens": 1000}
    assert cache.notes == []


def test_the_key_is_of_the_content() -> None:
    assert key_of({"a": 1, "b": [2]}) == key_of({"b": [2], "a": 1}) != key_of({"a": 1, "b": [3]})


@pytest.mark.parametrize("harm", ["short", "gone", "header", "no header", "other header"])
def test_a_damaged_entry_is_not_found_but_said(tmp_path: Path, harm: str) -> None:
    cache = Cache(tmp_path, 10**6)
    entry = cache.store("a", fill)
    match harm:
        case "short":
            (entry / "part/tokens").write_bytes(bytes(999))
        case "gone":
            (entry / "part/tokens").unlink()
        case "header":
            (entry / HEADER).write_text('{"sizes": {"part')
        case "no header":
            (entry / HEADER).unlink()
        case "other header":
            (entry / HEADER).write_text("[]")
    assert cache.find("a") is None
    assert "was damaged" in cache.notes[0]
    assert cache.find("a") is None
    assert cache.store("a", fill) == cache.find("a")


def test_a_build_that_fails_leaves_nothing(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 10**6)

    def fail(folder: Path) -> dict[str, Any]:
        fill(folder)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.store("a", fail)
    assert list(tmp_path.iterdir()) == []


def test_what_was_used_longest_ago_makes_way(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 4000)
    for number, key in enumerate(("a", "b", "c")):
        cache.store(key, fill)
        aged(cache, key, 1000.0 + number)
    assert cache.find("a")  # used again
    cache.store("d", fill)
    assert {path.name for path in tmp_path.iterdir()} == {"a", "c", "d"}


def test_an_entry_larger_than_the_room_stays_while_it_is_the_newest(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 10)
    assert cache.store("a", fill).is_dir()
    cache.store("b", fill)
    assert {path.name for path in tmp_path.iterdir()} == {"b"}


def test_without_room_entries_are_temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORAFIT_CACHE", str(tmp_path / "cache"))
    cache = Cache(cache_folder(), 0)
    entry = cache.store("a", fill)
    assert entry.is_dir()
    assert not (tmp_path / "cache").exists()


def test_what_a_killed_process_left_is_removed_once_it_is_old(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 10**6)
    for name in (".old-1", ".new-2"):
        (tmp_path / name).mkdir()
        fill(tmp_path / name)
    for path in (tmp_path / ".old-1", *(tmp_path / ".old-1").rglob("*")):
        os.utime(path, (0.0, path.stat().st_mtime - 2 * STALE_SECONDS))
    cache.store("a", fill)
    assert {path.name for path in tmp_path.iterdir()} == {"a", ".new-2"}


def test_another_process_may_make_the_same_entry_meanwhile(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 10**6)

    def beaten(folder: Path) -> dict[str, Any]:
        Cache(tmp_path, 10**6).store("a", fill)
        return fill(folder)

    entry = cache.store("a", beaten)
    assert cache.find("a") == entry
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_an_entry_that_cannot_be_replaced_is_used_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Cache(tmp_path, 10**6).store("a", fill)

    def refuse(*_: object) -> None:  # as Windows does while another process holds it open
        raise PermissionError(13, "in use")

    monkeypatch.setattr(run.os, "fsync", refuse)
    assert Cache(tmp_path, 10**6).store("a", fill) == made
    with pytest.raises(DataError, match=r"could not be kept.*in use.*\n.*LORAFIT_CACHE"):
        Cache(tmp_path, 10**6).store("b", fill)
