"""Events to metrics.jsonl: one object per update, one of its own for each held-out measurement."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from types import TracebackType
from typing import Any

from lorafit.records import Event
from lorafit.run import full_disk_is_said, write_text

COLUMNS = ("update", "held_out")


class MetricsFile:
    """Appends to metrics.jsonl, a whole line at a time, flushed so that a reader sees it at once.

    keep: how many of the lines that are there stay, all by default; `lines` counts all.
    """

    def __init__(self, path: Path, keep: int | None = None) -> None:
        self._path = path
        there = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
        self.lines = len(there[:keep])
        if self.lines < len(there):
            write_text(path, "".join(there[:keep]))
        with full_disk_is_said(path):
            self._file = path.open("a", encoding="utf-8")

    def __call__(self, event: Event) -> None:
        if event.kind not in COLUMNS:
            return
        with full_disk_is_said(self._path):
            self._file.write(json.dumps({name: _finite(value) for name, value in event.values.items()}) + "\n")
            self._file.flush()
        self.lines += 1

    def sync(self) -> None:
        """Have the system write out what is there: a checkpoint counts on it."""
        with full_disk_is_said(self._path):
            os.fsync(self._file.fileno())

    def __enter__(self) -> MetricsFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            with full_disk_is_said(self._path):
                self._file.close()
        else:
            try:
                self._file.close()
            except OSError:  # what went wrong is already on its way
                pass


def _finite(value: Any) -> Any:
    # A loss that overflowed in float16 is null: NaN and Infinity are no JSON, and a browser would refuse the line.
    return None if isinstance(value, float) and not math.isfinite(value) else value
