"""Events to metrics.jsonl: one object per update, one of its own for each held-out measurement."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import TracebackType
from typing import Any

from lorafit.records import Event
from lorafit.run import full_disk_is_said

COLUMNS = ("update", "held_out")


class MetricsFile:
    """Appends to metrics.jsonl, a whole line at a time, flushed so that a reader sees it at once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with full_disk_is_said(path):
            self._file = path.open("a", encoding="utf-8")

    def __call__(self, event: Event) -> None:
        if event.kind not in COLUMNS:
            return
        with full_disk_is_said(self._path):
            self._file.write(json.dumps({name: _finite(value) for name, value in event.values.items()}) + "\n")
            self._file.flush()

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
