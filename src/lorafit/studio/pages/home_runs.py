"""The list of runs on the home screen: filtered, in pages, each row redrawn only where it has changed."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from urllib.parse import quote

from nicegui import ui

from lorafit.report.evaluation_view import TITLES
from lorafit.report.words import NONE, count, figure, moment
from lorafit.studio.frame import STATES, button, card
from lorafit.studio.jobs import AT_WORK
from lorafit.studio.runs import Summary
from lorafit.studio.studio import Studio
from lorafit.studio.words import t, t_core, t_duration

PAGE = 25
WIDTH, HEIGHT, MARGIN = 120, 28, 2
FILTERS = {
    "all": ("",),
    "running": AT_WORK,
    "finished": ("finished",),
    "interrupted": ("interrupted",),
    "failed": ("failed", "dead"),
}


class RunList:
    """All runs; what is ticked stays so over pages, filters and refreshes."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._all: Sequence[Summary] = ()
        self._ticked: set[str] = set()
        self._rows: dict[str, _Row] = {}
        with card() as self.card:
            with ui.element("div").classes("between"):
                with ui.element("div").classes("inline"):
                    self._text = ui.input(t("Search"), on_change=self._from_start).props("outlined dense clearable")
                    self._text.props("debounce=200").classes("home-search")
                    words = {name: t("All states") if name == "all" else t_core(name) for name in FILTERS}
                    self._state = ui.select(words, value="all", label=t("State"), on_change=self._from_start)
                    self._state.props("outlined dense").classes("home-state")
                self._compare = button(t("Compare"), self._open_comparison, icon="compare_arrows")
            with ui.element("table").classes("plain-table home-runs"):
                with ui.element("thead"), ui.element("tr"):
                    for name in ("", *_columns()):
                        with ui.element("th").props("scope=col"):
                            ui.label(name)
                self._body = ui.element("tbody")
            self._none = ui.label(t("No run is like that.")).classes("dim")
            with ui.element("div").classes("between"):
                self._counted = ui.label().classes("dim small")
                self._pages = ui.pagination(1, 1, direction_links=True, value=1, on_change=self._draw)
                self._pages.props["aria-label"] = t("Pages of the list")

    def show(self, summaries: Sequence[Summary]) -> None:
        self._all = summaries
        self._ticked &= {run.name for run in summaries}
        self._draw()

    def _from_start(self) -> None:
        self._pages.value = 1
        self._draw()

    def _draw(self) -> None:
        found = [run for run in self._all if _fits(run, self._text.value or "", self._state.value or "all")]
        pages = max(1, math.ceil(len(found) / PAGE))
        page = min(self._pages.value or 1, pages)
        self._pages.max = pages
        self._pages.value = page
        self._pages.set_visibility(pages > 1)
        shown = found[(page - 1) * PAGE : page * PAGE]
        if [run.name for run in shown] != list(self._rows):
            self._body.clear()
            with self._body:
                self._rows = {run.name: _Row(run.name, run.name in self._ticked, self._tick) for run in shown}
        now = time.time()
        for run in shown:
            self._rows[run.name].show(run, now)
        self._none.set_visibility(not found)
        many = t("{shown} of {all} runs", shown=count(len(shown)), all=count(len(self._all)))
        self._counted.text = many if len(shown) < len(self._all) else ""
        self._count_ticked()

    def _tick(self, name: str, ticked: bool) -> None:
        (self._ticked.add if ticked else self._ticked.discard)(name)
        self._count_ticked()

    def _count_ticked(self) -> None:
        self._compare.set_enabled(len(self._ticked) >= 2)
        self._compare.text = t("Compare {count}", count=len(self._ticked)) if self._ticked else t("Compare")

    def _open_comparison(self) -> None:
        chosen = [run.name for run in self._all if run.name in self._ticked]
        ui.navigate.to(f"/compare?runs={','.join(quote(name, safe='') for name in chosen)}")


