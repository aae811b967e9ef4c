"""The first screen: this machine, what was begun, the queue, and every run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from nicegui import ui

from lorafit.errors import LorafitError
from lorafit.studio.drafts import Draft
from lorafit.studio.frame import button, card, follow, heading, main_button, notice
from lorafit.studio.jobs import Job
from lorafit.studio.machine import InUse
from lorafit.studio.pages.home_machine import MACHINE, MachineCard
from lorafit.studio.pages.home_queue import QueueCard
from lorafit.studio.pages.home_runs import RunList
from lorafit.studio.pages.home_studies import StudyList
from lorafit.studio.pages.steps import step_words
from lorafit.studio.results import FoundStudy, studies
from lorafit.studio.runs import Summary
from lorafit.studio.studio import Studio
from lorafit.studio.words import t, t_core

REFRESH_SECONDS = 2.0
DRAFTS_SHOWN = 5
BUILTIN = {"model.name": "builtin", "data.train": "builtin"}


@dataclass(frozen=True)
class Seen:
    """What the disk and the machine said at one moment."""

    runs: list[Summary]
    studies: list[FoundStudy]
    jobs: list[Job]
    machine: InUse


def look(studio: Studio) -> Seen:
    """Slow on the first call for many runs: not for the event loop. Sees to it that the queue is carried out."""
    studio.queue.carry_on()
    return Seen(studio.runs.summaries(), studies(studio.workspace), studio.queue.jobs(), MACHINE.sample())


def show(studio: Studio) -> None:
    with ui.element("div").classes("between"):
        heading(t("Runs"), 1)
        top = main_button(t("New run"), lambda: ui.navigate.to("/new"), icon="add")
    said = ui.element("div").classes("home-said").props("role=alert")
    welcome = _welcome(studio)
    machine = MachineCard(studio)
    _drafts(studio)
    queue = QueueCard(studio, lambda: refresh())
    runs = RunList(studio)
    found = StudyList(studio.workspace)
    for part in (top, welcome, runs.card):  # which of them is to be seen comes with the first look
        part.set_visibility(False)
    faults: list[str] = []

    async def refresh() -> None:
        try:
            seen = await asyncio.to_thread(look, studio)
        except (LorafitError, OSError) as error:  # the workspace is gone or cannot be written
            if faults != [str(error)] and not said.is_deleted:
                faults[:] = [str(error)]
                said.clear()
                with said:
                    notice(t_core(str(error)), "fault")
            return
        if said.is_deleted:  # the page was closed meanwhile
            return
        if faults:
            faults.clear()
            said.clear()
        new = not seen.runs and not seen.jobs
        welcome.set_visibility(new)
        top.set_visibility(not new)
        runs.card.set_visibility(bool(seen.runs))
        machine.show(seen.machine)
        queue.show(seen.jobs, {run.name: run for run in seen.runs})
        runs.show(seen.runs)
        found.show(seen.studies)

    follow(refresh, REFRESH_SECONDS)


def _welcome(studio: Studio) -> ui.element:
    """What to do in an empty workspace."""

    def try_it() -> None:
        try:
            draft = studio.drafts.new(BUILTIN)
        except LorafitError as error:
            ui.notify(t_core(str(error)), type="negative", multi_line=True)
        else:
            ui.navigate.to(f"/new/{draft.id}/review")

    with card(t("Teach a language model your own data")) as section:
        section.classes("home-welcome")
        ui.label(
            t(
                "lorafit takes a model that can already read and write, and trains a small addition to it with your "
                "examples: questions with the answers that you want, conversations or texts."
            )
        )
        ui.label(
            t(
                "You choose a model and a file; lorafit reads the file, proposes every setting, tells beforehand "
                "whether it fits this machine, and shows afterwards what has become better."
            )
        )
        with ui.element("div").classes("inline"):
            main_button(t("New run"), lambda: ui.navigate.to("/new"), icon="add")
            button(t("Try it with the built-in data"), try_it)
        note = t("The built-in model and data need no download: a first run takes a minute or two on a processor.")
        ui.label(note).classes("dim small")
    return section


def _drafts(studio: Studio) -> None:
    """What was begun and not started; a draft with neither model nor data is none."""
    begun = [draft for draft in studio.drafts.all() if not draft.is_empty][:DRAFTS_SHOWN]
    if not begun:
        return
    with card(t("Begun")) as section:
        for draft in begun:
            with ui.element("div").classes("between home-draft") as row:
                path = f"/new/{quote(draft.id, safe='')}/{quote(draft.step, safe='')}"
                with ui.element("div").classes("inline"):
                    ui.link(t("Go on with {what}", what=_draft_words(draft)), path).classes("home-name")
                    ui.label(step_words(draft.step)).classes("dim small")
                away = button(t("Throw away"), _throw_away(studio, draft, row, section))
                away.props["aria-label"] = t("Throw away {what}", what=_draft_words(draft))


def _throw_away(studio: Studio, draft: Draft, row: ui.element, section: ui.element) -> Callable[[], Any]:
    async def ask() -> None:
        with ui.dialog() as dialog, ui.card():
            ui.label(t("Throw away this draft and its settings?"))
            ui.label(_draft_words(draft)).classes("dim")
            with ui.element("div").classes("inline"):
                button(t("Cancel"), lambda: dialog.submit(False))
                main_button(t("Throw away"), lambda: dialog.submit(True))
        sure = await dialog
        dialog.delete()
        if not sure:
            return
        try:
            studio.drafts.remove(draft.id)
        except LorafitError as error:
            ui.notify(t_core(str(error)), type="negative", multi_line=True)
        row.delete()
        section.set_visibility(any(isinstance(part, ui.link) for part in section.descendants()))

    return ask


def _draft_words(draft: Draft) -> str:
    """Its name, else its model and data."""
    settings = draft.settings
    data = settings.get("data.train")
    files = data if isinstance(data, list) else [data] if data else []
    chosen = [str(settings["model.name"])] if "model.name" in settings else []
    chosen += [Path(str(file)).name for file in files[:1]]
    return str(settings.get("name") or " · ".join(chosen) or draft.id)
