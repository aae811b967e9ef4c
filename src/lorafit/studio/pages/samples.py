"""Before and after: the prompts of a run with the answers of base and tuned, filtered, a page of rows at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nicegui import ui
from nicegui.elements.mixins.text_element import TextElement

from lorafit.errors import LorafitError
from lorafit.report.differences import Segment, differences
from lorafit.report.evaluation_view import Metric
from lorafit.report.words import language
from lorafit.run import RunFolder
from lorafit.studio.frame import button, card, fill, notice
from lorafit.studio.pages.tables import STYLES, moved, speaker_words
from lorafit.studio.samples import EQUAL, Order, Samples, Show, asked, samples_of
from lorafit.studio.words import t, t_core

ROWS = 20
SHORT, WHOLE = 240, 20_000  # characters of a text, closed and opened


@dataclass(slots=True)
class _Asked:
    """What of the samples is shown."""

    metric: Metric | None
    speaker: str
    show: Show = "all"
    order: Order = "asked"
    text: str = ""
    page: int = 0


class BeforeAfter:
    """The table. metrics: those that the answers were scored with."""

    def __init__(self, run: RunFolder, metrics: Sequence[Metric]) -> None:
        self._run, self._metrics = run, metrics
        self._asked = _Asked(next((metric for metric in metrics if metric.better), None), "tuned")
        self._samples = Samples(run.evaluation / "samples.jsonl")
        self._numbers: list[int] = []
        self._drawn = 0
        with card(t("Before and after"), t("The same held-out prompts, answered before and after training.")):
            self._controls = ui.element("div").classes("inline filters")
            self._rows = ui.element("div").classes("samples")
            self._pages = ui.row().classes("between")
        with self._rows:
            ui.label(t("Loading …")).classes("dim")
        fill(self._load)

    async def _load(self) -> None:
        try:
            self._samples = await asyncio.to_thread(samples_of, self._run, [metric.name for metric in self._metrics])
        except (LorafitError, OSError) as error:
            self._say(str(error), "fault")
            return
        others = [who for who in self._samples.speakers if who != "base"]
        if "tuned" not in others and others:
            self._asked.speaker = others[-1]
        with self._controls:
            await self._draw_controls(others)
        await self._draw()

    async def _draw_controls(self, others: Sequence[str]) -> None:
        if not len(self._samples):
            return
        asked, directed = self._asked, [metric for metric in self._metrics if metric.better]
        if asked.metric:
            self._shows = ui.toggle(await self._counted(), value="all", on_change=self._changed("show"))
            self._shows.props('no-caps unelevated padding="3px 9px"').classes("toggle")
            self._shows.props["aria-label"] = t("Which are shown")
            orders = {
                "asked": t("As they were asked"),
                "worst": t("Regressions first"),
                "best": t("Improvements first"),
            }
            ui.select(orders, value="asked", label=t("Order"), on_change=self._changed("order")).props(
                "outlined dense"
            ).classes("short-field")
        if len(directed) > 1:
            names = {metric.name: t_core(metric.title) for metric in directed}
            first = directed[0].name
            by = ui.select(names, value=first, label=t("By the metric"), on_change=self._choose_metric)
            by.props("outlined dense").classes("short-field")
        if len(others) > 1 and asked.metric:
            words = {who: speaker_words(who) for who in others}
            ui.select(
                words, value=asked.speaker, label=t("Against the base"), on_change=self._changed("speaker")
            ).props("outlined dense").classes("short-field")
        search = ui.input(label=t("Search the texts"), on_change=self._changed("text"))
        search.props('outlined dense debounce=400 clearable type="search"').classes("search-field")

    async def _counted(self) -> dict[str, str]:
        samples, asked = self._samples, self._asked

        def count() -> dict[str, int]:
            kinds: tuple[Show, ...] = ("better", "worse", "same")
            return {kind: len(samples.chosen(asked.metric, asked.speaker, kind)) for kind in kinds}

        counts = await asyncio.to_thread(count)
        return {
            "all": t("All {count}", count=f"{len(samples):,}"),
            "better": t("Better {count}", count=f"{counts['better']:,}"),
            "worse": t("Worse {count}", count=f"{counts['worse']:,}"),
            "same": t("Same {count}", count=f"{counts['same']:,}"),
        }

    def _changed(self, name: str) -> Callable[[Any], Any]:
        async def change(event: Any) -> None:
            setattr(self._asked, name, event.value or "")
            self._asked.page = 0
            if name == "speaker":
                self._shows.set_options(await self._counted(), value=self._asked.show)
            await self._draw()

        return change

    async def _choose_metric(self, event: Any) -> None:
        self._asked.metric = next(metric for metric in self._metrics if metric.name == event.value)
        self._asked.page = 0
        self._shows.set_options(await self._counted(), value=self._asked.show)
        await self._draw()

    async def _turn(self, by: int) -> None:
        self._asked.page += by
        await self._draw()

    async def _draw(self) -> None:
        asked, samples = self._asked, self._samples
        self._drawn += 1
        mine = self._drawn

        def read() -> tuple[list[int], list[int], list[dict[str, Any]]]:
            numbers = samples.chosen(asked.metric, asked.speaker, asked.show, asked.order, asked.text)
            asked.page = min(asked.page, max(0, (len(numbers) - 1) // ROWS))
            here = numbers[asked.page * ROWS : (asked.page + 1) * ROWS]
            return numbers, here, samples.rows(here) if here else []

        try:
            numbers, here, rows = await asyncio.to_thread(read)
        except OSError as error:
            self._say(str(error), "fault")
            return
        if mine != self._drawn:  # something else was asked meanwhile
            return
        self._numbers = numbers
        self._rows.clear()
        with self._rows:
            if not rows:
                words = t("No prompt fits this filter.") if len(samples) else t("No answers were kept in this run.")
                ui.label(words).classes("dim")
            for number, row in zip(here, rows, strict=True):
                _Row(number, row, samples, asked, self._metrics)
        self._draw_pages(len(rows))

    def _draw_pages(self, shown: int) -> None:
        self._pages.clear()
        first, count = self._asked.page * ROWS, len(self._numbers)
        if not shown:
            return
        with self._pages:
            words = t(
                "{first}–{last} of {count}", first=f"{first + 1:,}", last=f"{first + shown:,}", count=f"{count:,}"
            )
            ui.label(words).classes("dim").props("role=status")
            if count > ROWS:
                with ui.row().classes("inline"):
                    before = button(t("Previous"), lambda: self._turn(-1), "chevron_left")
                    before.set_enabled(first > 0)
                    after = button(t("Next"), lambda: self._turn(1), "chevron_right")
                    after.set_enabled(first + shown < count)

    def _say(self, text: str, kind: str) -> None:
        self._rows.clear()
        with self._rows:
            notice(text, kind)


class _Row:
    """A prompt with its answers; closed their beginnings, opened the whole, marked where they differ."""

    def __init__(
        self, number: int, row: Mapping[str, Any], samples: Samples, asked: _Asked, metrics: Sequence[Metric]
    ) -> None:
        self._row, self._speakers, self._open = row, samples.speakers, False
        self._metric, self._metrics = asked.metric, metrics
        change = samples.change(asked.metric, asked.speaker, number) if asked.metric else None
        with ui.element("article").classes("sample"):
            with ui.element("div").classes("between"):
                with ui.element("div").classes("inline"):
                    ui.label(f"{number + 1:,}").classes("dim")
                    if asked.metric and change is not None:
                        _chip(asked.metric, change)
                self._toggle = button(t("Show all"), self._turn, "unfold_more").props("flat dense aria-expanded=false")
            self._cells = ui.element("div").classes("sample-cells closed")
            words = t("Underlined: not in the reference. Struck through: in the reference only.")
            self._note = ui.label(words).classes("dim small")
        self._draw({})

    async def _turn(self) -> None:
        self._open = not self._open
        marked: dict[str, list[Segment]] = {}
        if self._open:
            marked = await asyncio.to_thread(_marked, self._row, self._speakers)
        self._toggle.props(f"aria-expanded={'true' if self._open else 'false'}")
        self._toggle.set_text(t("Show less") if self._open else t("Show all"))
        self._cells.clear()
        self._cells.classes(remove="closed") if self._open else self._cells.classes("closed")
        self._draw(marked)

    def _draw(self, marked: Mapping[str, list[Segment]]) -> None:
        most = WHOLE if self._open else SHORT
        self._note.set_visibility(bool(marked))
        with self._cells:
            with _cell(t("Prompt")):
                if self._open:
                    _turns(self._row, most)
                else:
                    _text(asked(self._row), most)
            with _cell(t("Reference")):
                _text(str(self._row.get("reference", "")), most)
            for place, who in enumerate(self._speakers):
                answer = self._row.get(who)
                if isinstance(answer, dict):
                    with _cell(speaker_words(who), STYLES[place % 4], self._scores(answer)):
                        self._answer(answer, marked.get(who), most)

    def _answer(self, answer: Mapping[str, Any], segments: Sequence[Segment] | None, most: int) -> None:
        text = str(answer.get("text", ""))
        if segments is None:
            _text(text, most)
        else:
            with ui.element("div").classes("said"):
                for segment in segments:
                    tag = {"extra": "ins", "missing": "del"}.get(segment.kind, "span")
                    TextElement(tag=tag, text=segment.text).classes(segment.kind)
        if self._open and answer.get("ended") is False:
            ui.label(t("cut off at the length limit")).classes("warn-text small")

    def _scores(self, answer: Mapping[str, Any]) -> str:
        shown = self._metrics if self._open or self._metric is None else [self._metric]
        scores = [
            f"{t_core(metric.title)} {metric.told(float(value))}"
            for metric in shown
            if isinstance(value := answer.get(metric.name), int | float)
        ]
        return " · ".join(scores)


def _cell(name: str, style: str = "", note: str = "") -> ui.element:
    """A text with its name above it, and beside that a note."""
    box = ui.element("div").classes("sample-cell")
    with box, ui.element("div").classes("cell-head"):
        ui.label(name).classes(f"cell-name {style}")
        if note:
            ui.label(note).classes("dim small")
    return box


def _text(text: str, most: int) -> None:
    rest = len(text) - most
    shown = f"{text[:most]} …" if rest > 0 else text
    label = ui.label(shown or t("(nothing)")).classes("said" if text else "dim")
    if found := language(text[:most]):
        label.props(f"lang={found}")
    if rest > 0 and most == WHOLE:
        ui.label(t("{count} more characters", count=f"{rest:,}")).classes("dim small")


def _turns(row: Mapping[str, Any], most: int) -> None:
    turns = [turn for turn in row.get("prompt", ()) if isinstance(turn, dict)]
    for turn in turns:
        if len(turns) > 1:
            ui.label(str(turn.get("role", ""))).classes("dim small")
        _text(str(turn.get("content", "")), most)


def _marked(row: Mapping[str, Any], speakers: Sequence[str]) -> dict[str, list[Segment]]:
    """Each answer against the reference, word by word."""
    reference, found = str(row.get("reference", ""))[:WHOLE], {}
    for who in speakers:
        answer = row.get(who)
        if isinstance(answer, dict) and (text := str(answer.get("text", ""))[:WHOLE]):
            segments = differences(text, [reference])
            if any(segment.kind == "same" for segment in segments):  # else it is another text: nothing to mark
                found[who] = segments
    return found


def _chip(metric: Metric, change: float) -> None:
    if abs(change) <= EQUAL:
        ui.label(t("the same")).classes("dim")
        return
    by = f"{t_core(metric.title)} {moved(metric, change if metric.better == 'higher' else -change, signed=True)}"
    better = change > 0
    words = t("better: {by}", by=by) if better else t("worse: {by}", by=by)
    ui.label(words).classes("good-text" if better else "bad-text")
