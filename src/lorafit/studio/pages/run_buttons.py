"""What can be done with a run from its screen."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote

from nicegui import ui

from lorafit.errors import LorafitError
from lorafit.studio.drafts import set_apart
from lorafit.studio.form import setting_of
from lorafit.studio.frame import button, heading, main_button
from lorafit.studio.recipes import recipe_of
from lorafit.studio.studio import Studio
from lorafit.studio.watching import Sight
from lorafit.studio.words import t, t_core


class RunButtons:
    """What can be done with a run in its state. root: stays when the buttons go, as they do when the state changes."""

    def __init__(self, studio: Studio, sight: Sight, root: ui.element, again: Callable[[], Awaitable[None]]) -> None:
        self._studio, self._sight, self._root, self._again = studio, sight, root, again
        name = quote(sight.name)
        if sight.state == "queued":
            button(t("Take out of the queue"), self._in_root(self._cancel), "playlist_remove")
        elif sight.is_working:
            self._stop_button = button(t("Stop"), self._in_root(self._ask), "stop")
        changes = [str(finding["setting"]) for finding in sight.findings if finding.get("setting")]  # the worst first
        change = changes[0] if changes and sight.state == "failed" and sight.recipe else ""
        if change:
            words = t("Run again with {setting}", setting=change)
            main_button(words, self._in_root(lambda: run_again(studio, sight, change)), "healing")
        if sight.summary and sight.state in ("interrupted", "failed", "dead"):
            resume = button if change else main_button
            resume(t("Resume"), self._in_root(self._resume), "play_arrow")
        if sight.state == "finished":
            main_button(t("Results"), lambda: ui.navigate.to(f"/result/{name}"), "fact_check")
            button(t("Chat"), lambda: ui.navigate.to(f"/chat?runs=base,{name}"), "forum")
            button(t("Export"), lambda: ui.navigate.to(f"/export/{name}"), "archive")
        if sight.report:
            button(
                t("Report"), lambda: ui.navigate.to(f"/download/run/{name}/report.html", new_tab=True), "description"
            )
        if sight.recipe:
            button(t("Run again with changes"), self._in_root(lambda: run_again(studio, sight)), "edit_note")

    def _in_root(self, act: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
        async def handler() -> None:
            with self._root:
                await act()

        return handler

    async def _ask(self) -> None:
        with ui.dialog() as dialog, ui.card().classes("card"):
            heading(t("Stop this run?"))
            if self._sight.summary:
                ui.label(t("It finishes its update and saves. Resume goes on from there, with the same result."))
            else:
                ui.label(t("It has not begun to train, so that nothing is lost."))
            with ui.element("div").classes("inline"):
                main_button(t("Stop"), lambda: dialog.submit(True), "stop")
                button(t("Go on training"), lambda: dialog.submit(False))
        if await dialog:
            await self._stop()
        dialog.delete()

    async def _stop(self) -> None:
        sight, queue = self._sight, self._studio.queue
        starts = sight.job is not None and sight.job.state == "running"
        if await done(lambda: queue.cancel(sight.job.id) if starts and sight.job else queue.stop_run(sight.name)):
            ui.notify(t("It stops after the update that it is at. Stop again, after ten seconds, ends it at once."))
            self._stop_button.set_text(t("Stopping …"))

    async def _cancel(self) -> None:
        job = self._sight.job
        if job and await done(lambda: self._studio.queue.cancel(job.id)):
            await self._again()

    async def _resume(self) -> None:
        if await done(self._add_resume):
            await self._again()

    def _add_resume(self) -> None:
        name = self._sight.name
        recipe_of(self._studio.workspace.run(name).recipe)
        self._studio.queue.add("resume", ["resume", f"runs/{name}"], name, run=name)


async def run_again(studio: Studio, sight: Sight, change: str = "") -> None:
    """Open a draft with all that this run's recipe says, but for its name. change: a setting on top, `key=value`."""
    recipe, made = sight.recipe, []

    def make() -> None:
        assert recipe is not None
        settings = set_apart(recipe_of(recipe))
        settings.pop("name", None)
        if change:
            key, value = setting_of(change)
            settings[key] = value
        made.append(studio.drafts.new(settings))

    if await done(make):
        ui.navigate.to(f"/new/{made[0].id}/settings")


async def done(work: Callable[[], Any]) -> bool:
    """Do it in a thread; what is wrong is said, and nothing lost."""
    try:
        await asyncio.to_thread(work)
    except LorafitError as error:
        ui.notify(t_core(str(error)), type="negative", multi_line=True, timeout=10_000, close_button=t("Close"))
        return False
    return True
