"""The screen on which runs stand beside one another: what differs in their settings, their curves, their figures."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from functools import partial
from typing import Any
from urllib.parse import quote

from nicegui import ui

from lorafit.errors import LorafitError
from lorafit.report.words import NONE
from lorafit.studio.comparing import Column, Compared, columns_of, compared, is_measured_on
from lorafit.studio.frame import card, fill, heading, main_button, notice
from lorafit.studio.pages.charts import chart_colours
from lorafit.studio.pages.tables import Cell, plain_table
from lorafit.studio.results import differing
from lorafit.studio.studio import Studio
from lorafit.studio.words import t, t_core

MOST = 12  # runs
LONGEST = 80  # characters of a setting


def show(studio: Studio, names: list[str]) -> None:
    """Raises StudioError for a name that is no run's."""
    names = list(dict.fromkeys(names))
    runs = [studio.workspace.run(name) for name in names[:MOST]]
    heading(t("Compare runs"), 1)
    _choose(studio, names)
    if len(names) > MOST:
        notice(t("Only the first {count} are shown.", count=MOST), "warning")
    if len(runs) < 2:
        notice(t("Choose two or more runs."))
        return
    body = ui.element("div").classes("stack")
    with body:
        ui.label(t("Loading …")).classes("dim")

    async def draw() -> None:
        try:
            found = await asyncio.to_thread(lambda: [compared(run, studio.runs) for run in runs])
        except LorafitError as error:
            body.clear()
            with body:
                notice(t_core(str(error)), "fault")
            return
        body.clear()
        with body:
            _figures(found)
            _curves(found)
            _settings(found)

    fill(draw)


def _choose(studio: Studio, names: Sequence[str]) -> None:
    known = [summary.name for summary in studio.runs.summaries()]
    with ui.element("div").classes("inline"):
        chosen = ui.select(known, value=[name for name in names if name in known], multiple=True, label=t("Runs"))
        chosen.props("outlined dense use-chips").classes("runs-field")

        def go() -> None:
            ui.navigate.to(f"/compare?runs={','.join(quote(name, safe='') for name in chosen.value)}")

        main_button(t("Compare"), go)


def _figures(runs: Sequence[Compared]) -> None:
    columns = columns_of(runs)
    marks = [column.marks() for column in columns]
    rows: list[list[Cell]] = []
    for place, run in enumerate(runs):
        cells: list[Cell] = [
            partial(_figure, column, mark[place], place) for column, mark in zip(columns, marks, strict=True)
        ]
        rows.append([partial(_link, run.name), *cells])
    with card(t("Figures")):
        _warn(runs)
        plain_table(t("Figures"), [t("Run"), *(t_core(column.title) for column in columns)], rows)
        for words in (
            t("Scores of the tuned models with 95 % intervals; near: not told apart from the best by them."),
            t("Time is that of training, speed the median, size that of the weights that are kept."),
        ):
            ui.label(words).classes("dim small")


def _warn(runs: Sequence[Compared]) -> None:
    """Say so where losses and scores are not of the same rows."""
    names = [name for name in differing([run.settings for run in runs]) if is_measured_on(name)]
    if names:
        words = t("Not measured alike: these runs differ in {names}, so their losses and scores may not be comparable.",
                  names=", ".join(names))  # fmt: skip
        notice(words, "warning")


def _link(name: str) -> None:
    ui.link(name, f"/result/{quote(name, safe='')}")


def _figure(column: Column, mark: str, place: int) -> None:
    value = column.values[place]
    if value is None:
        ui.label(NONE).classes("dim")
        return
    interval = column.intervals[place] if column.intervals else None
    with ui.element("div").classes("score"):
        with ui.element("div").classes("inline"):
            ui.label(column.text(value)).classes("strong" if mark == "best" else "")
            if mark:
                ui.label(t("best") if mark == "best" else t("near")).classes(f"mark {mark}")
        if interval:
            ui.label(f"{column.text(interval[0])} – {column.text(interval[1])}").classes("dim small")


def _curves(runs: Sequence[Compared]) -> None:
    lines = {run.name: run.held_out for run in runs}
    with card(t("Held-out loss"), t("over the number of the update")):
        if not any(lines.values()):
            ui.label(t("No held-out loss was measured.")).classes("dim")
            return
        chart = ui.echart(_chart(lines)).classes("chart").props("role=img")
        chart.props["aria-label"] = t("Held-out loss")


def _chart(lines: dict[str, list[tuple[float, float]]]) -> dict[str, Any]:
    colours = chart_colours()
    ink, axis = {"color": colours["ink"]}, {"lineStyle": {"color": colours["rule"]}}
    names = ("one", "two", "three", "four")
    # A fifth line has the first colour again, and another stroke and mark.
    strokes, marks = ("solid", "dashed", "dotted"), ("circle", "rect", "triangle")
    return {
        "animation": False,
        "grid": {"left": 56, "right": 20, "top": 20, "bottom": 30 + 24 * -(-len(lines) // 3)},
        "legend": {"bottom": 0, "type": "scroll", "textStyle": ink},
        "tooltip": {"trigger": "axis", "renderMode": "richText", "order": "valueAsc"},
        "xAxis": {"type": "value", "axisLine": axis, "axisLabel": ink, "splitLine": {"show": False}},
        "yAxis": {"type": "value", "scale": True, "axisLabel": ink, "splitLine": axis},
        "series": [
            {
                "type": "line",
                "name": name,
                "data": [list(point) for point in points],
                "color": colours[names[place % 4]],
                "symbol": marks[place // 4],
                "symbolSize": 6,
                "showSymbol": len(points) < 80,
                "lineStyle": {"width": 2, "type": strokes[place // 4]},
            }
            for place, (name, points) in enumerate(lines.items())
        ],
    }


def _settings(runs: Sequence[Compared]) -> None:
    found = differing([run.settings for run in runs])
    with card(t("Settings that differ")):
        if not found:
            ui.label(t("None: they differ in nothing but their names.")).classes("dim")
            return
        rows = [[name, *map(_setting, values)] for name, values in found.items()]
        plain_table(t("Settings that differ"), ["", *(run.name for run in runs)], rows)


def _setting(value: Any) -> str:
    if value is None:
        return NONE
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return f"{text[:LONGEST]} …" if len(text) > LONGEST else text
