"""Tables, score tables and strips of intervals, as several screens show them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from nicegui import ui
from nicegui.elements.mixins.text_element import TextElement

from lorafit.report.evaluation_view import Change, Metric, Score
from lorafit.report.words import NONE
from lorafit.studio.results import Bounds, Judged
from lorafit.studio.words import t, t_core

VERDICTS = {"good": "good-text", "bad": "bad-text", "same": "dim", "differs": "", "unsure": "dim"}
STYLES = ("one", "two", "three", "four")
Cell = str | Callable[[], object]


def plain_table(name: str, heads: Sequence[str], rows: Sequence[Sequence[Cell]]) -> ui.element:
    """A table that scrolls by itself where it is wide. The first cell of a row is its head; a cell is text or draws
    itself."""
    box = ui.element("div").classes("wide-table").props("tabindex=0 role=region")
    box.props["aria-label"] = name
    with box, ui.element("table").classes("plain-table"):
        if any(heads):
            with ui.element("thead"), ui.element("tr"):
                for head in heads:
                    TextElement(tag="th", text=head).props("scope=col")
        with ui.element("tbody"):
            for row in rows:
                with ui.element("tr"):
                    for number, cell in enumerate(row):
                        _cell(cell, is_head=number == 0)
    return box


def _cell(cell: Cell, is_head: bool) -> None:
    tag, props = ("th", "scope=row") if is_head else ("td", "")
    if isinstance(cell, str):
        TextElement(tag=tag, text=cell).props(props)
        return
    with ui.element(tag).props(props):
        cell()


def score_table(judged: Judged, number: int) -> None:
    """The metrics of a part: each speaker's score with its interval, and what differs from the base in words."""
    part = judged.view.parts[number]
    speakers = [who for who in judged.view.speakers if any(who in metric.scores for metric in part.metrics)]
    others = [who for who in speakers if who != "base"]
    heads = ["", *map(speaker_words, speakers), t("Against the base")]
    rows: list[list[Cell]] = []
    for metric in part.metrics:
        most = _most(metric)
        scores: list[Cell] = [
            partial(_score, metric, metric.scores.get(who), STYLES[place % 4], most)
            for place, who in enumerate(speakers)
        ]
        rows.append([t_core(metric.title), *scores, partial(_changes, judged, number, metric, others)])
    table = plain_table(t("Scores"), heads, rows)
    table.classes("score-table").style(f"--speakers: {max(1, len(speakers))}")


def _score(metric: Metric, score: Score | None, style: str, most: float) -> None:
    if score is None:
        ui.label(NONE).classes("dim")
        return
    with ui.element("div").classes("score"):
        ui.label(metric.told(score.value)).classes("figure small-figure")
        if score.low is not None and score.high is not None:
            ui.label(f"{metric.told(score.low)} – {metric.told(score.high)}").classes("dim small")
        if score.value is not None and most > 0:
            strip(score.low, score.value, score.high, most, style)
        if score.note:
            ui.label(t_core(score.note)).classes("dim small")


def strip(low: float | None, value: float, high: float | None, most: float, style: str) -> None:
    """A score on a line from 0 to `most`, with its interval as a bar. Only for the eye: the figures stand above."""

    def place(at: float) -> float:
        return round(min(100.0, max(0.0, at / most * 100)), 2)

    with ui.element("div").classes("strip").props("aria-hidden=true"):
        if low is not None and high is not None:
            width = round(place(high) - place(low), 2)
            ui.element("div").classes(f"strip-bar {style}").style(f"left: {place(low)}%; width: {width}%")
        ui.element("div").classes(f"strip-dot {style}").style(f"left: {place(value)}%")


def _most(metric: Metric) -> float:
    if metric.is_share:
        return 1.0
    ends = [end for score in metric.scores.values() for end in (score.value, score.high) if end is not None]
    return max(ends, default=0.0) * 1.05


def _changes(judged: Judged, number: int, metric: Metric, speakers: Sequence[str]) -> None:
    for who in speakers:
        change = metric.changes.get(who)
        if change is not None:
            words = said(metric, change, judged.bound(number, metric, who))
            shown = words if len(speakers) == 1 else t("{who}: {words}", who=speaker_words(who), words=words)
            ui.label(shown).classes(VERDICTS[change.verdict])


def said(metric: Metric, change: Change, bounds: Bounds) -> str:
    """A difference in words, with what it rests on."""
    value = change.value
    if value is None:
        return t("not tested")
    sign = -1 if change.verdict in ("good", "bad") and value < 0 else 1
    by = moved(
        metric, abs(value) if change.verdict in ("good", "bad") else value, change.verdict not in ("good", "bad")
    )
    if change.verdict == "unsure" or bounds.low is None or bounds.high is None:
        words = {"good": t("better by {by}", by=by), "bad": t("worse by {by}", by=by), "same": t("the same")}
        return words.get(change.verdict, t("{by}, not tested", by=by))
    ends = sorted((sign * bounds.low, sign * bounds.high))
    low, high = (_end(metric, end, signed=change.verdict in ("same", "differs")) for end in ends)
    interval = t("95 % interval {low} to {high}", low=low, high=high)
    if change.verdict == "good":
        return t("better by {by} ({interval})", by=by, interval=interval)
    if change.verdict == "bad":
        return t("worse by {by} ({interval})", by=by, interval=interval)
    if change.verdict == "differs":
        return t("different by {by} ({interval})", by=by, interval=interval)
    return _not_told_apart(by, interval, bounds)


def _not_told_apart(by: str, interval: str, bounds: Bounds) -> str:
    samples = f"{bounds.samples or 0:,.0f}"
    words = t("not distinguishable on {samples} samples: {by} ({interval})", samples=samples, by=by, interval=interval)
    if bounds.needed is None or not (bounds.samples or 0) < bounds.needed <= 1_000_000:
        return words
    needed = f"{float(f'{bounds.needed:.2g}'):,.0f}"
    return t("{words}. About {needed} samples would show a true difference of this size.", words=words, needed=needed)


def moved(metric: Metric, value: float, signed: bool) -> str:
    """A difference in the metric's unit."""
    text = _end(metric, value, signed)
    return t("{number} points", number=text) if metric.is_share else text


def _end(metric: Metric, value: float, signed: bool) -> str:
    scaled, digits = (value * 100, 1) if metric.is_share else (value, 2)
    return f"{scaled:{'+' if signed else ''},.{digits}f}"


def speaker_words(name: str) -> str:
    """`base`, `tuned`, `base + 3 shots` in the reader's language."""
    if name.startswith("base + ") and name.endswith(" shots"):
        return t("base with {count} examples", count=name.split()[2])
    return {"base": t("base"), "tuned": t("tuned")}.get(name, name)
