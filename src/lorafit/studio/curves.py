"""The curves of a run as its files grow: only what was appended is read, and a plot gets as many points as it shows.

A file of 200,000 lines takes a second to parse: of such a one a sample answers at once, taken here and there, until a
thread has read the whole.
"""

from __future__ import annotations

import math
import threading
from array import array
from bisect import bisect_left
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lorafit.report.plots import SMOOTHED_FROM, smoothed
from lorafit.report.read import COLUMNS, GPU, PROCESS, Values
from lorafit.report.words import is_number
from lorafit.run import RunFolder
from lorafit.studio.following import BLOCK, Followed, held_out_lines, parsed, sampled_lines, whole_lines

# From this size on, what is unread is sampled first: some 0.1 s of parsing.
LARGE = 2**23
POINTS = 600
SAMPLES, SAMPLE_BYTES, END_BYTES = 2000, 1024, 2**16
Points = list[tuple[float, float]]


class _Table:
    """Columns of float64 over one axis that never falls, NaN where nothing was written."""

    def __init__(self) -> None:
        self.at = array("d")
        self.columns: dict[str, array[float]] = {}

    def add(self, at: float, values: Mapping[str, Any]) -> None:
        if self.at and at <= self.at[-1]:  # gone back: what came after it is done again
            self.cut(at)
        for name in values:
            if name not in self.columns:
                self.columns[name] = array("d", [math.nan]) * len(self.at)
        self.at.append(at)
        for name, column in self.columns.items():
            value = values.get(name)
            column.append(value if is_number(value) else math.nan)

    def cut(self, at: float) -> None:
        """Only what is before `at` stays."""
        keep = bisect_left(self.at, at)
        for column in (self.at, *self.columns.values()):
            del column[keep:]

    def finite(self, name: str) -> tuple[Values, Values]:
        """(places, values) of a column, where it has one."""
        at, values = np.array(self.at), np.array(self.columns.get(name, ()))
        if not len(values):
            return values, values
        there = np.isfinite(values)
        return at[there], values[there]


class _Store:
    """What the lines of metrics.jsonl say."""

    def __init__(self) -> None:
        self.updates, self.held_out = _Table(), _Table()

    def take(self, block: bytes) -> None:
        for line in block.splitlines():
            self.add(parsed(line))

    def add(self, line: Mapping[str, Any]) -> None:
        update = line.get("update")
        if not is_number(update):
            return
        if "held_out_loss" in line:
            self.held_out.add(update, {"held_out_loss": line["held_out_loss"]})
        else:
            self.updates.add(update, {name: line.get(name) for name in COLUMNS})
            if self.held_out.at and self.held_out.at[-1] >= update:
                self.held_out.cut(update)


class _Machine(_Table):
    """What the lines of hardware.jsonl say, over seconds since the first."""

    def __init__(self) -> None:
        super().__init__()
        self._first: float | None = None

    def take(self, block: bytes) -> None:
        for line in map(parsed, block.splitlines()):
            if not is_number(time := line.get("time")):
                continue
            self._first = time if self._first is None else self._first
            values = {name: line.get(name) for name in PROCESS}
            gpus = line.get("gpus")
            for number, gpu in enumerate(gpus if isinstance(gpus, list) else ()):
                if isinstance(gpu, dict):
                    values |= {f"gpu{number}.{name}": gpu.get(name) for name in (*GPU, "memory_total_bytes")}
            self.add(time - self._first, values)


