"""Curves as the geometry of inline SVG: paths in a box of WIDTH by HEIGHT, labels as shares of it.

The page stretches the box to the room there is and sets the labels beside it as text, so that they keep their size.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lorafit.report.read import Values
from lorafit.report.words import figure

Places = NDArray[np.int64]
WIDTH, HEIGHT = 1000.0, 400.0
COLUMNS = 500  # pixels that a curve has in width, about; more points than two a column are not seen
MOST_DOTS = 80  # more would grow together
SMOOTHED_FROM = 30  # points; fewer are seen singly
LOG_DECADES = 2.0


@dataclass(frozen=True, slots=True)
class Line:
    """A curve. x [N] never falls; y [N], NaN where there is a gap; `style` is its CSS class. marked: gaps get a dot."""

    label: str
    x: Values
    y: Values
    style: str
    smooth: bool = False
    dots: bool = False
    marked: bool = False


@dataclass(frozen=True, slots=True)
class Tick:
    """A place on an axis as a percentage from the left or from the top, and what stands there."""

    at: float
    label: str


@dataclass(frozen=True, slots=True)
class Stroke:
    """An SVG path and its CSS classes."""

    path: str
    style: str


@dataclass(frozen=True, slots=True)
class Plot:
    """What the page needs to draw one. reading: [percent from the left, text] at each place that can be pointed at."""

    title: str
    unit: str
    x_label: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    strokes: tuple[Stroke, ...]
    legend: tuple[tuple[str, str], ...]
    reading: tuple[tuple[float, str], ...]
    note: str
    log: bool

    @property
    def summary(self) -> str:
        """For whoever cannot see the curve."""
        return f"{self.title} over {self.x_label}; at the end: {self.reading[-1][1]}"


def plot(
    title: str,
    lines: Sequence[Line],
    x_label: str,
    unit: str = "",
    may_be_log: bool = False,
    note: str = "",
    includes: Sequence[float] = (),
) -> Plot | None:
    """A plot of all lines that have a finite value; None when none has.

    may_be_log: a logarithmic axis once the values span more than two decades; includes: values that the axis shows.
    """
    lines = [line for line in lines if np.isfinite(line.y).any()]
    if not lines:
        return None
    finite = np.concatenate([*(line.y[np.isfinite(line.y)] for line in lines), np.array(includes)])
    positive = finite[finite > 0]
    log = may_be_log and len(positive) > 0 and math.log10(positive.max() / positive.min()) > LOG_DECADES
    y_axis = log_axis(positive.min(), positive.max()) if log else linear_axis(finite.min(), finite.max())
    left = 0.0 if min(line.x[0] for line in lines) >= 0 else min(line.x[0] for line in lines)
    right = max(line.x[-1] for line in lines)
    right = right if right > left else left + 1
    least = 1.0 if all((line.x == np.round(line.x)).all() for line in lines) else 0.0
    strokes = [stroke for line in lines for stroke in _strokes(line, (left, right), y_axis)]
    return Plot(
        title,
        f"{unit}, logarithmic".removeprefix(", ") if log else unit,
        x_label,
        tuple(
            Tick((at - left) / (right - left) * 100, label)
            for at, label in ticks(left, right, max(least, round_step((right - left) / 7)))
        ),
        tuple(Tick((1 - y_axis.place(at)) * 100, label) for at, label in y_axis.ticks),
        tuple(strokes),
        tuple((line.label, line.style) for line in lines),
        tuple(_reading(lines, left, right, x_label)),
        note,
        log,
    )


@dataclass(frozen=True, slots=True)
class Axis:
    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]
    log: bool = False

    def place(self, values: Any) -> Any:
        """Where values are between the ends, 0 to 1; NaN where a logarithm has none."""
        if not self.log:
            return (values - self.low) / (self.high - self.low)
        with np.errstate(divide="ignore", invalid="ignore"):
            places = np.log10(np.where(np.asarray(values) > 0, values, np.nan))
        return (places - self.low) / (self.high - self.low)


def linear_axis(low: float, high: float) -> Axis:
    """From one round value to another; from 0 where 0 is near."""
    if low == high:
        low, high = (0.0, high * 1.25) if high > 0 else (high - 1, high + 1)
    if 0 < low < high / 2:
        low = 0.0
    step = round_step((high - low) / 5)
    low, high = math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step
    return Axis(low, high, tuple(ticks(low, high, step)))


def log_axis(low: float, high: float) -> Axis:
    """Whole decades, low and high as exponents."""
    first, last = math.floor(math.log10(low) + 1e-9), math.ceil(math.log10(high) - 1e-9)
    every = math.ceil((last - first) / 5)
    shown = range(first, last + 1, every)
    return Axis(
        first,
        last,
        tuple((10.0**power, _tick_label(10.0**power, 10.0**power, 10.0**power)) for power in shown),
        log=True,
    )


def round_step(least: float) -> float:
    """The next of 1, 2, 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in (1, 2, 5, 10, 20) if factor * power >= least * (1 - 1e-9))


def ticks(low: float, high: float, step: float) -> list[tuple[float, str]]:
    """The multiples of `step` from low to high with their labels."""
    first, last = math.ceil(low / step - 1e-6), math.floor(high / step + 1e-6)
    most = max(abs(first), abs(last)) * step
    return [(number * step, _tick_label(number * step, step, most)) for number in range(first, last + 1)]


