"""Results row by row on the disk: an evaluation that was killed goes on where it stopped.

One JSON object a line, with the number of its question. A line counts when it ends in a line break; what a killed
process left of its last line is cut off when the file is opened again.
"""

from __future__ import annotations

import json
import os
from array import array
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from lorafit.errors import RunError
from lorafit.run import disk_error


class Journal:
    """The results of one speaker, in any order; of each only its place in the file is held in memory."""

    def __init__(self, path: Path) -> None:
        """Open or begin it. Raises RunError for a damaged line, and where the file cannot be written."""
        self.path = path
        self._places = array("q")  # by number - 1; -1: not there
        self._count = 0
        try:
            self._file = path.open("r+b" if path.exists() else "w+b")
        except OSError as error:
            raise disk_error(error, path) from error
        end = 0
        for line, text in enumerate(self._file, start=1):
            if not text.endswith(b"\n"):
                break
            self._remember(_number(text, path, line), end)
            end += len(text)
        self._file.truncate(end)
        self._file.seek(end)

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with self._file:
            self._file.flush()
            os.fsync(self._file.fileno())

    def __len__(self) -> int:
        return self._count

    def __contains__(self, number: int) -> bool:
        return 0 < number <= len(self._places) and self._places[number - 1] >= 0

    def write(self, number: int, result: dict[str, Any]) -> None:
        """Put a result on disk: it survives the end of this process. Raises RunError when the disk is full."""
        # ASCII only: an answer may hold half a surrogate pair, which UTF-8 cannot.
        line = json.dumps({"number": number, **result}).encode() + b"\n"
        try:
            place = self._file.tell()
            self._file.write(line)
            self._file.flush()
        except OSError as error:
            raise disk_error(error, self.path) from error
        self._remember(number, place)

    def results(self, numbers: Iterator[int]) -> Iterator[dict[str, Any]]:
        """The results of questions that are there, in the order asked."""
        with self.path.open("rb") as file:
            for number in numbers:
                file.seek(self._places[number - 1])
                yield json.loads(file.readline())

    def _remember(self, number: int, place: int) -> None:
        if number > len(self._places):
            self._places.extend([-1] * (number - len(self._places)))
        self._count += self._places[number - 1] < 0
        self._places[number - 1] = place


def _number(text: bytes, path: Path, line: int) -> int:
    try:
        number = json.loads(text)["number"]
        if not isinstance(number, int) or number < 1:
            raise TypeError
        return number
    except (ValueError, KeyError, TypeError):
        raise RunError(
            f"{path}, line {line}: this is no line of results. Take the line out, and its question is answered again; "
            "or begin anew with --restart."
        ) from None