class Curves:
    """The curves of one run, shared by all who look at it; every method may be called from any thread.

    Names: the columns of metrics.jsonl in `report.read.COLUMNS` and `held_out_loss`, over the number of the update;
    those of hardware.jsonl in `PROCESS`, and `gpu0.` with those in `GPU`, over seconds since the first sample.

    version: rises whenever there is something new. complete: False while a sample stands for a long file.
    """

    def __init__(self, run: RunFolder) -> None:
        self._run = run
        self._metrics, self._hardware = Followed(run.metrics), Followed(run.hardware)
        self._store, self._machine = _Store(), _Machine()
        self._lock = threading.Lock()
        self._reading: threading.Thread | None = None
        self.version, self.complete = 0, True

    def refresh(self) -> None:
        """Read what was appended since the last call."""
        with self._lock:
            changed = self._hardware.read(self._begin_machine, lambda block: self._machine.take(block))
            if self._reading is None:
                changed |= self._read_metrics()
            self.version += changed

    def _read_metrics(self) -> bool:
        if self._metrics.unread() <= LARGE:
            return self._metrics.read(self._begin_store, lambda block: self._store.take(block))
        self._store = _sample(self._run.metrics)
        self.complete = False
        self._reading = threading.Thread(target=self._read_all, name="curves", daemon=True)
        self._reading.start()
        return True

    def _begin_store(self) -> None:
        self._store = _Store()

    def _begin_machine(self) -> None:
        self._machine = _Machine()

    def _read_all(self) -> None:
        whole = _Store()
        try:
            self._metrics.read(lambda: None, whole.take)
        finally:
            with self._lock:
                self._store, self._reading, self.complete = whole, None, True
                self.version += 1

    def points(
        self, name: str, low: float = -math.inf, high: float = math.inf, most: int = POINTS, smooth: bool = False
    ) -> Points:
        """(place, value) of a curve between two places, at most `most` + 4: the least and the greatest of each stretch,
        so that no peak is lost, and the neighbours on both sides, so that a line goes on to the edge.

        smooth: of its running mean at the same places, over a fortieth of the whole curve; nothing of one so short that
        it is seen point by point.
        """
        at, values = self._finite(name)
        shown = values
        if smooth:
            if len(values) < SMOOTHED_FROM:
                return []
            shown = smoothed(values, max(5, len(values) // 40))
        first = max(0, int(np.searchsorted(at, low, side="left")) - 1)
        last = int(np.searchsorted(at, high, side="right")) + 1
        kept = first + extremes(values[first:last], most)
        return list(zip(at[kept].tolist(), shown[kept].tolist(), strict=True))

    def last(self, name: str) -> float | None:
        _, values = self._finite(name)
        return float(values[-1]) if len(values) else None

    def least(self, name: str) -> tuple[float, float] | None:
        """(place, value) of the first least value."""
        at, values = self._finite(name)
        if not len(values):
            return None
        place = int(values.argmin())
        return float(at[place]), float(values[place])

    def span(self) -> tuple[float, float]:
        """The numbers of the first and the last update that anything is known of; (0, 0) for none."""
        with self._lock:
            ends = [table.at[place] for table in (self._store.updates, self._store.held_out) if table.at
                    for place in (0, -1)]  # fmt: skip
        return (min(ends), max(ends)) if ends else (0.0, 0.0)

    def _finite(self, name: str) -> tuple[Values, Values]:
        with self._lock:
            table = next((t for t in self._tables() if name in t.columns), self._store.updates)
            return table.finite(name)

    def _tables(self) -> tuple[_Table, ...]:
        return self._store.updates, self._store.held_out, self._machine


def extremes(values: Values, most: int) -> Any:
    """Places of at most `most` + 2 values [N]: the ends, and of each of `most` / 2 stretches the least and greatest."""
    count = len(values)
    if count <= most:
        return np.arange(count)
    length = math.ceil(2 * count / most)
    rows = math.ceil(count / length)
    # The last stretch is filled up with its last value, whose places are then taken back to the end.
    padded = np.concatenate((values, np.full(rows * length - count, values[-1]))).reshape(rows, length)
    starts = np.arange(rows) * length
    places = np.concatenate(([0, count - 1], starts + padded.argmin(axis=1), starts + padded.argmax(axis=1)))
    return np.unique(np.minimum(places, count - 1))


def _sample(path: Path) -> _Store:
    """A long file by lines from here and there, all of its end, and every held-out measurement."""
    store, place = _Store(), 0
    lines: dict[int, bytes] = {}
    try:
        with path.open("rb") as file:
            while whole := whole_lines(file.read(BLOCK)):
                lines |= {place + start: line for start, line in held_out_lines(whole)}
                place += len(whole)
                file.seek(place)
        lines |= sampled_lines(path, SAMPLES, SAMPLE_BYTES, END_BYTES)
    except OSError:  # taken away meanwhile
        return store
    for start in sorted(lines):
        store.add(parsed(lines[start]))
    return store
