"""The screen of a run's result: losses, scores, before and after, larger evaluations."""

from __future__ import annotations

import asyncio
import math
from urllib.parse import quote

from nicegui import ui

from lorafit.errors import LorafitError
from lorafit.report.words import NONE, count, figure
from lorafit.run import RunFolder
from lorafit.studio.frame import card, heading, notice, state_chip, tile
from lorafit.studio.pages.evaluations import Evaluations
from lorafit.studio.pages.samples import BeforeAfter
from lorafit.studio.pages.tables import score_table
from lorafit.studio.results import Judged, scores_of, trained
from lorafit.studio.studio import Studio
from lorafit.studio.words import t


def show(studio: Studio, name: str) -> None:
    """Raises StudioError when there is no such run."""
    run = studio.workspace.run(name)
    with ui.row().classes("between"):
        with ui.row().classes("inline"):
            heading(name, 1)
            state_chip(studio.runs.summary(name).state)
        with ui.row().classes("inline"):
            ui.link(t("Run"), f"/run/{quote(name, safe='')}")
            ui.link(t("Chat"), f"/chat?runs=base,{quote(name, safe='')}")
            ui.link(t("Export"), f"/export/{quote(name, safe='')}")
    _losses(studio, run, name)
    try:
        scores = scores_of(run)
    except LorafitError as error:
        scores = None
        notice(str(error), "fault")
    _scores(scores, studio.runs.summary(name).state)
    Evaluations(studio, run, name)
    if scores is not None:
        BeforeAfter(run, scores.view.parts[0].metrics)


def _losses(studio: Studio, run: RunFolder, name: str) -> None:
    tiles = ui.element("div").classes("tiles losses")

    async def fill() -> None:
        found = await asyncio.to_thread(lambda: trained(run, studio.runs.curves(name)))
        with tiles:
            after = t("after update {update}", update=count(found.best_update)) if found.best_update else ""
            tile(t("Held-out loss"), _arrow(found.base_loss, found.held_out_loss), after)
            tile(t("Perplexity"), _arrow(_exp(found.base_loss), _exp(found.held_out_loss)), t("e to the held-out loss"))

    ui.timer(0, fill, once=True)


def _arrow(before: float | None, after: float | None) -> str:
    known = [figure(value) for value in (before, after) if value is not None]
    return " → ".join(known) or NONE


def _exp(loss: float | None) -> float | None:
    return None if loss is None or loss > 700 else math.exp(loss)


def _scores(scores: Judged | None, state: str) -> None:
    if scores is None:
        ended = state in ("finished", "failed", "interrupted", "dead")
        with card(t("Scores")):
            if ended:
                notice(t("This run was not scored: its recipe asks no prompts, or it ended before."))
            else:
                notice(t("Base and tuned are compared when training is done."))
        return
    part = scores.view.parts[0]
    with card(t("Scores"), t("On {count} held-out prompts, with 95 % intervals.", count=count(part.questions))):
        if part.metrics:
            score_table(scores, 0)
        else:
            ui.label(t("This version of the file tells no scores.")).classes("dim")
