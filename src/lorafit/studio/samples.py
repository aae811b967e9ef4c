"""The before and after of a run, samples.jsonl: never held, only where its lines begin, and their scores."""

from __future__ import annotations

import json
import math
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from lorafit.report.evaluation_view import Metric
from lorafit.report.words import is_number
from lorafit.run import RunFolder

Show = Literal["all", "better", "worse", "same"]
Order = Literal["asked", "worst", "best"]
EQUAL = 1e-9  # scores nearer than this are the same
LONGEST = 8 * 2**20  # bytes of a line; a longer one is left out


@dataclass(slots=True)
class Samples:
    """samples.jsonl by its lines: where each begins, and the scores of each speaker, `scores[speaker, metric]` [N]."""

    path: Path
    speakers: tuple[str, ...] = ()
    begins: array[int] = field(default_factory=lambda: array("q"))
    scores: dict[tuple[str, str], array[float]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.begins)

    def change(self, metric: Metric, speaker: str, number: int) -> float | None:
        """By how much a speaker's answer is better than the base's; None without scores."""
        base, other = self.scores.get(("base", metric.name)), self.scores.get((speaker, metric.name))
        if base is None or other is None or not metric.better:
            return None
        moved = other[number] - base[number]
        if math.isnan(moved):
            return None
        return moved if metric.better == "higher" else -moved

    def chosen(
        self, metric: Metric | None, speaker: str, show: Show = "all", order: Order = "asked", text: str = ""
    ) -> list[int]:
        """The numbers of the lines (from 0) that are shown, in order.

        text: in any case, somewhere in the prompt, the reference or an answer.
        """
        wanted: Callable[[float], bool] = {
            "better": lambda moved: moved > EQUAL,
            "worse": lambda moved: moved < -EQUAL,
            "same": lambda moved: abs(moved) <= EQUAL,
        }.get(show, lambda moved: True)
        changes = {n: self.change(metric, speaker, n) for n in range(len(self))} if metric else {}
        numbers = [
            n for n in range(len(self)) if show == "all" or ((moved := changes.get(n)) is not None and wanted(moved))
        ]
        if text.strip() and numbers:
            numbers = self._with(text.strip().casefold(), numbers)
        if order != "asked":
            sign = 1 if order == "worst" else -1
            numbers.sort(key=lambda n: math.inf if (moved := changes.get(n)) is None else sign * moved)
        return numbers

    def _with(self, text: str, numbers: Sequence[int]) -> list[int]:
        """Those with the text: by the raw line first, which is quick, then by what is shown of it."""
        raw = json.dumps(text, ensure_ascii=False)[1:-1]
        found = []
        with self.path.open("rb") as file:
            for number in numbers:
                file.seek(self.begins[number])
                line = file.readline(LONGEST)
                if raw in line.decode("utf-8", "replace").casefold() and self._shows(text, _line(line)):
                    found.append(number)
        return found

    def _shows(self, text: str, row: Mapping[str, Any]) -> bool:
        texts = (
            asked(row),
            row.get("reference"),
            *(dict_of(row.get(speaker)).get("text") for speaker in self.speakers),
        )
        return any(text in str(one).casefold() for one in texts)

    def rows(self, numbers: Sequence[int]) -> list[dict[str, Any]]:
        """The lines of these numbers, empty where one is gone."""
        with self.path.open("rb") as file:
            return [_line(_at(file, self.begins[number])) for number in numbers]


def samples_of(run: RunFolder, metrics: Sequence[str]) -> Samples:
    """The index of a run's before and after, made once for each state of the file; empty where there is none."""
    path = run.evaluation / "samples.jsonl"
    try:
        found = path.stat()
    except OSError:
        return Samples(path)
    return _indexed(path, tuple(metrics), found.st_mtime_ns, found.st_size)


@lru_cache(maxsize=8)
def _indexed(path: Path, metrics: tuple[str, ...], changed: int, size: int) -> Samples:
    """changed, size: of the file, so that another one is read anew."""
    samples = Samples(path)
    with path.open("rb") as file:
        place = 0
        while line := file.readline(LONGEST):
            row = _line(line)
            if row:
                samples.begins.append(place)
                _note_scores(samples, row, metrics)
            place = file.tell()
    return samples


def _note_scores(samples: Samples, row: Mapping[str, Any], metrics: Sequence[str]) -> None:
    if not samples.speakers:
        samples.speakers = tuple(key for key, value in row.items() if isinstance(value, dict) and "text" in value)
    for speaker in samples.speakers:
        answer = dict_of(row.get(speaker))
        for metric in metrics:
            value = number_of(answer.get(metric))
            scores = samples.scores.setdefault((speaker, metric), array("d"))
            scores.append(math.nan if value is None else value)


def asked(row: Mapping[str, Any]) -> str:
    """What is shown of a prompt: the last turn of the user."""
    turns = dicts_of(row.get("prompt"))
    said = [str(turn.get("content", "")) for turn in turns if turn.get("role") == "user"]
    return said[-1] if said else str(turns[-1].get("content", "")) if turns else ""


def _at(file: Any, place: int) -> bytes:
    file.seek(place)
    line: bytes = file.readline(LONGEST)
    return line


def _line(line: bytes) -> dict[str, Any]:
    """The JSON object of a line; empty for what is none, such as a half-written one."""
    try:
        return dict_of(json.loads(line))
    except (ValueError, RecursionError):
        return {}


def number_of(value: Any) -> float | None:
    return float(value) if is_number(value) else None


def dict_of(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def dicts_of(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
