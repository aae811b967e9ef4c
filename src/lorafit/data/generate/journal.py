"""The progress file: every answer on disk as soon as it is there, so that no request is sent twice.

One JSON object a line: the key of the request and its answer. A line counts when it ends in a line break; what a killed
process left of its last line is cut off when the file is opened again.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from lorafit.data.generate.ask import Reply
from lorafit.errors import DataError
from lorafit.run import InUseError, only_process


class Journal:
    """Answers by the key of their request, for several threads; of the answers only the places are held in memory."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._places: dict[str, int] = {}
        place = 0
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                file.truncate(place)
                break
            self._places[_key(line, path, number)] = place
            place += len(line)
        self._end = place

    @classmethod
    @contextmanager
    def open(cls, path: Path) -> Iterator[Journal]:
        """Open or begin the progress file, for this process alone.

        Raises DataError when another process writes to it, or when a line in it was damaged.
        """
        try:
            with (
                only_process(path.with_name(f"{path.name}.lock")),
                path.open("r+b" if path.exists() else "w+b") as file,
            ):
                yield cls(file, path)
        except InUseError:
            raise DataError(f"{path} is in use: another process makes these rows. Wait for it, or stop it.") from None

    def __contains__(self, key: str) -> bool:
        return key in self._places

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, key: str) -> Reply:
        with self._lock:
            self._file.seek(self._places[key])
            fields = json.loads(self._file.readline())
        tokens = fields.get("tokens")
        return Reply(fields["answer"], (tokens[0], tokens[1]) if tokens else None, fields.get("cut", False))

    def write(self, key: str, reply: Reply) -> None:
        """Put an answer on disk; once this returns it survives a kill and a power cut."""
        fields = {"request": key, "answer": reply.text, "tokens": reply.tokens, "cut": reply.cut}
        # ASCII only: an answer may hold half a surrogate pair, which UTF-8 cannot.
        line = json.dumps(fields).encode() + b"\n"
        with self._lock:
            self._file.seek(self._end)
            self._file.write(line)
            self._file.flush()
            os.fsync(self._file.fileno())
            self._places[key] = self._end
            self._end += len(line)


def _key(line: bytes, path: Path, number: int) -> str:
    try:
        fields = json.loads(line)
        if not isinstance(fields["answer"], str):
            raise TypeError
        return str(fields["request"])
    except (ValueError, KeyError, TypeError):
        raise DataError(
            f"{path}, line {number}: this is no line of a progress file. Take the line out, and its request is sent "
            "again; or begin anew with another --out."
        ) from None
