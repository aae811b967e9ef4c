"""A file of lines that another process writes: what is new of it, and a long one by samples."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

BLOCK = 2**22
# A replaced file is told by its last bytes read, too: a new file may have an old one's inode.
MARK = 256
HELD_OUT = b'"held_out_loss"'


class Followed:
    """A file that another process appends to: gives each whole line once; a half-written one waits for its rest."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: tuple[int, int] | None = None
        self._place, self._mark = 0, b""

    def unread(self) -> int:
        """Bytes that `read` would go through; 0 where there is no file."""
        try:
            with self._path.open("rb") as file:
                return os.fstat(file.fileno()).st_size - (self._place if self._goes_on(file) else 0)
        except OSError:
            return 0

    def read(self, begin: Callable[[], None], take: Callable[[bytes], None]) -> bool:
        """Hand what is new to `take`, in blocks of whole lines; whether there was anything.

        begin: called before, when what was given earlier holds no longer: the file is another one, or was cut (a run
        that was resumed goes back to its checkpoint), and comes anew from its beginning.
        """
        try:
            file = self._path.open("rb")
        except OSError:
            return False
        with file:
            changed = not self._goes_on(file)
            if changed:
                self._file, self._place, self._mark = _identity(file), 0, b""
                begin()
            file.seek(self._place)
            while whole := whole_lines(file.read(BLOCK)):
                self._place += len(whole)
                self._mark = (self._mark + whole[-MARK:])[-MARK:]
                take(whole)
                changed = True
                file.seek(self._place)
        return changed

    def _goes_on(self, file: BinaryIO) -> bool:
        if self._file != _identity(file):
            return False
        file.seek(self._place - len(self._mark))
        return file.read(len(self._mark)) == self._mark


def _identity(file: BinaryIO) -> tuple[int, int]:
    told = os.fstat(file.fileno())
    return told.st_dev, told.st_ino


def whole_lines(block: bytes) -> bytes:
    """Up to the last line break."""
    return block[: block.rfind(b"\n") + 1]


def held_out_lines(block: bytes) -> Iterator[tuple[int, bytes]]:
    """(place, line) of the held-out measurements among whole lines: few, so that a long file need not be parsed."""
    found = block.find(HELD_OUT)
    while found >= 0:
        start, end = block.rfind(b"\n", 0, found) + 1, block.find(b"\n", found)
        yield start, block[start:end]
        found = block.find(HELD_OUT, end)


def sampled_lines(path: Path, samples: int, length: int, end: int) -> dict[int, bytes]:
    """Whole lines of a file by their places: those in `length` bytes at `samples` places evenly from end to end, and
    those in the last `end` bytes. A file that is no longer than that is read whole.

    Raises OSError when the file cannot be read.
    """
    with path.open("rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        if size <= samples * length + end:
            return dict(_lines_at(file, 0, size))
        step = (size - length) / max(1, samples - 1)
        lines = {place: line for n in range(samples) for place, line in _lines_at(file, int(n * step), length)}
        return lines | dict(_lines_at(file, size - end, end))


def _lines_at(file: Any, place: int, length: int) -> Iterator[tuple[int, bytes]]:
    file.seek(place)
    block = file.read(length)
    start = 0 if place == 0 else block.find(b"\n") + 1
    for line in whole_lines(block[start:]).splitlines(keepends=True):
        yield place + start, line
        start += len(line)


def parsed(line: bytes) -> dict[str, Any]:
    """A line's object; an empty one for what is none."""
    try:
        content = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
