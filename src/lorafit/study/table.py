"""A study's runs as rows of figures: one line for each combination of values, over its seeds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from lorafit.evaluate.metrics import METRICS
from lorafit.report.evaluation_view import TITLES
from lorafit.report.words import NONE, figure, is_number, size
from lorafit.study.axes import label
from lorafit.study.folder import Entry, Study

Part = Literal["quality", "training", "inference"]


@dataclass(frozen=True, slots=True)
class Measure:
    """A figure of every run. path: where it stands in a run's figures; better: which end of it is, where one is."""

    title: str
    path: tuple[str, ...]
    part: Part
    text: Callable[[Any], str] = figure
    better: Literal["low", "high", ""] = ""

    def of(self, entry: Entry) -> float | None:
        value: Any = entry.figures
        for key in (*self.path, "mean"):
            if isinstance(value, Mapping):
                value = value.get(key)
        return value if is_number(value) else None

    def interval(self, entry: Entry) -> tuple[float, float] | None:
        """A score's 95 % interval over the prompts of one run."""
        value: Any = entry.figures.get(self.path[0], {})
        for key in self.path[1:]:
            value = value.get(key, {})
        low, high = (value.get(end) if isinstance(value, Mapping) else None for end in ("low", "high"))
        return (low, high) if is_number(low) and is_number(high) else None


@dataclass(frozen=True, slots=True)
class Group:
    """The runs of one combination of values, one a seed."""

    label: str
    settings: Mapping[str, Any]
    entries: tuple[Entry, ...]

    @property
    def finished(self) -> list[Entry]:
        return [entry for entry in self.entries if entry.state == "finished"]

    def values(self, measure: Measure) -> list[float]:
        return [value for entry in self.finished if (value := measure.of(entry)) is not None]


@dataclass(frozen=True, slots=True)
class Spread:
    """A mean with how far it may be off. seeds: by the standard deviation over the seeds, else by the interval over the
    prompts of the one run."""

    mean: float
    low: float
    high: float
    seeds: bool


def seconds(value: Any) -> str:
    if not is_number(value):
        return NONE
    scaled, unit = (value * 1e3, "ms") if value < 1 else (value, "s")
    return f"{f'{scaled:#.3g}'.rstrip('.')} {unit}"