class _Row:
    """One run. tick: called with its name and whether it is ticked now."""

    def __init__(self, name: str, ticked: bool, tick: Callable[[str, bool], None]) -> None:
        self._seen: Summary | None = None
        with ui.element("tr"):
            with ui.element("td").classes("home-tick"):
                box = ui.checkbox(value=ticked, on_change=lambda event: tick(name, bool(event.value)))
                box.props("dense").props["aria-label"] = t("Compare {name}", name=name)
            _, state, progress, loss, held_out, score, when = _columns()
            with ui.element("td").classes("home-run"):
                ui.link(name, f"/run/{quote(name, safe='')}").classes("home-name")
                self._what = ui.label().classes("dim small")
            with _cell(state):
                self._state = ui.label()
            with _cell(progress), ui.element("div").classes("home-progress"):
                with ui.element("div").classes("bar"):
                    self._bar = ui.element("div")
                self._progress = ui.label().classes("dim small")
            with _cell(loss), ui.element("div").classes("home-loss"):
                self._spark = ui.html("", sanitize=False).classes("spark").props("aria-hidden=true")
                self._loss = ui.label().classes("num")
            with _cell(held_out):
                self._held_out = ui.label().classes("num")
            with _cell(score):
                self._score = ui.label().classes("num")
                self._metric = ui.label().classes("dim small num")
            with _cell(when):
                self._when = ui.label().classes("dim home-when")

    def show(self, run: Summary, now: float) -> None:
        self._when.text = ago(now - run.made)
        if run == self._seen:
            return
        self._seen = run
        self._when.props["title"] = moment(run.made)
        self._what.text = " · ".join(filter(None, (t_core(run.method), run.model)))
        self._state.text = t_core(run.state)
        self._state.classes(replace=f"state {STATES.get(run.state, 'dim')}")
        self._state.props["title"] = run.message
        part = run.update / run.updates if run.updates else 0.0
        self._bar.style(replace=f"width: {100 * min(part, 1):.0f}%")
        self._progress.text = progress_words(run)
        self._spark.content = sparkline(run.sparkline)
        self._loss.text = figure(run.loss)
        self._held_out.text = figure(run.held_out_loss)
        metric, base, tuned = run.score or ("", None, None)
        self._score.text = f"{figure(base)} → {figure(tuned)}" if metric else NONE
        self._metric.text = t_core(TITLES.get(metric, metric.replace("_", " ")))


def _cell(name: str) -> ui.element:
    """name: of its column, shown beside it where the table is too narrow for columns."""
    cell = ui.element("td")
    cell.props["data-name"] = name
    return cell


def _columns() -> tuple[str, ...]:
    return t("Name"), t("State"), t("Progress"), t("Loss"), t("Held-out loss"), t("Base → tuned"), t("When")


def _fits(run: Summary, text: str, state: str) -> bool:
    said = f"{run.name} {run.method} {run.model}".casefold()
    return all(word in said for word in text.casefold().split()) and (state == "all" or run.state in FILTERS[state])


def progress_words(run: Summary) -> str:
    if not run.updates:
        return NONE
    words = t("{update} of {updates}", update=count(run.update), updates=count(run.updates))
    return f"{words} · {left_words(run.seconds_left)}" if run.seconds_left is not None else words


def left_words(seconds: float | None) -> str:
    return t("{time} left", time=t_duration(seconds))


def ago(seconds: float) -> str:
    """How long ago, in the largest unit that fits: the reader's clock may be in another time zone."""
    minutes = int(seconds // 60)
    if minutes < 1:
        return t("just now")
    if minutes < 60:
        return t("{count} min ago", count=minutes)
    if minutes < 48 * 60:
        return t("{count} h ago", count=minutes // 60)
    return t("{count} days ago", count=minutes // (24 * 60))


def sparkline(values: Sequence[float]) -> str:
    """A line through the values as SVG, made of numbers only; empty where there are fewer than two."""
    known = [value for value in values if math.isfinite(value)]
    if len(known) < 2:
        return ""
    low, high = min(known), max(known)
    step = (WIDTH - 2 * MARGIN) / (len(known) - 1)
    scale = (HEIGHT - 2 * MARGIN) / (high - low) if high > low else 0.0
    points = " ".join(
        f"{MARGIN + number * step:.1f},{MARGIN + (high - value) * scale:.1f}" for number, value in enumerate(known)
    )
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" preserveAspectRatio="none">'
        f'<polyline points="{points}" fill="none" stroke="currentColor" stroke-width="1.6" '
        'stroke-linejoin="round" vector-effect="non-scaling-stroke"/></svg>'
    )
