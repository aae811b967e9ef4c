"""The data report on a page: what is wrong first, each with the setting that mends it; then figures and samples."""

from __future__ import annotations

import itertools
import re
from collections.abc import Awaitable, Callable
from pathlib import PurePath
from typing import Any

from nicegui import ui

from lorafit.data.lines import counted_words
from lorafit.studio.drafts import Draft
from lorafit.studio.form import parse, recipe_fields
from lorafit.studio.frame import button, card, notice, tile
from lorafit.studio.pages.charts import chart_colours
from lorafit.studio.pages.tables import plain_table
from lorafit.studio.words import t, t_core

Set = Callable[[str, Any], Awaitable[None]]
MOST_HELD_OUT = 50  # percent
_LEFT_OPEN = re.compile(r"\.\.\.|[A-Z]{4,}")  # of a setting whose value the user has to say: FILE.jinja


def show_report(draft: Draft, report: dict[str, Any], set: Set) -> None:
    """report: as `deskwork.data` gives it. set: puts a setting into the draft and looks at the data again."""
    _problems(draft, report, set)
    _figures(report)
    _held_out(draft, report, set)
    if report["examples"]:
        _Samples(report["examples"])
    if report["rejected_rows"]:
        _rejected(report)


# ---------------------------------------------------------------- problems


def _problems(draft: Draft, report: dict[str, Any], set: Set) -> None:
    with card(t("What is wrong with the data")):
        found = False
        unusable = sum(report["rejected_for"].get(reason, 0) for reason in ("row", "template"))
        if unusable and draft.value("data.bad_rows") == "error":
            found = True
            text = t("{count} rows cannot be used, and a run stops at them; they are named below.", count=unusable)
            with notice(text, "fault"):
                _mend("data.bad_rows=drop", set, t("Leave these rows out"))
        for problem in report["problems"]:
            found = True
            with notice(t_core(problem["text"]), problem["severity"]):
                if problem["setting"]:
                    _mend(problem["setting"], set)
        if not found:
            notice(t("Nothing was found."), "ok")


def _mend(setting: str, set: Set, words: str = "") -> None:
    """A button that sets what mends it; words alone where the user has to say with what."""
    key, _, text = setting.partition("=")
    field = recipe_fields().get(key)
    if field is None or _LEFT_OPEN.search(text):
        ui.label(t("What mends it: {setting}", setting=setting)).classes("remedy")
        return
    value = parse(field, text)

    async def mend() -> None:
        await set(key, value)

    button(words or t("Set {setting}", setting=setting), mend).props("dense").mark(setting)


# ---------------------------------------------------------------- figures


def _figures(report: dict[str, Any]) -> None:
    training, held = report["training"], report["held_out_rows"]
    with card(t("What is in it"), ", ".join(PurePath(source).name for source in report["sources"])):
        with ui.element("div").classes("tiles"):
            tile(t("Rows read"), f"{report['rows']:,}")
            tile(
                t("Training samples"), f"{training['samples']:,}", t("{count} tokens", count=f"{training['tokens']:,}")
            )
            share = training["supervised_tokens"] / max(1, training["tokens"])
            tile(t("Trained on"), f"{share:.0%}", t("of the tokens: the answers"))
            tile(t("Held out"), f"{held['samples']:,}", t("samples, to measure with"))
            updates = report["updates"]
            tile(t("Updates"), f"{updates['count']:,}", t("in {epochs} passes", epochs=f"{updates['epochs']:g}"))
        if report["languages"]["counts"]:
            told = counted_words(report["languages"]["counts"], share=True)
            ui.label(t("Languages of the answers: {languages}", languages=told))
        ui.label(t("Template: {name}", name=report["template_facts"]["name"]))
        with ui.element("div").classes("grid2"):
            _histogram(t("Whole samples, in tokens"), report["lengths"]["sample"])
            _histogram(t("Answers, in tokens"), report["lengths"]["answer"])


