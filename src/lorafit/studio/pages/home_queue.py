"""The queue on the home screen: what runs, what waits and in which order, and what failed before it made a run."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import quote

from nicegui import ui

from lorafit.errors import LorafitError
from lorafit.report.words import count
from lorafit.studio import jobs
from lorafit.studio.frame import button, card, notice, state_chip
from lorafit.studio.jobs import Job
from lorafit.studio.pages.home_runs import left_words
from lorafit.studio.queue import PATIENCE_SECONDS
from lorafit.studio.runs import Summary
from lorafit.studio.studio import Studio
from lorafit.studio.watching import log_lines
from lorafit.studio.words import t, t_core

FAILED_SHOWN = 3
LOG_LINES = 30
SCREENS = {"evaluate": "result", "export": "export"}  # where a kind of job is followed; others: run


class QueueCard:
    """Not there while there is nothing to say. changed: called after a job was cancelled, moved or put away."""

    def __init__(self, studio: Studio, changed: Callable[[], object]) -> None:
        self._studio, self._changed = studio, changed
        self._seen: list[tuple[Job, bool, bool]] | None = None
        self._progress: dict[str, tuple[ui.element, ui.label]] = {}
        self._arrows: dict[tuple[str, int], ui.button] = {}
        self._place = ui.element("div").classes("home-queue")

    def show(self, found: Sequence[Job], runs: Mapping[str, Summary]) -> None:
        """runs: by name, for the progress of what runs."""
        shown = [job for job in found if job.state not in jobs.ENDED] + _unread(found, runs)
        now = time.time()
        seen = [(job, job.run in runs, _is_patience_over(job, now)) for job in shown]
        if seen != self._seen:
            self._seen = seen
            self._place.clear()
            self._progress, self._arrows = {}, {}
            if shown:
                with self._place, card(t("Queue"), t("One after another; it goes on when this page is closed.")):
                    waiting = [job.id for job in shown if job.state == "queued"]
                    for job, has_run, over in seen:
                        self._row(job, has_run, over, waiting)
        for job in shown:
            if job.id in self._progress:
                bar, words = self._progress[job.id]
                run = runs.get(job.run or "")
                percent = round(100 * run.update / run.updates) if run and run.updates else 0
                bar.style(replace=f"width: {percent}%")
                words.text = _progress_words(run)

    def _row(self, job: Job, has_run: bool, over: bool, waiting: list[str]) -> None:
        with ui.element("div").classes("home-job"):
            with ui.element("div").classes("home-job-head"):
                state_chip(job.state)
                if has_run and job.run:
                    screen = SCREENS.get(job.kind, "run")
                    ui.link(job.label, f"/{screen}/{quote(job.run, safe='')}").classes("home-name")
                else:
                    ui.label(job.label).classes("home-name")
            if job.state == "running" and not job.trains:
                ui.linear_progress(show_value=False).props("indeterminate rounded")
            elif job.state == "running":
                with ui.element("div").classes("home-job-middle"):
                    with ui.element("div").classes("bar"):
                        bar = ui.element("div")
                    self._progress[job.id] = bar, ui.label().classes("dim small")
            elif job.state == "failed":
                with ui.element("div").classes("home-job-middle"):
                    notice(t_core(job.message), "fault")
                    with ui.expansion(t("Log")).props("dense").classes("home-unfold dim"):
                        ui.label("\n".join(log_lines(job.log)[-LOG_LINES:])).classes("code")
            with ui.element("div").classes("inline home-job-end"):
                self._buttons(job, over, waiting)

    def _buttons(self, job: Job, over: bool, waiting: list[str]) -> None:
        queue = self._studio.queue
        if job.state == "failed":
            button(t("Put away"), lambda: self._do(lambda: queue.forget(job.id)))
        elif job.state == "queued":
            place = waiting.index(job.id)
            for by, icon, words in ((-1, "arrow_upward", t("Earlier")), (1, "arrow_downward", t("Later"))):
                arrow = ui.button(icon=icon, on_click=lambda by=by: self._move(job.id, by))
                self._arrows[job.id, by] = arrow
                arrow.props("flat round dense").classes("quiet").tooltip(words)
                arrow.props["aria-label"] = f"{words}: {job.label}"
                arrow.set_enabled(0 <= place + by < len(waiting))
            button(t("Cancel"), lambda: self._do(lambda: queue.cancel(job.id)))
        elif job.asked is None:
            button(t("Stop and save") if job.trains else t("Cancel"), lambda: self._do(lambda: queue.cancel(job.id)))
        else:
            words = t("It finishes its step, saves and stops …") if job.trains else t("Stopping …")
            ui.label(words).classes("dim small")
            if over:
                button(t("Stop at once"), lambda: self._do(lambda: queue.cancel(job.id)))

    async def _move(self, id: str, by: int) -> None:
        await self._do(lambda: self._studio.queue.move(id, by))
        # The row was drawn anew: who uses the keyboard goes on from the same button.
        if arrow := self._arrows.get((id, by)):
            ui.run_javascript(f"{arrow.html_id}.focus()")

    async def _do(self, work: Callable[[], None]) -> None:
        try:
            await asyncio.to_thread(work)
        except LorafitError as error:
            ui.notify(t_core(str(error)), type="negative", multi_line=True)
        done = self._changed()
        if asyncio.iscoroutine(done):
            await done


def _is_patience_over(job: Job, now: float) -> bool:
    return job.asked is not None and now - job.asked > PATIENCE_SECONDS


def _unread(found: Sequence[Job], runs: Mapping[str, Summary]) -> list[Job]:
    """The newest jobs that failed, but for those whose run in the list below says so itself."""
    failed = [job for job in found if job.state == "failed"]
    told = [run.name for run in runs.values() if run.state in ("failed", "dead")]
    return [job for job in failed if job.run not in told or not job.trains][:FAILED_SHOWN]


def _progress_words(run: Summary | None) -> str:
    if run is None or not run.updates:
        return t("preparing …")
    words = t("{update} of {updates} updates", update=count(run.update), updates=count(run.updates))
    return f"{words} · {left_words(run.seconds_left)}" if run.seconds_left is not None else words
