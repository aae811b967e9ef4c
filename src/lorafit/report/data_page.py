"""The data report (data.json) as a page of its own, and as the data section of a run's page."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

from lorafit.data.lines import report_lines, rule_words
from lorafit.report.plots import HEIGHT, WIDTH, Tick, round_step, ticks
from lorafit.report.templates import environment, style
from lorafit.run import write_text

GAP = 0.12  # of the width of a bar
# Lines of the terminal that the page shows as a table or a plot.
DRAWN = {"training", "held out", "prompt", "answer", "both", "cleaning"}


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar in a box of plots.WIDTH by plots.HEIGHT, and its words."""

    x: float
    y: float
    width: float
    height: float
    words: str


@dataclass(frozen=True, slots=True)
class Histogram:
    """marks: (label, percent from the left) of percentiles."""

    title: str
    bars: tuple[Bar, ...]
    x_ticks: tuple[Tick, ...]
    most: int
    marks: tuple[tuple[str, float], ...]
    note: str


@dataclass(slots=True)
class DataView:
    """What the page shows of data.json. whole: whether it is a report as this version writes it."""

    problems: list[dict[str, Any]]
    whole: bool = False
    lines: list[tuple[str, str]] = field(default_factory=list)
    histograms: list[Histogram] = field(default_factory=list)
    sources: list[tuple[str, str, Any, Any, Any]] = field(default_factory=list)
    rules: list[tuple[str, list[Any]]] = field(default_factory=list)

    @property
    def warnings(self) -> int:
        return sum(problem.get("severity") != "note" for problem in self.problems)


def write_data_page(report: dict[str, Any], model: str, target: Path) -> Path:
    """The page of a report, whole or not at all; returns where it is. Raises RunError when it cannot be written."""
    page = environment().get_template("data_page.html")
    name = ", ".join(PurePath(source).name or source for source in report["sources"])
    text = page.render(data=report, view=data_view(report), name=name, model=model, now=time.time(), style=style())
    write_text(target, text.encode("utf-8", "replace").decode())
    return target


def data_view(data: dict[str, Any] | None, said: Collection[str] = ()) -> DataView:
    """said: symptoms that the doctor names already; a problem is not said twice."""
    data = data or {}
    listed = data.get("problems", data.get("warnings"))
    entries = listed if isinstance(listed, list) else []
    problems = [one if isinstance(one, dict) else {"severity": "warning", "text": one} for one in entries]
    view = DataView([one for one in problems if not one.get("symptom") or one["symptom"] not in said])
    try:
        view.lines = [(what, words) for what, words in report_lines(data) if what not in DRAWN]
        titles = (("prompt", "Prompts"), ("answer", "Answers"), ("sample", "Both together"))
        found = (histogram(title, data["lengths"][name]) for name, title in titles)
        view.histograms = [one for one in found if one]
        view.sources = list(_sources(data))
        rules = (data["cleaning"] or {}).get("rules", ())
        view.rules = [(rule_words(rule), rule["examples"]) for rule in rules if rule["found"]]
    except (LookupError, TypeError, AttributeError, ValueError, ArithmeticError):
        return DataView(view.problems)  # of another version, or no report at all: the page shows what it finds
    view.whole = True
    return view


def histogram(title: str, figures: dict[str, Any]) -> Histogram | None:
    """A distribution of lengths (`data/figures.py`) as bars; None where there is none."""
    if not figures["count"] or not figures["max"]:
        return None
    edges, rows = figures["histogram"]["edges"], figures["histogram"]["rows"]
    last, most, step = edges[-1], max(rows), WIDTH / len(rows)
    bars = []
    for place, count in enumerate(rows):
        height = max(HEIGHT * count / most, 4.0) if count else 0.0
        beyond = place == len(rows) - 1 and figures["max"] >= last
        above = f"{edges[place]:,} and more" if beyond else f"{edges[place]:,} to {edges[place + 1] - 1:,}"
        bars.append(Bar(place * step, HEIGHT - height, step * (1 - GAP), height, f"{above} tokens: {count:,} samples"))
    shown = ticks(0, last, max(1.0, round_step(last / 6)))
    marks = [("half", figures["p50"]), ("95 %", figures["p95"])]
    return Histogram(
        title,
        tuple(bars),
        tuple(Tick(at / last * 100, label) for at, label in shown),
        most,
        tuple((label, min(100.0, (value + 0.5) / last * 100)) for label, value in marks),
        f"half up to {figures['p50']:,}, 95 % up to {figures['p95']:,}, longest {figures['max']:,}",
    )


def _sources(data: dict[str, Any]) -> Iterator[tuple[str, str, Any, Any, Any]]:
    """(name, forms, samples, tokens, share of all tokens) of each source."""
    total = sum(figures.get("tokens", 0) for figures in data["sources"].values())
    for name, figures in data["sources"].items():
        forms = ", ".join(f"{form} ({rows:,})" for form, rows in data["forms"].get(name, {}).items())
        tokens = figures.get("tokens", 0)
        yield name, forms, figures.get("samples", 0), tokens, tokens / total if total else None
