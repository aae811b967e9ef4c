"""Files that grow, are cut, replaced or long."""

from __future__ import annotations

from pathlib import Path

import pytest

from lorafit.studio import following as module
from lorafit.studio.following import Followed, held_out_lines, sampled_lines


def append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


def read(followed: Followed) -> list[str]:
    """What came: lines, and `anew` where all before no longer holds."""
    came: list[str] = []
    followed.read(lambda: came.append("anew"), lambda block: came.extend(block.decode().splitlines()))
    return came


def test_each_whole_line_comes_once(tmp_path: Path) -> None:
    path = tmp_path / "file"
    followed = Followed(path)
    assert read(followed) == []
    append(path, "one\ntw")
    assert read(followed) == ["anew", "one"]
    append(path, "o\nthree\n")
    assert read(followed) == ["two", "three"]
    assert read(followed) == []
    assert followed.unread() == 0


def test_blocks_break_between_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK", 7)
    path = tmp_path / "file"
    append(path, "one\ntwo\nthree\nfour")
    assert read(Followed(path)) == ["anew", "one", "two", "three"]


def test_a_file_that_was_cut_comes_anew(tmp_path: Path) -> None:
    path = tmp_path / "file"
    append(path, "one\ntwo\nthree\n")
    followed = Followed(path)
    read(followed)
    with path.open("r+b") as file:
        file.truncate(4)
    append(path, "zwei\n")
    assert read(followed) == ["anew", "one", "zwei"]


def test_a_file_with_other_lines_in_the_same_place_comes_anew(tmp_path: Path) -> None:
    path = tmp_path / "file"
    append(path, "one\ntwo\n")
    followed = Followed(path)
    read(followed)
    with path.open("r+b") as file:  # the same inode, longer than before
        file.write(b"eins\nzwei\ndrei\n")
    assert read(followed) == ["anew", "eins", "zwei", "drei"]


def test_samples_are_whole_lines_at_their_places(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"".join(b"%05d\n" % n for n in range(1000)) + b"half")
    lines = sampled_lines(path, 5, 20, 40)
    assert 10 < len(lines) < 40
    assert all(line == b"%05d\n" % (place // 6) for place, line in lines.items())
    assert {0, 999 * 6} <= set(lines)
    assert len(sampled_lines(path, 100, 100, 100)) == 1000


def test_held_out_lines_are_found_without_parsing() -> None:
    block = b'{"held_out_loss": 2}\n{"loss": 1}\n{"update": 3, "held_out_loss": 1}\n'
    assert list(held_out_lines(block)) == [(0, b'{"held_out_loss": 2}'), (33, b'{"update": 3, "held_out_loss": 1}')]
    assert list(held_out_lines(b"")) == []