def compact(value: Any) -> str:
    """A count in three places: 72,192, 287 k, 1.15 M."""
    for unit, factor in (("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if is_number(value) and value >= max(factor, 1e5):
            return f"{value / factor:.3g} {unit}"
    return f"{value:,.0f}" if is_number(value) else NONE


LOSS = Measure("held-out loss", ("held_out_loss",), "quality", better="low")
FIXED = (
    Measure("trained parameters", ("trained",), "training", compact),
    Measure("memory planned", ("memory_planned",), "training", size),
    Measure("memory measured", ("memory_measured",), "training", size),
    Measure("peak in the run", ("peak_memory",), "training", size),
    Measure("time per update", ("update_seconds",), "training", seconds),
    Measure("tokens per second", ("tokens_per_second",), "training", compact),
    Measure("kept on disk", ("disk",), "inference", size),
    Measure("memory at inference", ("inference", "memory"), "inference", size),
    Measure("time per token", ("inference", "unmerged", "median"), "inference", seconds),
    Measure("per token, p95", ("inference", "unmerged", "p95"), "inference", seconds),
    Measure("time per token, merged", ("inference", "merged", "median"), "inference", seconds),
    Measure("per token, merged, p95", ("inference", "merged", "p95"), "inference", seconds),
)


def measures_of(study: Study) -> list[Measure]:
    """Those that some run has: the held-out loss, every score of its evaluation, then what it cost."""
    names = dict.fromkeys(name for entry in study.entries for name in entry.figures.get("scores", {}))
    scores = [_score(name) for name in names]
    return [m for m in (LOSS, *scores, *FIXED) if any(m.of(entry) is not None for entry in study.entries)]


def _score(name: str) -> Measure:
    ends: dict[str, Literal["low", "high", ""]] = {"lower": "low", "higher": "high", "": ""}
    better = METRICS[name].better if name in METRICS else "higher"  # a metric of the user's own
    return Measure(TITLES.get(name, name.replace("_", " ")), ("scores", name), "quality", better=ends[better])


def groups_of(study: Study) -> list[Group]:
    """In the order of the study's values."""
    found: dict[str, list[Entry]] = {}
    for entry in study.entries:
        found.setdefault(label(entry.settings), []).append(entry)
    return [Group(name, entries[0].settings, tuple(entries)) for name, entries in found.items()]


def spread(group: Group, measure: Measure) -> Spread | None:
    values = group.values(measure)
    if not values:
        return None
    mean = statistics.mean(values)
    if len(values) > 1:
        deviation = statistics.stdev(values)
        return Spread(mean, mean - deviation, mean + deviation, seeds=True)
    low, high = measure.interval(group.finished[0]) or (mean, mean)
    return Spread(mean, low, high, seeds=False)


def cell(group: Group, measure: Measure) -> str:
    found = spread(group, measure)
    if found is None:
        return NONE
    if measure.part != "quality" or found.low == found.high:
        return measure.text(found.mean)
    if found.seeds:
        return f"{places(found.mean, found)} ±{places(found.high - found.mean, found)}"
    return f"{places(found.mean, found)} ({places(found.low, found)}–{places(found.high, found)})"


def places(value: float, within: Spread) -> str:
    """As many places as the spread leaves a meaning: its first two, four at most."""
    width = (within.high - within.low) / 2
    digits = min(4, max(0, 1 - math.floor(math.log10(width) + 1e-9))) if width else 4
    return f"{value:.{digits}f}"


def best_lines(study: Study) -> Iterator[str]:
    """The base, and the best combination by each score, a sentence each."""
    groups, measures = groups_of(study), [m for m in measures_of(study) if m.better]
    if base := _base(study, measures):
        yield f"the base, before training: {base}"
    for measure in measures:
        known = [(group, found) for group in groups if (found := spread(group, measure)) is not None]
        if len(known) < 2:
            continue
        if len({found.mean for _, found in known}) == 1:
            yield f"{measure.title}: {cell(known[0][0], measure)} with all of them"
            continue
        sign = 1 if measure.better == "low" else -1
        best, at = min(known, key=lambda pair: sign * pair[1].mean)
        word = "lowest" if measure.better == "low" else "highest"
        near = [group.label for group, found in known if group is not best and _overlap(found, at)]
        apart = f"; not told apart from it: {'; '.join(near)}" if near else ""
        yield f"{word} {measure.title}: {best.label}, {cell(best, measure)}{apart}"
    if len(study.seeds) == 1 and len(groups) > 1:
        yield "one seed: how far chance moves a result is not known (--seeds 3)"


def faults_of(study: Study) -> list[tuple[str, str, str]]:
    """(which runs, their state, message) of what failed or could not be measured, those that say the same together."""
    found: dict[tuple[str, str], list[str]] = {}
    for entry in study.entries:
        if entry.message:
            found.setdefault((entry.state, entry.message), []).append(f"{label(entry.settings)}, seed {entry.seed}")
    return [("; ".join(names), state, message) for (state, message), names in found.items()]


def _base(study: Study, measures: Sequence[Measure]) -> str:
    for entry in study.entries:
        base = Entry(
            "", {}, 0, figures={key: entry.figures.get(f"base_{key}") or {} for key in ("held_out_loss", "scores")}
        )
        said = [f"{m.title} {figure(value)}" for m in measures if (value := m.of(base)) is not None]
        if said:
            return ", ".join(said) + f" (as {label(entry.settings)} found it)"
    return ""


def _overlap(one: Spread, other: Spread) -> bool:
    """Whether what is known of two means does not tell them apart; a mean without a spread tells nothing of that."""
    known = one.low < one.high or other.low < other.high
    return known and one.low <= other.high and other.low <= one.high
