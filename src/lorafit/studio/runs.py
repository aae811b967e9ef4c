"""The runs of a workspace: a line about each, told from its folder and kept as long as its files look the same."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from lorafit.errors import RunError
from lorafit.report.page import METHODS
from lorafit.report.words import is_number
from lorafit.run import LOCK, RunFolder, read_json
from lorafit.studio.curves import Curves
from lorafit.studio.following import Followed, held_out_lines, parsed, sampled_lines
from lorafit.studio.jobs import AT_WORK
from lorafit.studio.refusal import StudioError
from lorafit.studio.workspace import Workspace

DEAD_AFTER = 60.0
SPARKLINE = 60
DEEPEST = 50
SPARKLINE_BYTES, END_BYTES = 2048, 2**13
# libyaml's loader is some ten times as fast, where PyYAML was built with it.
YamlLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
Look = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True)
class Summary:
    """A line about a run.

    state: of `run.State`, or `dead` where status.json says that it works but its heartbeat is 60 s old. made, changed:
    Unix times. loss: of the last update. held_out_loss: the lowest so far, whose weights are kept. sparkline: at most
    60 losses, means over stretches evenly spaced. score: (metric, base, tuned), the first metric of its before/after.
    """

    name: str
    state: str
    update: int
    updates: int
    message: str
    made: float
    changed: float
    method: str
    model: str
    loss: float | None
    held_out_loss: float | None
    sparkline: tuple[float, ...]
    score: tuple[str, float | None, float | None] | None
    seconds_left: float | None


class Runs:
    """Reads the folders in `workspace.runs`. Every method may be called from any thread."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._lock = threading.Lock()
        self._known: dict[str, _Known] = {}
        self._curves: dict[str, Curves] = {}

    def summaries(self) -> list[Summary]:
        """Of every run, the newest first."""
        found: list[Summary] = []
        for path in _folders(self._workspace.runs):
            # Gone meanwhile, or a link that leads out of the workspace.
            with contextlib.suppress(StudioError):
                found.append(self.summary(path.name))
        with self._lock:  # of what is gone nothing is kept
            for name in self._known.keys() - {summary.name for summary in found}:
                del self._known[name]
                self._curves.pop(name, None)
        return sorted(found, key=lambda summary: (-summary.made, summary.name))

    def summary(self, name: str) -> Summary:
        """Raises StudioError when there is no such run."""
        run = self._workspace.run(name)
        with self._lock:
            known = self._known.setdefault(name, _Known(run))
        return known.summary()

    def curves(self, name: str) -> Curves:
        """With what was appended since the last call. Raises StudioError when there is no such run."""
        run = self._workspace.run(name)
        with self._lock:
            curves = self._curves.setdefault(name, Curves(run))
        curves.refresh()
        return curves


class _Known:
    """What was read of a run, with what its files looked like then."""

    def __init__(self, run: RunFolder) -> None:
        self._run = run
        self._lock = threading.Lock()
        self._look: Look | None = None
        self._summary: Summary | None = None
        self._metrics = Followed(run.metrics)
        self._held_out: float | None = None

    def summary(self) -> Summary:
        run = self._run
        with self._lock:
            look = tuple(map(_look, (run.status, run.metrics, run.recipe, run.evaluation / "scores.json")))
            if self._summary is None or look != self._look:
                self._summary, self._look = self._read(), look
            return _as_of(self._summary, time.time())

    def _read(self) -> Summary:
        run = self._run
        status, scores = _content(run.status), _content(run.evaluation / "scores.json")
        method, model = _method_and_model(run.recipe)
        self._metrics.read(self._begin, self._take)
        sample = _sampled(run.metrics)
        # A resumed run's status begins at 0, and a heartbeat is up to 5 s old.
        last = sample[-1].get("update") if sample else status.get("update")
        update, updates = _whole(last), _whole(status.get("updates"))
        made, changed = _times(run)
        heartbeat = status.get("heartbeat")
        return Summary(
            name=run.path.name,
            state=str(status.get("state") or "planning"),
            update=update,
            updates=updates,
            message=str(status.get("message") or ""),
            made=made,
            changed=float(heartbeat) if is_number(heartbeat) else changed,
            method=method,
            model=model,
            loss=next((line["loss"] for line in reversed(sample) if is_number(line.get("loss"))), None),
            held_out_loss=self._held_out,
            sparkline=_sparkline(sample),
            score=_score(scores),
            seconds_left=_seconds_left(sample, updates - update) if status.get("state") == "running" else None,
        )

    def _begin(self) -> None:
        self._held_out = None

    def _take(self, block: bytes) -> None:
        for _, line in held_out_lines(block):
            loss = parsed(line).get("held_out_loss")
            if is_number(loss):
                self._held_out = loss if self._held_out is None else min(self._held_out, loss)


