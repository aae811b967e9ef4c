"""The screen of a study: what was varied, what came out with its spread, and the plots of its report."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from nicegui import ui

from lorafit.errors import LorafitError
from lorafit.report.plots import HEIGHT, WIDTH, Plot
from lorafit.report.words import NONE, count, figure
from lorafit.studio.frame import card, follow, heading, notice, state_chip, tile
from lorafit.studio.pages.tables import Cell, plain_table
from lorafit.studio.results import read_study
from lorafit.studio.studio import Studio
from lorafit.studio.words import t, t_core, t_duration

if TYPE_CHECKING:
    from lorafit.study.folder import Study
    from lorafit.study.table import Group, Measure

LOOK_SECONDS = 3.0


def show(studio: Studio, path: str) -> None:
    """path: the study's folder. Raises StudioError for one outside the workspace, RunError for one that is no study."""
    folder = studio.workspace.path(path)
    with ui.element("div"):
        heading(folder.name, 1)
        ui.label(studio.workspace.shown(folder)).classes("dim")
    body = ui.element("div").classes("stack")
    with body:
        ui.label(t("Loading …")).classes("dim")
    seen = 0

    async def look() -> None:
        """Draw anew when a run of the study has ended."""
        nonlocal seen
        try:
            changed = (folder / "study.json").stat().st_mtime_ns
        except OSError:
            changed = -1
        if changed == seen:
            return
        seen = changed
        try:
            draw = await asyncio.to_thread(_read, folder)
        except LorafitError as error:
            body.clear()
            with body:
                notice(t_core(str(error)), "fault")
            return
        body.clear()
        with body:
            draw()

    follow(look, LOOK_SECONDS)


def _read(folder: Path) -> Callable[[], None]:
    """Reads a study; gives what draws it."""
    from lorafit.study.plots import study_plots
    from lorafit.study.table import best_lines, faults_of, groups_of, measures_of

    study = read_study(folder)
    groups, measures = groups_of(study), measures_of(study)
    lines, faults, plots = list(best_lines(study)), faults_of(study), study_plots(study)

    def draw() -> None:
        _facts(study)
        for names, state, message in faults:
            words = t("failed") if state == "failed" else t("finished, not all measured")
            notice(f"{names}: {words}", "fault" if state == "failed" else "warning", message[:2000])
        with card(t("Result")):
            for line in lines:
                ui.label(t_core(line))
            if not lines:
                ui.label(t("No run is finished yet.")).classes("dim")
        if plots:
            with card(t("Scores over what was varied")), ui.element("div").classes("plots"):
                for one in plots:
                    _plot(one)
        _tables(groups, measures)
        _runs(study)

    return draw


def _facts(study: Study) -> None:
    from lorafit.study.axes import short_key, shown

    states = [entry.state for entry in study.entries]
    with ui.element("div").classes("tiles"):
        done = t("{done} of {count}", done=states.count("finished"), count=len(states))
        tile(t("Runs finished"), done)
        for key, values in study.axes.items():
            tile(short_key(key, study.axes), ", ".join(map(shown, values)))
        tile(t("Seeds"), ", ".join(map(str, study.seeds)))
        tile(t("Time"), t_duration(sum(entry.seconds for entry in study.entries)))


def _tables(groups: Sequence[Group], measures: Sequence[Measure]) -> None:
    from lorafit.study.table import cell

    parts = {"quality": t("On held-out data"), "training": t("In training"), "inference": t("Afterwards")}
    with card(t("Figures"), t("Mean and standard deviation over the seeds; of one seed, the 95 % interval.")):
        for part, title in parts.items():
            here = [measure for measure in measures if measure.part == part]
            if not here:
                continue
            heading(title, 3)
            rows = [[group.label, *(cell(group, measure) for measure in here)] for group in groups]
            plain_table(title, ["", *(t_core(measure.title) for measure in here)], rows)


def _runs(study: Study) -> None:
    with card(t("Runs")):
        rows: list[list[Cell]] = []
        for entry in study.entries:
            loss, state = figure(entry.figures.get("held_out_loss")), entry.state
            time = t_duration(entry.seconds) if entry.seconds else NONE
            rows.append([entry.name, partial(state_chip, state), time, loss])
        plain_table(t("Runs"), ["", t("State"), t("Time"), t("Held-out loss")], rows)
        ui.label(t("{count} runs, each an ordinary run folder in the study's runs/.", count=count(len(rows)))).classes(
            "dim small"
        )


def _plot(plot: Plot) -> None:
    """As the report draws it: strokes of numbers in an SVG, every word a label beside it."""
    with ui.element("figure").classes("plot"):
        with ui.element("figcaption"):
            ui.label(t_core(plot.title)).classes("strong")
            if plot.unit:
                ui.label(t_core(plot.unit)).classes("dim small")
            for label, style in plot.legend:
                with ui.element("span").classes("plot-key"):
                    ui.element("i").classes(f"key {style}")
                    ui.label(label).classes("small")
        with ui.element("div").classes("plot-frame"):
            for tick in plot.y_ticks:
                ui.label(tick.label).classes("tick y").style(f"top: {tick.at:.2f}%")
            _strokes(plot)
            for tick in plot.x_ticks:
                ui.label(tick.label).classes(f"tick x{' last' if tick.at > 97 else ''}").style(f"left: {tick.at:.2f}%")
            ui.label(plot.x_label).classes("tick x-label")
            for at, text in plot.reading:
                point = ui.element("div").classes("reading-at").style(f"left: {at:.2f}%").props("tabindex=0")
                point.props["aria-label"] = text
                with point:
                    ui.tooltip(text).classes("reading-tip")


def _strokes(plot: Plot) -> None:
    svg = ui.element("svg").props("preserveAspectRatio=none aria-hidden=true")
    svg.props["viewBox"] = f"0 0 {WIDTH:.0f} {HEIGHT:.0f}"
    with svg:
        lines = "".join(f"M0 {tick.at / 100 * HEIGHT:.1f}H{WIDTH:.0f}" for tick in plot.y_ticks)
        ui.element("path").classes("grid-line").props["d"] = lines
        for stroke in plot.strokes:
            ui.element("path").classes(stroke.style).props["d"] = stroke.path
