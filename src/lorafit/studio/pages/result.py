"""The screen of a run's result: losses, scores, before and after, larger evaluations."""

from __future__ import annotations

import asyncio
import math

from nicegui import ui

from lorafit.errors import LorafitError
from lorafit.report.words import NONE, count, figure
from lorafit.run import RunFolder
from lorafit.studio.frame import card, fill, notice, tile
from lorafit.studio.pages.evaluations import Evaluations
from lorafit.studio.pages.run_head import run_head
from lorafit.studio.pages.samples import BeforeAfter
from lorafit.studio.pages.tables import score_table
from lorafit.studio.results import Judged, scores_of, trained
from lorafit.studio.studio import Studio
from lorafit.studio.words import t


def show(studio: Studio, name: str) -> None:
    """Raises StudioError when there is no such run."""
    run = studio.workspace.run(name)
    run_head(studio, name, "result")
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

    async def draw() -> None:
        found = await asyncio.to_thread(lambda: trained(run, studio.runs.curves(name)))
        with tiles:
            after = t("after update {update}", update=count(found.best_update)) if found.best_update else ""
            unseen = t("on rows it never saw: lower is better")
            note = t("; ").join(filter(None, (unseen, after)))
            tile(t("Held-out loss"), _arrow(found.base_loss, found.held_out_loss), note)
            wavers = t("between how many tokens it wavers: lower is better")
            tile(t("Perplexity"), _arrow(_exp(found.base_loss), _exp(found.held_out_loss)), wavers)

    fill(draw)


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
