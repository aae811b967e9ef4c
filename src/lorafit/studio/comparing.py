"""Runs beside one another: their figures in columns, and which of a column is the best."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from lorafit.report.evaluation_view import Metric
from lorafit.report.words import count, figure, size
from lorafit.run import RunFolder
from lorafit.studio.results import Judged, Trained, scores_of, settings_of, trained
from lorafit.studio.runs import Runs
from lorafit.studio.words import t_duration

# Where these differ, the losses and scores of two runs were not measured on the same.
MEASURED_ON = ("data.train", "data.held_out", "data.template", "evaluate.")
Mark = Literal["best", "near", ""]


@dataclass(frozen=True, slots=True)
class Compared:
    """A run as it is compared. held_out: (update, loss) of its curve."""

    name: str
    settings: dict[str, Any]
    trained: Trained
    held_out: list[tuple[float, float]]
    scores: Judged | None

    def metric(self, name: str) -> Metric | None:
        return self.scores.view.parts[0].metric(name) if self.scores else None


@dataclass(frozen=True, slots=True)
class Column:
    """A figure of every run. intervals: at 95 %, where there is one; better: which end is, where one is."""

    title: str
    values: tuple[float | None, ...]
    text: Callable[[Any], str]
    better: Literal["low", "high", ""] = ""
    intervals: tuple[tuple[float, float] | None, ...] = ()

    def marks(self) -> list[Mark]:
        """`best`, and `near` where the intervals do not tell a run apart from it; nothing where all are alike."""
        known = [value for value in self.values if value is not None]
        if not self.better or len(set(known)) < 2:
            return [""] * len(self.values)
        top = min(known) if self.better == "low" else max(known)
        at = self.values.index(top)
        return ["best" if value == top else self._near(place, at) for place, value in enumerate(self.values)]

    def _near(self, place: int, at: int) -> Mark:
        one, other = (self.intervals[n] if self.intervals else None for n in (place, at))
        return "near" if one and other and one[0] <= other[1] and other[0] <= one[1] else ""


def is_measured_on(name: str) -> bool:
    """Whether a setting changes on what losses and scores are measured; what is asked while training does not."""
    return name.startswith(MEASURED_ON) and name != "evaluate.while_training"


def compared(run: RunFolder, runs: Runs) -> Compared:
    """Read what is compared of a run. Raises RunError for a recipe or scores that cannot be read."""
    curves = runs.curves(run.path.name)
    held_out = curves.points("held_out_loss")
    return Compared(run.path.name, settings_of(run), trained(run, curves), held_out, scores_of(run))


def columns_of(runs: Sequence[Compared]) -> list[Column]:
    """Those that some run has a value in."""
    found = [
        Column("held-out loss", tuple(run.trained.held_out_loss for run in runs), figure, "low"),
        *_scores(runs),
        Column("training time", tuple(run.trained.seconds for run in runs), t_duration, "low"),
        Column("tokens per second", tuple(run.trained.tokens_per_second for run in runs), count, "high"),
        Column("peak memory", tuple(run.trained.peak_memory for run in runs), size, "low"),
        Column("size", tuple(run.trained.size for run in runs), size, "low"),
    ]
    return [column for column in found if any(value is not None for value in column.values)]


def _scores(runs: Sequence[Compared]) -> list[Column]:
    """Of the tuned models, each metric that some run was scored with."""
    named = {metric.name: metric for run in runs if run.scores for metric in run.scores.view.parts[0].metrics}
    return [_score(metric, [run.metric(name) for run in runs]) for name, metric in named.items()]


def _score(metric: Metric, found: Sequence[Metric | None]) -> Column:
    scores = [one.scores.get("tuned") if one else None for one in found]
    return Column(
        metric.title,
        tuple(score.value if score else None for score in scores),
        metric.told,
        {"higher": "high", "lower": "low"}.get(metric.better, ""),  # type: ignore[arg-type]
        tuple((s.low, s.high) if s and s.low is not None and s.high is not None else None for s in scores),
    )