def _folders(path: Path) -> list[Path]:
    try:
        return [folder for folder in path.iterdir() if RunFolder(folder).recipe.is_file()]
    except OSError:
        return []


def _look(path: Path) -> tuple[int, int, int]:
    try:
        told = path.stat()
    except OSError:
        return 0, 0, 0
    return told.st_ino, told.st_size, told.st_mtime_ns


def _as_of(summary: Summary, now: float) -> Summary:
    if summary.state in AT_WORK and now - summary.changed > DEAD_AFTER:
        return replace(summary, state="dead", seconds_left=None)
    return summary


def _content(path: Path) -> dict[str, Any]:
    try:
        return read_json(path)
    except RunError:  # not there yet, or not by lorafit
        return {}


def _method_and_model(recipe: Path) -> tuple[str, str]:
    try:
        text = recipe.read_text(encoding="utf-8")
        content = {} if _is_deep(text) else yaml.load(text, Loader=YamlLoader)
    except (OSError, ValueError, yaml.YAMLError):
        content = {}
    model, adapter = _part(content, "model"), _part(content, "adapter")
    method = METHODS.get(str(model.get("quantization")), "")
    return "full fine-tuning" if adapter.get("method") == "none" else method, str(model.get("name") or "")


def _is_deep(text: str) -> bool:
    """Whether YAML is nested deeper than any recipe: libyaml's loader, which is recursive, would end the process."""
    depth = 0
    for event in yaml.parse(text, Loader=YamlLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            return True
    return False


def _part(content: Any, name: str) -> dict[str, Any]:
    part = content.get(name) if isinstance(content, dict) else None
    return part if isinstance(part, dict) else {}


def _times(run: RunFolder) -> tuple[float, float]:
    """When it was made and last changed, by its files: the lock is made with the folder and never written."""
    times = []
    for path in (run.path / LOCK, run.recipe, run.status, run.metrics):
        try:
            times.append(path.stat().st_mtime)
        except OSError:
            continue
    return min(times, default=0.0), max(times, default=0.0)


def _sampled(metrics: Path) -> list[dict[str, Any]]:
    try:
        lines = sampled_lines(metrics, SPARKLINE, SPARKLINE_BYTES, END_BYTES)
    except OSError:
        return []
    return [line for place in sorted(lines) if "loss" in (line := parsed(lines[place]))]


def _sparkline(sample: list[dict[str, Any]]) -> tuple[float, ...]:
    """Means of the losses within as many stretches of the run as there may be points."""
    at = [
        (line["update"], line["loss"]) for line in sample if is_number(line.get("update")) and is_number(line["loss"])
    ]
    if not at:
        return ()
    first, last = at[0][0], max(update for update, _ in at)
    stretches: dict[int, list[float]] = {}
    for update, loss in at:
        place = int((update - first) / max(last - first, 1) * SPARKLINE)
        stretches.setdefault(min(place, SPARKLINE - 1), []).append(loss)
    return tuple(math.fsum(losses) / len(losses) for _, losses in sorted(stretches.items()))


def _score(scores: dict[str, Any]) -> tuple[str, float | None, float | None] | None:
    spoken = _part(scores, "scores")
    metric = next(iter(_part(spoken, "tuned")), None)
    if metric is None:
        return None

    def mean(speaker: str) -> float | None:
        value = _part(_part(spoken, speaker), metric).get("mean")
        return float(value) if is_number(value) else None

    return metric, mean("base"), mean("tuned")


def _seconds_left(sample: list[dict[str, Any]], updates: int) -> float | None:
    """By the pace of the last updates; the clock of a run starts anew when it is resumed."""
    clock = [
        (line["update"], line["elapsed_seconds"])
        for line in sample[-20:]
        if is_number(line.get("update")) and is_number(line.get("elapsed_seconds"))
    ]
    since = [pair for pair in clock if pair[1] <= clock[-1][1]]
    if len(since) < 2 or since[-1][0] <= since[0][0]:
        return None
    pace = (since[-1][1] - since[0][1]) / (since[-1][0] - since[0][0])
    return float(max(0, updates) * pace)


def _whole(value: Any) -> int:
    return int(value) if is_number(value) else 0
