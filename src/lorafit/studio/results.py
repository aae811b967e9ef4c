"""What came out of runs, read for the screens: scores, evaluations, figures, studies. No model is loaded for it."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import yaml

from lorafit.errors import RunError
from lorafit.report.evaluation_read import read_evaluation
from lorafit.report.evaluation_view import Evaluation, Metric
from lorafit.run import RunFolder, read_json
from lorafit.settings import flat
from lorafit.studio.curves import Curves
from lorafit.studio.samples import dict_of, dicts_of, number_of
from lorafit.studio.workspace import Workspace
from lorafit.study.figures import kept_bytes

if TYPE_CHECKING:
    from lorafit.study.folder import Study

LARGEST = 64 * 2**20  # bytes of an evaluation.json or study.json that is read
EVERY = 10**9  # points: all there are
# What every run has its own of.
OWN = ("name", "output", "observe.")


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a difference from the base rests on: its 95 % interval, the samples, and those that would show it."""

    low: float | None = None
    high: float | None = None
    samples: float | None = None
    needed: float | None = None


@dataclass(frozen=True, slots=True)
class Judged:
    """An evaluation, and of each difference its bounds: {(part, metric, speaker): Bounds}."""

    view: Evaluation
    bounds: Mapping[tuple[int, str, str], Bounds]

    def bound(self, part: int, metric: Metric, speaker: str) -> Bounds:
        return self.bounds.get((part, metric.name, speaker), Bounds())


def scores_of(run: RunFolder) -> Judged | None:
    """The scores of a run's before and after, as an evaluation of one part; None where there are none.

    Raises RunError for a file that cannot be read.
    """
    file = run.evaluation / "scores.json"
    if not file.is_file():
        return None
    content = _read(file)
    part = {"name": "held-out prompts", "kind": "answers", "questions": content.get("prompts")}
    return judged({"parts": [{**part, "metrics": content.get("metrics")}]})


def evaluations_of(run: RunFolder) -> tuple[list[Judged], list[str]]:
    """(the finished evaluations of a run, the newest first; what could not be read)."""
    found, faults = [], []
    for file in sorted(run.evaluation.glob("*/evaluation.json")):
        try:
            found.append(judged({**_read(file), "name": file.parent.name}))
        except RunError as error:
            faults.append(str(error))
    return sorted(found, key=lambda one: -(one.view.made or 0)), faults


def judged(content: Mapping[str, Any]) -> Judged:
    """content: evaluation.json; what it lacks is None or empty."""
    bounds = {
        (number, str(metric.get("name")), speaker): Bounds(**{key: number_of(one.get(key)) for key in Bounds.__slots__})
        for number, part in enumerate(dicts_of(content.get("parts")))
        for metric in dicts_of(part.get("metrics"))
        for speaker, one in dict_of(metric.get("differences")).items()
        if isinstance(one, dict)
    }
    return Judged(read_evaluation(content), bounds)


def settings_of(run: RunFolder) -> dict[str, Any]:
    """{dotted name: value} of recipe.yaml. Raises RunError when it cannot be read."""
    try:
        content = yaml.safe_load(run.recipe.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise RunError(f"{run.recipe} cannot be read: {error}") from error
    return dict(flat(dict_of(content)))


def differing(settings: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """{dotted name: the value in each}, only where they differ; None where one has no such setting."""
    names = dict.fromkeys(name for one in settings for name in one if not name.startswith(OWN))
    listed = {name: [one.get(name) for one in settings] for name in names}
    return {name: values for name, values in listed.items() if any(value != values[0] for value in values[1:])}


@dataclass(frozen=True, slots=True)
class Trained:
    """What training came to. Losses in nats a token; time in seconds; peak in bytes (tensors on CUDA, the process
    elsewhere), size in bytes of the weights that are kept."""

    base_loss: float | None
    held_out_loss: float | None
    best_update: int | None
    seconds: float | None
    tokens_per_second: float | None
    peak_memory: float | None
    size: int | None


def trained(run: RunFolder, curves: Curves) -> Trained:
    """The figures of a run so far: the held-out loss of the weights that are kept, speed as the median."""
    base, best = None, None
    losses = curves.points("held_out_loss", most=EVERY)
    if losses and losses[0][0] == 0:
        base, losses = losses[0][1], losses[1:]
    if losses:
        best = min(losses, key=lambda point: point[1])
        # Where nothing was better than the base, the last weights are kept.
        best = best if base is None or best[1] < base else losses[-1]
    speeds = [value for _, value in curves.points("tokens_per_second", most=EVERY)]
    peaks = [value for _, value in curves.points("peak_memory_bytes", most=EVERY)]
    return Trained(
        base,
        best[1] if best else None,
        round(best[0]) if best else None,
        curves.last("elapsed_seconds"),
        statistics.median(speeds[1:] or speeds) if speeds else None,  # the first update also makes what later ones find
        max(peaks, default=None),
        kept_bytes(run),
    )


@dataclass(frozen=True, slots=True)
class FoundStudy:
    """A study in the workspace. kind: `compare` (of methods) or `sweep`; changed: Unix time of study.json."""

    name: str
    path: Path
    kind: Literal["compare", "sweep"]
    axes: Mapping[str, Sequence[Any]]
    states: tuple[str, ...]
    changed: float

    @property
    def finished(self) -> int:
        return self.states.count("finished")

    @property
    def ended(self) -> bool:
        return all(state in ("finished", "failed") for state in self.states)


def studies(workspace: Workspace) -> list[FoundStudy]:
    """Those in the runs' folder, in studies/ (where `lorafit sweep` puts them) and at the top, the newest first."""
    files = [file for folder in ("runs", "studies", ".") for file in (workspace.root / folder).glob("*/study.json")]
    inside = (file for file in files if file.resolve().is_relative_to(workspace.root))
    found = (_found_study(file, file.stat().st_mtime_ns) for file in inside if file.is_file())
    return sorted((study for study in found if study), key=lambda study: -study.changed)


@lru_cache(maxsize=256)
def _found_study(file: Path, changed: int) -> FoundStudy | None:
    try:
        content = _read(file)
    except RunError:  # its own page says what is wrong with it
        return None
    axes = {name: values for name, values in dict_of(content.get("axes")).items() if isinstance(values, list)}
    states = tuple(str(entry.get("state")) for entry in dicts_of(content.get("runs")))
    kind: Literal["compare", "sweep"] = "compare" if "method" in axes else "sweep"
    return FoundStudy(file.parent.name, file.parent, kind, axes, states, changed / 1e9)


def read_study(path: Path) -> Study:
    """The study of a folder. Raises RunError when it is none."""
    from lorafit.study.folder import open_study

    file = path / "study.json"
    if file.is_file():
        _bounded(file)
    return open_study(path)


def _read(file: Path) -> dict[str, Any]:
    _bounded(file)
    return read_json(file)


def _bounded(file: Path) -> None:
    if (size := file.stat().st_size) > LARGEST:
        raise RunError(f"{file} has {size:,} bytes; the studio reads files of this kind up to {LARGEST:,}.")
