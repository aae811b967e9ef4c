"""The larger evaluations of a run: those that are there, those that are being made, and a form to start one."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from nicegui import ui

from lorafit.errors import LorafitError
from lorafit.evaluate.task import built_in
from lorafit.report.evaluation_view import Example, Metric, Part
from lorafit.report.words import count, moment
from lorafit.run import RunFolder
from lorafit.studio.evaluating import CHOICES, Wanted
from lorafit.studio.frame import card, copyable, follow, heading, main_button, notice, state_chip
from lorafit.studio.jobs import Job
from lorafit.studio.pages.tables import STYLES, VERDICTS, moved, plain_table, said, score_table, speaker_words
from lorafit.studio.results import Judged, evaluations_of
from lorafit.studio.studio import Studio
from lorafit.studio.words import t, t_core, t_duration

LOOK_SECONDS = 2.0
CATEGORIES, EXAMPLE = 80, 1200  # rows of a table; characters of a text


class Evaluations:
    """The card of the evaluations, which follows what is being made."""

    def __init__(self, studio: Studio, run: RunFolder, name: str) -> None:
        self._studio, self._run, self._name = studio, run, name
        self._seen: Any = None
        with card(t("Evaluations"), t("On more rows, on tasks, and on general text, to see what was forgotten.")):
            self._jobs = ui.element("div").classes("stack")
            self._found = ui.element("div").classes("stack")
            _Form(studio, name, self._look)
        follow(self._look, LOOK_SECONDS)

    async def _look(self) -> None:
        """Draw anew where something has changed."""
        jobs = await asyncio.to_thread(self._running)
        files = await asyncio.to_thread(
            lambda: [(str(file), file.stat().st_mtime_ns) for file in self._run.evaluation.glob("*/evaluation.json")]
        )
        seen = ([(job.id, job.state) for job in jobs], sorted(files))
        if seen == self._seen:
            return
        self._seen = seen
        found, faults = await asyncio.to_thread(evaluations_of, self._run)
        self._draw_jobs(jobs)
        self._found.clear()
        with self._found:
            for fault in faults:
                notice(t_core(fault), "fault")
            for judged in found:
                _evaluation(judged)
            if not found and not jobs:
                ui.label(t("None yet.")).classes("dim")

    def _running(self) -> list[Job]:
        """What is queued or under way, and what went wrong since."""
        jobs = [job for job in self._studio.queue.of_run(self._name) if job.kind == "evaluate"]
        newest = max((job.made for job in jobs), default=0.0)
        return [
            job for job in jobs if job.state in ("queued", "running") or (job.state == "failed" and job.made == newest)
        ]

    def _draw_jobs(self, jobs: Sequence[Job]) -> None:
        self._jobs.clear()
        with self._jobs:
            for job in jobs:
                with ui.element("div").classes("inline"):
                    state_chip(job.state)
                    ui.label(job.label)
                if job.message:
                    notice(job.message, "fault" if job.state == "failed" else "note")


def _when(judged: Judged) -> str:
    told = [text for text in (moment(judged.view.made), t_duration(judged.view.seconds)) if text != "–"]
    return " · ".join(told)


def _fold(text: str, draw: Callable[[], None]) -> None:
    """What is drawn when it is first opened."""
    with ui.expansion(text).classes("fold") as fold:
        drawn = ui.element("div").classes("stack")

    def fill() -> None:
        if fold.value and not drawn.default_slot.children:
            with drawn:
                draw()

    fold.on_value_change(fill)


def _evaluation(judged: Judged) -> None:
    """In short: what came of each part; the rest folded."""
    with ui.element("section").classes("stack part"):
        with ui.element("div").classes("card-head"):
            heading(judged.view.name, 3)
            ui.label(_when(judged)).classes("dim small")
        for warning in judged.view.warnings:
            notice(t_core(warning), "warning")
        for number, part in enumerate(judged.view.parts):
            _verdict(judged, number, part)
        _fold(t("Scores and examples"), partial(_parts, judged))


def _parts(judged: Judged) -> None:
    for number, part in enumerate(judged.view.parts):
        with ui.element("section").classes("stack part"):
            with ui.element("div").classes("card-head"):
                heading(t_core(part.name), 3)
                ui.label(" · ".join(filter(None, (t_core(part.kind_words), _facts(part))))).classes("dim small")
            if part.metrics:
                score_table(judged, number)
            if any(category.scores for category in part.categories):
                words = t("By category ({count})", count=count(len(part.categories)))
                _fold(words, partial(_categories, judged, part))
            worse = [one for one in part.examples if not one.improved]
            better = [one for one in part.examples if one.improved]
            if worse:
                _fold(t("Worst regressions ({count})", count=len(worse)), partial(_examples, part, worse))
            if better:
                _fold(t("Best improvements ({count})", count=len(better)), partial(_examples, part, better))


def _facts(part: Part) -> str:
    if part.note:
        return t_core(part.note)
    rows = t("{count} rows", count=count(part.rows)) if part.rows is not None else ""
    prompts = t("{count} prompts", count=count(part.questions)) if part.questions is not None else ""
    return t(", ").join(filter(None, (rows, prompts)))


def _verdict(judged: Judged, number: int, part: Part) -> None:
    """The one sentence of a part: what became of the metric that its examples are sorted by."""
    told = [metric for metric in part.metrics if metric.better and metric.changes]
    lead = next((metric for metric in told if metric.name == part.by), told[0] if told else None)
    if lead is None:
        return
    for who, change in lead.changes.items():
        words = said(lead, change, judged.bound(number, lead, who))
        kind = "forgetting" if part.kind == "forgetting" and change.verdict == "bad" else change.verdict
        text = {
            "good": t("Better than the base."),
            "bad": t("Worse than the base."),
            "forgetting": t("Something was forgotten: worse than the base here."),
            "same": t("No difference from the base shows."),
        }.get(kind, t("Compared with the base, but not tested."))
        if len(lead.changes) > 1:
            text = t("{who}: {words}", who=speaker_words(who), words=text)
        with ui.element("div"):
            where = " · ".join(dict.fromkeys((t_core(part.name), t_core(part.kind_words))))
            told_by = f"{t_core(lead.title)}{_figures(lead, who)}"
            ui.label(t("{who}: {words}", who=where, words=text)).classes(f"verdict {VERDICTS[change.verdict]}")
            ui.label(t("{who}: {words}", who=told_by, words=words)).classes("small")


def _figures(metric: Metric, speaker: str) -> str:
    base, own = metric.scores.get("base"), metric.scores.get(speaker)
    return f" {metric.told(base.value)} → {metric.told(own.value)}" if base and own else ""


def _categories(judged: Judged, part: Part) -> None:
    names = list(dict.fromkeys(name for category in part.categories for name in category.scores))
    name = part.by if part.by in names else names[0]
    metric = part.metric(name) or Metric(name, "", False, None, {}, {})
    speakers = [who for who in judged.view.speakers if any(who in c.scores.get(name, {}) for c in part.categories)]
    rows = [
        [
            category.name,
            count(category.questions),
            *(metric.told(category.scores.get(name, {}).get(who)) for who in speakers),
        ]
        for category in part.categories[:CATEGORIES]
    ]
    plain_table(metric.title, [metric.title, t("prompts"), *map(speaker_words, speakers)], rows)
    if len(part.categories) > CATEGORIES:
        ui.label(t("and {count} more", count=count(len(part.categories) - CATEGORIES))).classes("dim")


def _examples(part: Part, examples: Sequence[Example]) -> None:
    metric = part.sorting
    for one in examples:
        with ui.element("article").classes("sample"):
            with ui.element("div").classes("inline"):
                ui.label(one.source).classes("dim small")
                if one.category:
                    ui.label(one.category).classes("dim small")
                if metric and one.change is not None:
                    words = f"{metric.title} {moved(metric, one.change, signed=True)}"
                    ui.label(words).classes("good-text" if one.improved else "bad-text")
            with ui.element("div").classes("sample-cells"):
                _text_cell(t("Prompt"), one.prompt)
                if one.choices:
                    _text_cell(t("Choices"), "\n".join(one.choices))
                _text_cell(t("Reference"), "\n".join(one.references))
                for place, answer in enumerate(one.answers):
                    note = "" if answer.ended else t("cut off at the length limit")
                    _text_cell(speaker_words(answer.speaker), answer.text, STYLES[place % 4], note)


def _text_cell(name: str, text: str, style: str = "", note: str = "") -> None:
    with ui.element("div").classes("sample-cell"):
        ui.label(name).classes(f"cell-name {style}")
        ui.label((f"{text[:EXAMPLE]} …" if len(text) > EXAMPLE else text) or t("(nothing)")).classes("said")
        if note:
            ui.label(note).classes("warn-text small")


class _Form:
    """Starts `lorafit evaluate`, and shows the command that it will be."""

    def __init__(self, studio: Studio, name: str, started: Callable[[], Any]) -> None:
        self._studio, self._name, self._started, self._wanted = studio, name, started, Wanted()
        _fold(t("Start an evaluation"), self._draw)

    def _draw(self) -> None:
        files = {(path := self._studio.workspace.shown(file)): path for file in self._studio.workspace.data_files()}
        kinds = {"own": t("The run's held-out rows"), "data": t("A data file"), "task": t("A task")}
        chosen = ui.toggle(kinds, value="own", on_change=self._set("questions"))
        chosen.props('no-caps unelevated padding="3px 9px"').classes("toggle").props["aria-label"] = t("What is asked")
        with ui.element("div").classes("fields").bind_visibility_from(chosen, "value", value="data"):
            if files:
                ui.select(files, label=t("Data file"), on_change=self._set("data"))
            else:
                ui.label(t("There is no data file in the workspace yet.")).classes("dim")
            ui.select(list(CHOICES), multiple=True, label=t("Metrics (those that fit)"), on_change=self._set("metrics"))
            ui.input(t("Column of the category"), on_change=self._set("category"))
        with ui.element("div").classes("fields").bind_visibility_from(chosen, "value", value="task"):
            ui.select(built_in(), label=t("Task"), on_change=self._set("task"))
            ui.input(t("Its questions: file or folder"), on_change=self._set("records"))
            ui.input(t("Its examples: file or folder"), on_change=self._set("examples"))
            ui.number(t("Examples before each question"), min=0, precision=0, on_change=self._set("shots"))
        with ui.element("div").classes("fields"):
            general = {"builtin": t("built-in"), "none": t("none"), **files}
            ui.select(general, value="builtin", label=t("General text"), on_change=self._set("general"))
            ui.number(t("Only the first rows"), min=1, precision=0, on_change=self._set("limit"))
            ui.number(t("Longest answer in tokens"), min=1, precision=0, on_change=self._set("max_new_tokens"))
            ui.input(t("Name of the evaluation"), on_change=self._set("name"))
        self._shown = ui.element("div")
        with ui.element("div").classes("inline"):
            main_button(t("Start"), self._start, "play_arrow")
        self._refresh()

    def _set(self, name: str) -> Callable[[Any], None]:
        def change(event: Any) -> None:
            value = event.value
            if name == "metrics":
                value = tuple(value or ())
            elif name not in ("shots", "limit", "max_new_tokens"):
                value = (value or "").strip()
            self._wanted = replace(self._wanted, **{name: value})
            self._refresh()

        return change

    def _arguments(self) -> list[str]:
        return self._wanted.arguments(self._studio.workspace, self._name)

    def _refresh(self) -> None:
        self._shown.clear()
        with self._shown:
            try:
                copyable(shlex.join(["lorafit", *self._arguments()]), t("Command line"))
            except LorafitError as error:
                ui.label(t_core(str(error))).classes("dim")

    async def _start(self) -> None:
        try:
            arguments = self._arguments()
            label = t("Evaluate {run}: {what}", run=self._name, what=self._what())
            await asyncio.to_thread(self._studio.queue.add, "evaluate", arguments, label, self._name)
        except LorafitError as error:
            ui.notify(t_core(str(error)), type="negative", multi_line=True)
            return
        ui.notify(t("The evaluation is in the queue."))
        await self._started()

    def _what(self) -> str:
        named = {"own": t("The run's held-out rows"), "data": self._wanted.data, "task": self._wanted.task}
        return self._wanted.name or named[self._wanted.questions]