def _tick_label(value: float, step: float, most: float) -> str:
    """step: from one tick to the next; most: the greatest on the axis, so that all are in the same unit."""
    if value == 0:
        return "0"
    if step < 1e-3:
        mantissa, exponent = f"{value:.1e}".split("e")
        return f"{mantissa.removesuffix('.0')}e{int(exponent)}"
    for letter, scale in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if most >= max(scale, 1e4) and step >= scale / 100:
            return f"{value / scale:g}{letter}"
    return f"{value:,.{max(0, -math.floor(math.log10(step) + 1e-9))}f}"


def smoothed(values: Values, window: int) -> Values:
    """The mean of the finite values in a window centred on each; NaN stays NaN."""
    finite = np.isfinite(values)
    sums = np.cumsum(np.concatenate(([0.0], np.where(finite, values, 0.0))))
    counts = np.cumsum(np.concatenate(([0], finite)))
    places = np.arange(len(values))
    # The window shrinks alike on both sides at the ends: a lopsided one would bend the curve there. It stays a
    # tenth as wide, so that the curve does not end in noise.
    half = np.clip(np.minimum(places, len(values) - 1 - places), window // 10, window // 2)
    first, last = np.maximum(places - half, 0), np.minimum(places + half + 1, len(values))
    with np.errstate(invalid="ignore"):
        means: Values = (sums[last] - sums[first]) / (counts[last] - counts[first])
    return np.where(finite, means, np.nan)


def columns_of(x: Values, left: float, right: float) -> Places:
    """Where each pixel column begins among x that never falls; every point where there are few."""
    if len(x) <= 2 * COLUMNS:
        return np.arange(len(x))
    column = np.minimum(((x - left) / (right - left) * COLUMNS).astype(np.int64), COLUMNS - 1)
    return np.flatnonzero(np.diff(column, prepend=-1))


def extremes(x: Values, y: Values, left: float, right: float) -> tuple[Values, Values]:
    """The least and the greatest value of each pixel column, so that no peak is lost; the line as it is where short."""
    starts = columns_of(x, left, right)
    if len(starts) == len(x):
        return x, y
    pairs = np.stack((np.fmin.reduceat(y, starts), np.fmax.reduceat(y, starts)), axis=1)
    return np.repeat(x[starts], 2), pairs.ravel()


def _strokes(line: Line, ends: tuple[float, float], axis: Axis) -> list[Stroke]:
    smooth = line.smooth and len(line.y) >= SMOOTHED_FROM
    x, y = extremes(line.x, line.y, *ends)
    strokes = [Stroke(_path(x, y, ends, axis), f"{line.style} faint" if smooth else line.style)]
    if smooth:
        starts = columns_of(line.x, *ends)
        strokes.append(Stroke(_path(line.x[starts], _mean_line(line)[starts], ends, axis), line.style))
    if line.dots and len(x) <= MOST_DOTS:
        strokes.append(Stroke(_dots(x, y, ends, axis), f"{line.style} dots"))
    missing = line.x[~np.isfinite(line.y)]
    if line.marked and len(missing):
        floor = np.full(len(missing), 10.0**axis.low if axis.log else axis.low)
        starts = columns_of(missing, *ends)
        strokes.append(Stroke(_dots(missing[starts], floor[starts], ends, axis), "missing dots"))
    return strokes


def _mean_line(line: Line) -> Values:
    return smoothed(line.y, max(5, len(line.y) // 40))


def _points(x: Values, y: Values, ends: tuple[float, float], axis: Axis) -> tuple[Values, Values]:
    left, right = ends
    return (x - left) / (right - left) * WIDTH, (1 - axis.place(y)) * HEIGHT


def _path(x: Values, y: Values, ends: tuple[float, float], axis: Axis) -> str:
    """One polyline for each stretch without gaps; a point alone is a line of no length, which round ends make seen."""
    across, down = _points(x, y, ends, axis)
    parts = []
    for drawn, group in itertools.groupby(zip(across, down, strict=True), lambda point: bool(np.isfinite(point[1]))):
        if drawn:
            points = [f"{a:.1f} {b:.1f}" for a, b in group]
            parts.append(f"M{points[0]}h0" if len(points) == 1 else f"M{'L'.join(points)}")
    return "".join(parts)


def _dots(x: Values, y: Values, ends: tuple[float, float], axis: Axis) -> str:
    across, down = _points(x, y, ends, axis)
    return "".join(f"M{a:.1f} {b:.1f}h0" for a, b in zip(across, down, strict=True) if np.isfinite(b))


def _reading(lines: Sequence[Line], left: float, right: float, x_label: str) -> list[tuple[float, str]]:
    """At each point of the longest line (one in each pixel column): the newest value of every line."""
    longest = max(lines, key=lambda line: len(line.x))
    shown = longest.x[columns_of(longest.x, left, right)]
    shown = np.union1d(shown, [line.x[-1] for line in lines])
    means = {line.label: _mean_line(line) for line in lines if line.smooth and len(line.y) >= SMOOTHED_FROM}
    reading = []
    for x in shown:
        words = []
        for line in lines:
            place = int(np.searchsorted(line.x, x, side="right")) - 1
            if place < 0:
                continue
            value = f"{line.label} {figure(float(line.y[place]))}"
            if line.label in means:
                value += f" (smoothed {figure(float(means[line.label][place]))})"
            if line.x[place] != x and line.dots:
                value += f" (after {line.x[place]:,.0f})"
            words.append(value)
        reading.append((round((x - left) / (right - left) * 100, 2), f"{x_label} {figure_x(x)}: {', '.join(words)}"))
    return reading


def figure_x(x: float) -> str:
    return f"{x:,.0f}" if x == round(x) else figure(float(x))