def _histogram(title: str, figures: dict[str, Any]) -> None:
    """figures: as `data/figures.distribution` gives them."""
    if not figures["count"] or not figures["max"]:
        return
    edges, rows = figures["histogram"]["edges"], figures["histogram"]["rows"]
    colours = chart_colours()
    words = t(
        "half up to {half}, 95 % up to {most}, the longest {longest}",
        half=f"{figures['p50']:,}", most=f"{figures['p95']:,}", longest=f"{figures['max']:,}",
    )  # fmt: skip
    options = {
        "animation": False,
        "grid": {"left": 4, "right": 8, "top": 10, "bottom": 4, "containLabel": True},
        "tooltip": {
            "trigger": "axis", "axisPointer": {"type": "shadow"},
            "backgroundColor": colours["card"], "borderColor": colours["rule"], "textStyle": {"color": colours["ink"]},
        },
        "xAxis": {
            "type": "category", "data": [_span(low, high - 1) for low, high in itertools.pairwise(edges)],
            "axisLabel": {"color": colours["dim"]}, "axisLine": {"lineStyle": {"color": colours["rule"]}},
        },
        "yAxis": {
            "type": "value", "minInterval": 1, "axisLabel": {"color": colours["dim"]},
            "splitLine": {"lineStyle": {"color": colours["grid"]}},
        },
        "series": [
            {"type": "bar", "name": t("samples"), "data": rows, "barCategoryGap": "12%",
             "itemStyle": {"color": colours["one"], "borderRadius": [2, 2, 0, 0]}},
        ],
    }  # fmt: skip
    with ui.element("div").classes("histogram"):
        ui.label(title).classes("h3")
        chart = ui.echart(options).classes("w-full").style("height: 150px")
        chart.props["role"], chart.props["aria-label"] = "img", f"{title}: {words}"
        ui.label(words).classes("dim small")


def _span(first: int, last: int) -> str:
    return f"{first:,}–{last:,}" if last > first else f"{first:,}"


# ---------------------------------------------------------------- held out


def _held_out(draft: Draft, report: dict[str, Any], set: Set) -> None:
    with card(t("Rows to measure with"), t("not trained on, so that they tell what was really learnt")):
        value = report["held_out"]
        if isinstance(value, str):
            ui.label(t("They come from {name}.", name=value))
        percent = 5.0 if isinstance(value, str) else round(100 * value, 2)

        async def change(event: Any) -> None:
            if event.value is not None and 0 <= event.value <= MOST_HELD_OUT and event.value != percent:
                await set("data.held_out", round(event.value / 100, 4))

        words = t("Percent of the rows, split off by their prompts")
        if isinstance(value, str):
            button(t("Split off a share of the training rows instead"), lambda: set("data.held_out", 0.1))
        else:
            share = ui.number(words, value=percent, min=0, max=MOST_HELD_OUT, step=1, on_change=change)
            share.props("outlined dense debounce=700").classes("setting-input").mark("data.held_out")


# ---------------------------------------------------------------- samples


class _Samples:
    """One sample at a time, in the very tokens that are trained on."""

    def __init__(self, examples: list[dict[str, Any]]) -> None:
        self._examples, self._at = examples, 0
        with card(t("Samples, as the model sees them")):
            with ui.element("div").classes("inline"):
                before = ui.button(icon="chevron_left", on_click=lambda: self._step(-1)).props("outline dense")
                before.props["aria-label"] = t("Previous sample")
                names = {number: f"{number + 1}. {t_core(example['why'])}" for number, example in enumerate(examples)}
                self._chosen = ui.select(names, value=0, label=t("Sample"), on_change=self._draw)
                self._chosen.props("outlined dense options-dense").classes("grow").mark("sample")
                after = ui.button(icon="chevron_right", on_click=lambda: self._step(1)).props("outline dense")
                after.props["aria-label"] = t("Next sample")
            self._of = ui.label().classes("dim small")
            self._text = ui.element("div").classes("rendered code").props("tabindex=0 role=region")
            self._text.props["aria-label"] = t("The sample's text")
            with ui.element("div").classes("inline small"):
                ui.label(t("trained on")).classes("trained")
                ui.label(t("only read")).classes("dim")
        self._draw()

    def _step(self, by: int) -> None:
        self._chosen.set_value((self._chosen.value + by) % len(self._examples))

    def _draw(self) -> None:
        example = self._examples[self._chosen.value]
        figures = t(
            "{tokens} tokens, {trained} of them trained on",
            tokens=f"{example['tokens']:,}", trained=f"{example['supervised_tokens']:,}",
        )  # fmt: skip
        self._of.set_text(t("{who}: {words}", who=_place(example), words=figures))
        self._text.clear()
        with self._text:
            for piece, trained in example["stretches"]:
                ui.label(piece).classes("stretch trained" if trained else "stretch dim")


def _rejected(report: dict[str, Any]) -> None:
    with card(t("Rows that are left out"), t("{count} in all", count=f"{report['rejected']:,}")):
        rows = [
            (_place(row), f"{row['field']}: {t_core(row['problem'])}" if row["field"] else t_core(row["problem"]))
            for row in report["rejected_rows"]
        ]
        plain_table(t("Rows that are left out"), (t("Where"), t("What is wrong")), rows)
        if report["rejected"] > len(rows):
            ui.label(t("… and {count} more", count=f"{report['rejected'] - len(rows):,}")).classes("dim")


def _place(row: dict[str, Any]) -> str:
    return t("{file}, row {row}", file=PurePath(row["file"]).name, row=f"{row['row']:,}")
