"""An evaluation to report.html: one page that needs nothing but itself."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import StrictUndefined
from rich.cells import cell_len

from lorafit.report.differences import Segment, cut, differences
from lorafit.report.evaluation_read import read_evaluation
from lorafit.report.evaluation_view import Category, Evaluation, Metric, Part, Score
from lorafit.report.plots import Axis, Line, Plot, linear_axis, plot
from lorafit.report.templates import environment, script, style
from lorafit.run import read_json, write_text

SHOWN, HELD = 400, 20_000  # characters of a text that are seen at once, and that the page has in all
CATEGORIES = 24  # that are seen at once, an even number
MOST_CATEGORIES = 500
OPEN, MOST_EXAMPLES = 3, 12  # examples of a kind: seen at once, in all
SHORT_NAME = 7  # terminal columns
SMALL = 0.25  # scores that are all below this share of what there is to reach have a scale of their own
STYLES = ("four", "three", "two dashed", "one dashed", "four dashed", "three dashed")  # of further adapters
REASONS = {"stop": "ended by itself", "length": "cut off at the length limit"}


@dataclass(frozen=True, slots=True)
class Bar:
    """A score on the scale of its metric: percentages from the left; left and width of the interval may be None."""

    speaker: str
    style: str
    score: Score
    at: float | None
    left: float | None
    width: float | None


@dataclass(frozen=True, slots=True)
class Row:
    """A metric in the table of scores. ends: the two ends of its scale."""

    metric: Metric
    bars: tuple[Bar, ...]
    ends: tuple[str, str]


@dataclass(frozen=True, slots=True)
class Dots:
    """A category: (speaker, style, percent from the left) of each dot; the stretch from the base to `tuned`."""

    name: str
    questions: int | None
    dots: tuple[tuple[str, str, float], ...]
    left: float
    width: float
    verdict: str
    told: str


@dataclass(frozen=True, slots=True)
class Passage:
    """A text for the page: what is seen, what is folded away, how many characters are left out altogether."""

    shown: list[Segment]
    folded: list[Segment]
    left_out: int
    start: str

    @property
    def folded_characters(self) -> int:
        return sum(len(segment.text) for segment in self.folded) + self.left_out


def write_evaluation_page(folder: Path) -> Path:
    """Make report.html beside evaluation.json, whole or not at all; returns where it is.

    Raises RunError when evaluation.json cannot be read or the page cannot be written.
    """
    target = folder / "report.html"
    text = render(read_json(folder / "evaluation.json"), time.time())
    # JSON may name half a surrogate pair, which UTF-8 cannot hold.
    write_text(target, text.encode("utf-8", "replace").decode())
    return target


def render(content: dict[str, Any], now: float) -> str:
    """The page as text. content: evaluation.json, also of an evaluation that was stopped. now: Unix time."""
    view = read_evaluation(content)
    styles = speaker_styles(view)
    code, code_hash = script()
    return (
        environment(undefined=StrictUndefined)
        .get_template("evaluation.html")
        .render(
            view=view,
            styles=styles,
            parts=[_drawn(part, styles) for part in view.parts],
            passage=passage,
            open=OPEN,
            long=any(cell_len(speaker) > SHORT_NAME for speaker in view.speakers),
            now=now,
            style=style(),
            script=code,
            script_hash=code_hash,
        )
    )


def speaker_styles(view: Evaluation) -> dict[str, str]:
    """A colour for each speaker, the same everywhere on the page."""
    others = [speaker for speaker in view.speakers if speaker not in ("base", "tuned")]
    return {"base": "two", "tuned": "one"} | {
        speaker: STYLES[number % len(STYLES)] for number, speaker in enumerate(others)
    }


def _drawn(part: Part, styles: Mapping[str, str]) -> dict[str, Any]:
    metric = _category_metric(part)
    dots = _dots(part, metric, styles) if metric else []
    half = CATEGORIES // 2
    few = len(dots) <= CATEGORIES
    return {
        "part": part,
        "rows": [_row(metric, styles) for metric in part.metrics],
        "dots_by": metric,
        # The first and the last have moved most.
        "dots": [dots] if few else [dots[:half], dots[-half:]],
        "dots_between": [] if few else dots[half:-half],
        "columns": _columns(part),
        "examples": [
            (title, [one for one in part.examples if one.improved is improved][:MOST_EXAMPLES])
            for title, improved in (("Best improvements", True), ("Worst regressions", False))
        ],
        "lengths": _lengths(part, styles),
        "reasons": [(speaker, _reasons(counts)) for speaker, counts in part.reasons.items()],
    }


def _axis(metric: Metric, values: Sequence[float]) -> Axis:
    """From 0 to all that can be reached; to a round value where there is no bound or all scores are far below it."""
    low, high = min(0.0, *values), max(0.0, *values)
    if low == 0 and metric.high is not None and (high >= SMALL * metric.high or high == 0):
        return Axis(0.0, metric.high, ())
    return linear_axis(low, high if high > low else low + 1)


def _row(metric: Metric, styles: Mapping[str, str]) -> Row:
    scores = metric.scores.values()
    axis = _axis(metric, [v for s in scores for v in (s.value, s.low, s.high) if v is not None] or [0.0])

    def place(value: float | None) -> float | None:
        return None if value is None else float(min(100.0, max(0.0, axis.place(value) * 100)))

    bars = []
    for speaker, score in metric.scores.items():
        left, right = place(score.low), place(score.high)
        width = right - left if left is not None and right is not None else None
        bars.append(Bar(speaker, styles.get(speaker, "four"), score, place(score.value), left, width))
    return Row(metric, tuple(bars), (_end(metric, axis.low), _end(metric, axis.high)))


def _end(metric: Metric, value: float) -> str:
    return f"{value:.0%}" if metric.is_share else f"{value:g}"


def _category_metric(part: Part) -> Metric | None:
    """What examples are sorted by, or else the first metric that categories have."""
    names = {name for category in part.categories for name in category.scores}
    return next((metric for metric in (part.sorting, *part.metrics) if metric and metric.name in names), None)


def _dots(part: Part, metric: Metric, styles: Mapping[str, str]) -> list[Dots]:
    """The categories by a metric, the most improved first."""
    found = [
        (category, {who: score for who, score in category.scores.get(metric.name, {}).items() if score is not None})
        for category in part.categories
    ]
    found = [(category, scores) for category, scores in found if scores]
    axis = _axis(metric, [score for _, scores in found for score in scores.values()] or [0.0])
    sign = -1 if metric.better == "lower" else 1
    found.sort(key=lambda one: sign * _moved(one[1]), reverse=True)
    return [_one_category(category, scores, metric, axis, styles) for category, scores in found[:MOST_CATEGORIES]]


def _moved(scores: Mapping[str, float]) -> float:
    """From the base to the tuned model; the only score where there is one."""
    own = next((score for who, score in scores.items() if who != "base"), None)
    base = scores.get("base")
    return (own or 0.0) - base if base is not None and own is not None else base if base is not None else own or 0.0


def _one_category(
    category: Category, scores: Mapping[str, float], metric: Metric, axis: Axis, styles: Mapping[str, str]
) -> Dots:
    places = {who: float(min(100.0, max(0.0, axis.place(score) * 100))) for who, score in scores.items()}
    ends = [places[who] for who in ("base", "tuned") if who in places]
    verdict = ""
    if len(ends) == 2 and metric.better and scores["base"] != scores["tuned"]:
        verdict = "good" if (scores["tuned"] > scores["base"]) == (metric.better == "higher") else "bad"
    if set(scores) <= {"base", "tuned"}:
        told = " → ".join(metric.told(scores[who]) for who in ("base", "tuned") if who in scores)
    else:
        told = " · ".join(f"{who} {metric.told(score)}" for who, score in scores.items())
    return Dots(
        category.name,
        category.questions,
        tuple((f"{who} {metric.told(scores[who])}", styles.get(who, "four"), at) for who, at in places.items()),
        min(ends, default=0.0),
        max(ends, default=0.0) - min(ends, default=0.0),
        verdict,
        told,
    )


def _columns(part: Part) -> list[tuple[Metric, str]]:
    """(metric, speaker) of a table of all categories; none where the dots tell it all."""
    metrics = [m for m in part.metrics if any(m.name in category.scores for category in part.categories)]
    return [(metric, speaker) for metric in metrics for speaker in metric.scores] if len(metrics) > 1 else []


def _lengths(part: Part, styles: Mapping[str, str]) -> Plot | None:
    """Histograms as steps, in per cent, so that they can be laid over each other."""
    lines = []
    for speaker, (edges, counts) in part.lengths.items():
        shares = np.repeat(np.array(counts, float) / sum(counts) * 100, 2)
        line_style = "three dashed" if speaker == "reference" else styles.get(speaker, "four")
        lines.append(Line(speaker, np.repeat(np.array(edges, float), 2)[1:-1], shares, line_style))
    return plot("Lengths", lines, "tokens", unit="% of the answers", includes=(0.0,))


def _reasons(counts: Mapping[str, float]) -> list[tuple[str, str, float, float]]:
    """(words, style, answers, share) of each way in which answers ended."""
    total = sum(counts.values())
    return [
        (REASONS.get(reason, reason), reason if reason in REASONS else "other", number, number / total)
        for reason, number in counts.items()
    ]


def passage(text: str, references: Sequence[str] = ()) -> Passage:
    """A text of any length; with references what differs from the nearest of them is marked."""
    held = text[:HELD]
    segments = differences(held, references) if references else [Segment(held, "same")] if held else []
    shown, folded = cut(segments, SHOWN)
    return Passage(shown, folded, len(text) - len(held), text[:SHOWN])
