"""Scores against what was varied, as the report draws curves: points of the mean, bars of the spread."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import TypeGuard

import numpy as np

from lorafit.report.curves import STYLES
from lorafit.report.plots import Line, Plot, Tick, plot
from lorafit.study.axes import label, short_key, shown
from lorafit.study.folder import Study
from lorafit.study.table import Group, Measure, Spread, cell, groups_of, measures_of, spread

DOUBLED = 1.8  # from one value to the next on average: from here on a logarithmic axis


def study_plots(study: Study) -> list[Plot]:
    """One for each score: the axis is the key with most values; combinations of the others are lines of their own."""
    key = max(study.axes, key=lambda name: len(study.axes[name]), default="")
    if not key or len(study.axes[key]) < 2:
        return []
    title = short_key(key, study.axes)
    found = (_plot(study, key, title, measure) for measure in measures_of(study) if measure.part == "quality")
    return [one for one in found if one]


def _plot(study: Study, key: str, title: str, measure: Measure) -> Plot | None:
    known = [(group, found) for group in groups_of(study) if (found := spread(group, measure)) is not None]
    if not known:
        return None
    places = _places(study.axes[key])
    joined = all(map(_is_number, study.axes[key]))  # between names there is nothing that a line could mean
    by_others: dict[str, list[tuple[float, Spread]]] = {}
    for group, found in known:
        others = {other: value for other, value in group.settings.items() if other != key}
        by_others.setdefault(label(others) if others else "", []).append((places[shown(group.settings[key])], found))
    lines = [
        line
        for number, (name, points) in enumerate(by_others.items())
        for line in _lines(name or measure.title, points, STYLES[number % len(STYLES)], joined)
    ]
    unit = (
        f"mean and standard deviation over {len(study.seeds)} seeds" if any(found.seeds for _, found in known) else ""
    )
    if not unit and any(found.low < found.high for _, found in known):
        unit = "with the 95 % interval over the prompts"
    drawn = plot(measure.title, lines, title, unit)
    if drawn is None:
        return None
    right = max(places[shown(group.settings[key])] for group, _ in known) or 1.0
    ends = {name: place / right * 100 for name, place in places.items() if place <= right}
    return dataclasses.replace(
        drawn,
        x_ticks=tuple(Tick(at, name) for name, at in ends.items()),
        legend=tuple(entry for entry in drawn.legend if entry[0]) if len(by_others) > 1 else (),
        reading=tuple(_reading([group for group, _ in known], key, measure, ends)),
    )


def _lines(name: str, points: Sequence[tuple[float, Spread]], style: str, joined: bool) -> list[Line]:
    """The means as dots, joined or each alone, and a bar through each from its low to its high end."""
    points = sorted(points, key=lambda point: point[0])
    x = np.array([place for place, _ in points])
    means = np.array([found.mean for _, found in points])
    bars = np.array([(found.low, found.high, math.nan) for _, found in points])
    if not joined:
        x_means, means = np.repeat(x, 2), np.stack((means, np.full(len(means), math.nan)), axis=1).ravel()
    else:
        x_means = x
    return [Line(name, x_means, means, style, dots=True), Line("", np.repeat(x, 3), bars.ravel(), style)]


def _places(values: Sequence[object]) -> dict[str, float]:
    """Where each value stands, from 0 on: by its logarithm where values double, one by one where they are names."""
    numbers = [value for value in values if _is_number(value)]
    if len(numbers) < len(values):
        return {shown(value): float(place) for place, value in enumerate(values)}
    least, most = min(numbers), max(numbers)
    if least > 0 and (most / least) ** (1 / (len(numbers) - 1)) >= DOUBLED:
        return {shown(value): math.log2(value / least) for value in numbers}
    return {shown(value): value - least for value in numbers}


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _reading(
    groups: Sequence[Group], key: str, measure: Measure, ends: dict[str, float]
) -> Iterator[tuple[float, str]]:
    for value, at in ends.items():
        here = [g for g in groups if shown(g.settings[key]) == value]
        if here:
            yield round(at, 2), f"{measure.title}: " + "; ".join(f"{g.label} {cell(g, measure)}" for g in here)
