"""What a run folder tells, piece by piece. Any piece may be missing, half-written or of another version's shape."""

from __future__ import annotations

import heapq
import json
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from lorafit.errors import RunError
from lorafit.report.words import is_number
from lorafit.run import RunFolder, read_json

Values = NDArray[np.float64]
COLUMNS = (
    "loss",
    "learning_rate",
    "gradient_norm",
    "tokens_per_second",
    "memory_bytes",
    "peak_memory_bytes",
    "elapsed_seconds",
)
PROCESS = ("resident_bytes", "available_bytes", "mps_driver_bytes", "cpu_share")
GPU = ("memory_used_bytes", "utilization", "temperature_c", "power_w")
# How many of each a page shows.
FIRST, WORST, REJECTED = 6, 12, 20


@dataclass(frozen=True, slots=True)
class Series:
    """Columns over one axis: `at` [N] never falls; each column [N] float64, NaN where nothing was written."""

    at: Values
    columns: dict[str, Values]

    def __len__(self) -> int:
        return len(self.at)

    def __getitem__(self, name: str) -> Values:
        return self.columns[name]

    def most(self, name: str) -> float | None:
        finite = self[name][np.isfinite(self[name])]
        return float(finite.max()) if len(finite) else None


@dataclass(slots=True)
class Story:
    """A run as far as its folder tells it. None or empty: not there. faults: files that are there but unreadable."""

    status: dict[str, Any] | None = None
    recipe: dict[str, Any] = field(default_factory=dict)
    recipe_text: str = ""
    environment: dict[str, Any] | None = None
    data: dict[str, Any] | None = None
    plan: dict[str, Any] | None = None
    findings: list[dict[str, Any]] | None = None
    check: dict[str, Any] | None = None
    scores: dict[str, Any] | None = None
    samples: list[dict[str, Any]] = field(default_factory=list)
    worst: list[dict[str, Any]] = field(default_factory=list)
    sample_count: int = 0
    rejected: list[dict[str, Any]] = field(default_factory=list)
    rejected_count: int = 0
    faults: list[str] = field(default_factory=list)


def read_story(run: RunFolder) -> Story:
    """Everything but the curves."""
    story = Story()

    def read(path: Path) -> dict[str, Any] | None:
        try:
            return read_json(path) if path.exists() else None
        except RunError as error:
            story.faults.append(str(error))
            return None

    story.status, story.environment, story.data = read(run.status), read(run.environment), read(run.data)
    story.plan, story.check = read(run.plan), read(run.self_check / "step.json")
    found, story.scores = read(run.path / "findings.json"), read(run.evaluation / "scores.json")
    if found is not None:
        listed = found.get("findings")
        story.findings = [f for f in listed if isinstance(f, dict)] if isinstance(listed, list) else []
    try:
        story.recipe_text = run.recipe.read_text(encoding="utf-8") if run.recipe.exists() else ""
        parsed = yaml.safe_load(story.recipe_text)
        story.recipe = parsed if isinstance(parsed, dict) else {}
    except (OSError, ValueError, yaml.YAMLError) as error:
        story.faults.append(f"{run.recipe} cannot be read: {error}")
    _read_samples(run.evaluation / "samples.jsonl", story)
    for row in json_lines(run.rejected):
        story.rejected_count += 1
        if len(story.rejected) < REJECTED:
            story.rejected.append(row)
    return story


def _read_samples(path: Path, story: Story) -> None:
    """The first prompts as they come, and of the others those that the tuned model answers worst."""
    worst: list[tuple[float, int, dict[str, Any]]] = []
    for number, line in enumerate(json_lines(path)):
        story.sample_count += 1
        if number < FIRST:
            story.samples.append(line)
            continue
        tuned = line.get("tuned")
        score = tuned.get("token_f1") if isinstance(tuned, dict) else None
        if is_number(score) and score < 1:
            heapq.heappush(worst, (-score, -number, line))
            if len(worst) > WORST:
                heapq.heappop(worst)
    story.worst = [line for _, _, line in sorted(worst, key=lambda entry: (-entry[0], -entry[1]))]


def read_metrics(path: Path) -> tuple[Series, Series]:
    """(updates, held-out measurements) of metrics.jsonl, over the number of the update."""
    updates: tuple[array[float], dict[str, array[float]]] = array("d"), {name: array("d") for name in COLUMNS}
    held_out: tuple[array[float], dict[str, array[float]]] = array("d"), {"held_out_loss": array("d")}
    for line in json_lines(path):
        if is_number(line.get("update")):
            at, columns = held_out if "held_out_loss" in line else updates
            at.append(line["update"])
            for name, values in columns.items():
                values.append(_number(line.get(name)))
    return _series(*updates), _series(*held_out)


def read_hardware(path: Path) -> tuple[Series, list[Series]]:
    """(the process, each GPU) of hardware.jsonl, over seconds since the first sample."""
    at, process = array("d"), {name: array("d") for name in PROCESS}
    gpus: list[tuple[array[float], dict[str, array[float]]]] = []
    for line in json_lines(path):
        if not is_number(line.get("time")):
            continue
        at.append(line["time"])
        for name, values in process.items():
            values.append(_number(line.get(name)))
        listed = line.get("gpus")
        for number, gpu in enumerate(listed if isinstance(listed, list) else ()):
            if number == len(gpus):
                gpus.append((array("d"), {name: array("d") for name in GPU}))
            gpus[number][0].append(line["time"])
            for name, values in gpus[number][1].items():
                values.append(_number(gpu.get(name) if isinstance(gpu, dict) else None))
    first = min(at, default=0.0)
    return _series(at, process, first), [_series(*gpu, first) for gpu in gpus]


def json_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The JSON objects of a file, a line at a time. What is none, such as a half-written last line, is left out."""
    try:
        file = path.open("rb")
    except OSError:
        return
    with file:
        for line in file:
            try:
                content = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(content, dict):
                yield content


def _number(value: Any) -> float:
    return float(value) if is_number(value) else float("nan")


def _series(at: array[float], columns: dict[str, array[float]], first: float = 0.0) -> Series:
    places = np.array(at) - first
    order = np.argsort(places, kind="stable")
    return Series(places[order], {name: np.array(values)[order] for name, values in columns.items()})
