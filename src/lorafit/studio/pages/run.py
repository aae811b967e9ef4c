"""The Run screen: one run while it waits, works or has ended, and what can be done with it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from nicegui import ui

from lorafit.errors import LorafitError
from lorafit.report.words import NONE, figure, language, moment, size
from lorafit.studio.curves import Curves
from lorafit.studio.frame import card, follow, heading, notice, state_chip
from lorafit.studio.pages.run_buttons import RunButtons
from lorafit.studio.pages.run_charts import RunCharts, drawing
from lorafit.studio.studio import Studio
from lorafit.studio.watching import Sight, Watch
from lorafit.studio.words import t, t_core, t_duration

WORKING_SECONDS, ENDED_SECONDS = 1.0, 5.0
TEXT = 240  # characters of a prompt or an answer
KINDS = {"fault": "fault", "warning": "warning", "note": "note"}


def show(studio: Studio, name: str) -> None:
    """Raises StudioError when there is neither such a run nor a job for one."""
    watch = Watch(studio.workspace, studio.runs, studio.queue, name)
    if watch.job() is None:
        studio.workspace.run(name)
    _Screen(studio, watch)


class _Screen:
    """Every part is drawn again only when what it shows has changed, so that nothing is sent when nothing is new."""

    def __init__(self, studio: Studio, watch: Watch) -> None:
        self._studio, self._watch = studio, watch
        self._seen: dict[str, Any] = {}
        self._charts: RunCharts | None = None
        self._log: list[str] = []
        with ui.element("div").classes("stack") as self._root:
            self._build()
        self._timer = follow(self._tick, WORKING_SECONDS)

    def _build(self) -> None:
        self._head = ui.element("div").classes("stack")
        self._tiles_box = ui.element("div").classes("tiles run-tiles")
        self._tiles: dict[str, tuple[ui.label, ui.label]] = {}
        self._findings, self._plots = ui.element("div").classes("stack"), ui.element("div").classes("stack")
        self._samples = ui.element("div").classes("stack")
        with card(t("Log")):
            self._log_note = ui.label(t("Loading …")).classes("dim")
            self._lines = ui.log(max_lines=200).classes("run-log code").props("tabindex=0 role=log")
            self._lines.props["aria-label"] = t("Log")

    async def _tick(self) -> None:
        try:
            sight = await asyncio.to_thread(self._watch.look)
        except LorafitError as error:  # removed meanwhile
            self._timer.cancel()
            self._head.clear()
            with self._head:
                notice(str(error), "fault")
            return
        self._timer.interval = WORKING_SECONDS if sight.is_working else ENDED_SECONDS
        head = (sight.state, sight.message, sight.report, sight.recipe, sight.findings)
        self._changed("head", head, self._draw_head, sight)
        self._draw_progress(sight)
        if sight.curves:
            self._draw_tiles(sight, sight.curves)
        self._changed("findings", sight.findings, self._draw_findings, sight)
        self._changed("samples", (sight.samples, sight.asked, sight.is_working), self._draw_samples, sight)
        self._draw_log(sight)
        await self._draw_charts(sight)

    def _changed(self, part: str, value: Any, draw: Callable[[Sight], None], sight: Sight) -> None:
        if part not in self._seen or self._seen[part] != value:
            self._seen[part] = value
            draw(sight)

    # The head.

    def _draw_head(self, sight: Sight) -> None:
        self._head.clear()
        with self._head:
            with ui.element("div").classes("between"):
                with ui.element("div"):
                    with ui.element("div").classes("inline"):
                        heading(sight.name, 1)
                        state_chip(sight.state)
                    about = _about(sight)
                    if about:
                        ui.label(about).classes("dim")
                with ui.element("div").classes("inline"):
                    RunButtons(self._studio, sight, self._root, self._tick)
            self._draw_message(sight)
            with ui.element("div").classes("stack tight") as self._progress:
                with (
                    ui.element("div").classes("bar").props("role=progressbar aria-valuemin=0 aria-valuemax=100") as bar
                ):
                    bar.props["aria-label"] = t("Progress")
                    self._bar, self._filled = bar, ui.element("div").style("width: 0%")
                self._progress_words = ui.label("").classes("dim")
            self._last_word = ui.label("").classes("dim small said")

    def _draw_message(self, sight: Sight) -> None:
        if sight.state == "dead" and sight.summary:
            minutes = f"{(time.time() - sight.summary.changed) / 60:,.0f}"
            said = t("Nothing was heard of it for {minutes} minutes: its process was probably killed.", minutes=minutes)
            notice(said, "warning", t("Resume goes on from its newest checkpoint."))
        elif sight.message and sight.state == "finished":
            ui.label(t_core(sight.message)).classes("dim")
        elif sight.message:
            has_failed = sight.state == "failed" or (sight.job is not None and sight.job.state == "failed")
            kind = "fault" if has_failed else "warning" if sight.state == "interrupted" else "note"
            notice(t_core(sight.message), kind).classes("run-message")

    def _draw_progress(self, sight: Sight) -> None:
        summary = sight.summary
        updates = summary.updates if summary else 0
        self._progress.set_visibility(bool(updates) and sight.state not in ("finished", "failed"))
        self._last_word.set_text(sight.log[-1] if sight.is_working and sight.log else "")
        if summary is None or not updates:
            return
        share = min(100, round(100 * summary.update / updates))
        words = t("update {update} of {updates}", update=f"{summary.update:,}", updates=f"{updates:,}")
        words += f" · {share} %"
        if sight.is_working and summary.update == updates:
            words += " · " + t("training is done, the rest follows")
        elif sight.state == "running" and summary.seconds_left is not None:
            words += " · " + t("about {time} left", time=t_duration(summary.seconds_left))
        self._progress_words.set_text(words)
        if self._seen.get("share") != (share, self._bar):
            self._seen["share"] = (share, self._bar)
            self._filled.style(f"width: {share}%")
            self._bar.props(f"aria-valuenow={share}")

    # Figures, findings, samples, log.

    def _draw_tiles(self, sight: Sight, curves: Curves) -> None:
        best, loss, held_out = curves.least("held_out_loss"), curves.last("loss"), curves.last("held_out_loss")
        if loss is None and held_out is None:
            return
        lowest = t("best {loss} after update {update}", loss=figure(best[1]), update=f"{best[0]:,.0f}") if best else ""
        gpu = curves.last("gpu0.memory_used_bytes")
        busy = curves.last("gpu0.utilization")
        of_gpu = t("GPU {used}, {busy} busy", used=size(gpu), busy=f"{busy or 0:.0%}") if gpu else ""
        peak = t("peak {size}", size=size(curves.last("peak_memory_bytes")))
        norm = t("gradient norm {norm}", norm=figure(curves.last("gradient_norm")))
        for name, value, note in (
            (t("Loss"), figure(loss), t("of the last update")),
            (t("Held-out loss"), figure(held_out), lowest),
            (t("Tokens a second"), _count(curves.last("tokens_per_second")), ""),
            (t("Memory"), size(curves.last("memory_bytes")), of_gpu or peak),
            (t("Learning rate"), figure(curves.last("learning_rate")), norm),
        ):
            self._tile(name, value, note)

    def _tile(self, name: str, value: str, note: str) -> None:
        if name not in self._tiles:
            with self._tiles_box, ui.element("div").classes("tile"):
                ui.label(name).classes("dim")
                self._tiles[name] = ui.label().classes("figure"), ui.label().classes("dim small")
        shown, below = self._tiles[name]
        shown.set_text(value)
        below.set_text(note)

    def _draw_findings(self, sight: Sight) -> None:
        self._findings.clear()
        if not sight.findings:
            return
        with self._findings, card(t("What the doctor found")):
            for finding in sight.findings:
                _finding(finding)

    def _draw_samples(self, sight: Sight) -> None:
        self._samples.clear()
        if not sight.samples and sight.asked:
            with self._samples, card(t("Answers to held-out prompts"), t("asked again after each measurement")):
                for asked in sight.asked:
                    _asked(asked)
        if not sight.samples:
            return
        with self._samples, card(t("Answers to held-out prompts"), t("the first {count}", count=len(sight.samples))):
            for sample in sight.samples:
                _sample(sample)
            if not sight.is_working:
                ui.link(t("All answers and scores"), f"/result/{quote(sight.name)}")

    def _draw_log(self, sight: Sight) -> None:
        self._log_note.set_text(_log_note(sight))
        self._log_note.set_visibility(bool(_log_note(sight)))
        self._lines.set_visibility(bool(sight.log))
        new = added(self._log, list(sight.log))
        if new is None:
            self._lines.clear()
            new = list(sight.log)
        for line in new:
            self._lines.push(line)
        if new:
            self._lines.style(f"height: {min(280, 90 + 21 * len(sight.log))}px")
        self._log = list(sight.log)

    async def _draw_charts(self, sight: Sight) -> None:
        if self._charts:
            await self._charts.draw()
        elif sight.curves and sight.curves.last("loss") is not None:
            first = await asyncio.to_thread(drawing, sight.curves)
            if self._charts is None:  # a button looks, too
                with self._plots:
                    self._charts = RunCharts(sight.curves, first)


def added(before: list[str], now: list[str]) -> list[str] | None:
    """The lines that came to the end of a list that loses some at its beginning; None where it is another one."""
    for length in range(min(len(before), len(now)), 0, -1):
        if before[-length:] == now[:length]:
            return now[length:]
    return None if before else now


def _about(sight: Sight) -> str:
    if sight.summary is None:
        return ""
    model, method = sight.summary.model, sight.summary.method
    return " · ".join(part for part in (model, t_core(method), moment(sight.summary.made)) if part and part != NONE)


def _count(value: float | None) -> str:
    return NONE if value is None else f"{value:,.0f}"


def _log_note(sight: Sight) -> str:
    if sight.state == "queued":
        return t("It waits in the queue for what is before it.")
    if sight.log:
        return ""
    if sight.job is None:
        return t("This run was started in a terminal: its log is there.")
    if not sight.is_working:
        return t("It said nothing.")
    return t("Starting: {seconds} s. The packages take a while.", seconds=round(time.time() - (sight.job.started or 0)))


def _finding(finding: dict[str, Any]) -> None:
    kind = KINDS.get(str(finding.get("severity")), "note")
    with ui.element("div").classes(f"notice {kind}").props("role=note"):
        with ui.element("div").classes("inline"):
            heading(t_core(str(finding.get("title", ""))), 3)
            ui.label(t(kind)).classes("dim small")
        for part in ("evidence", "cause"):
            if text := str(finding.get(part) or ""):
                ui.label(t_core(text)).classes("said")
        if remedy := str(finding.get("remedy") or ""):
            ui.label(t_core(remedy)).classes("remedy")
        if setting := finding.get("setting"):
            ui.label(str(setting)).classes("code")


def _sample(sample: dict[str, Any]) -> None:
    """Prompt, reference and the two answers, the beginning of each; the Result screen has the whole."""
    speakers = ((t("Base"), "base"), (t("Tuned"), "tuned"))
    answers = ((name, sample.get(speaker)) for name, speaker in speakers)
    _side_by_side(sample, [(name, answer.get("text")) for name, answer in answers if isinstance(answer, dict)])


def _asked(asked: dict[str, Any]) -> None:
    answers = asked["answers"].items()
    _side_by_side(asked, [(t("After update {update}", update=update), text) for update, text in answers])


def _side_by_side(sample: dict[str, Any], answers: list[tuple[str, Any]]) -> None:
    prompt = sample.get("prompt")
    turns = [turn for turn in prompt if isinstance(turn, dict)] if isinstance(prompt, list) else []
    told = [(t("Prompt"), turns[-1].get("content") if turns else ""), (t("Reference"), sample.get("reference"))]
    with ui.element("article").classes("run-sample"):
        for name, text in (*told, *answers):
            with ui.element("div").classes("run-sample-cell"):
                ui.label(name).classes("dim small")
                words = " ".join(str(text or "").split())
                label = ui.label(words[:TEXT] + ("…" if len(words) > TEXT else "") or t("(nothing)"))
                if found := language(words[:TEXT]):
                    label.props(f"lang={found}")
