"""The advice on a draft: asked for where it is not there yet, and shown with what it was chosen from."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nicegui import ui

from lorafit.advise.task import TASKS
from lorafit.errors import LorafitError
from lorafit.report.words import size
from lorafit.studio.drafts import Draft
from lorafit.studio.frame import button, card, notice
from lorafit.studio.studio import Studio
from lorafit.studio.words import t, t_core

_ASKED: dict[str, asyncio.Task[None]] = {}  # what is being made, by draft and question


def is_due(draft: Draft) -> bool:
    """Whether the advice is asked for as soon as it is to be shown."""
    return draft.advice is None and not draft.missing()


async def advise(studio: Studio, draft: Draft, task: str | None = None) -> None:
    """Have an advice made and put into the draft; who asks for the same meanwhile waits for that one.

    task: what the data is for, guessed when None. Raises StudioError, as the desk does.
    """
    model, data, gpu = draft.value("model.name"), draft.value("data.train"), draft.gpu
    asked = json.dumps([draft.id, model, data, gpu, task])

    async def work() -> None:
        try:
            found = await studio.desk.advice(model, data, gpu, task)
        finally:
            del _ASKED[asked]
        draft.follow(found)
        draft.save()

    if asked not in _ASKED:
        _ASKED[asked] = asyncio.create_task(work(), name=f"advice for {draft.id}")
    await asyncio.shield(_ASKED[asked])


def after_advice(studio: Studio, draft: Draft, build: Callable[[], None]) -> None:
    """Build what shows a draft's settings: at once, or, where the advice is still being made, when it is there.

    Without waiting, who clicks on quickly would start with other settings than the advised. Who does not want to wait
    goes on with the settings as they are.
    """
    if not is_due(draft):
        build()
        return
    place = ui.element("div").classes("setting-stack")
    went_on: list[str] = []  # with what was said: once

    def go_on(fault: str = "") -> None:
        if went_on or place.is_deleted:
            return
        went_on.append(fault)
        place.clear()
        with place:
            if fault:
                _no_advice(fault)
            build()

    async def wait() -> None:
        try:
            await advise(studio, draft)
        except LorafitError as error:
            go_on(str(error))
        else:
            go_on()

    with place, card(t("Advice")):
        with ui.row().classes("inline").props("role=status"):
            ui.spinner()
            ui.label(t("Reading the data and planning each method: a few seconds, longer for much data …"))
        button(t("Go on without advice"), lambda: go_on())
        ui.timer(0, wait, once=True)


def advice_card(studio: Studio, draft: Draft, arrived: Callable[[], None], failed: Callable[[], None]) -> None:
    """The advice, or its being asked for. arrived: called when a new one is in the draft; failed: when none came."""
    with card(t("Advice"), t("from your model, your data and this machine")) as box:
        inner = ui.element("div").classes("setting-stack")

    async def ask(task: str | None = None) -> None:
        inner.clear()
        with inner, ui.row().classes("inline"):
            ui.spinner()
            ui.label(t("Reading the data and planning each method: a few seconds, longer for much data …"))
        try:
            await advise(studio, draft, task)
        except LorafitError as error:
            if not inner.is_deleted:
                inner.clear()
                with inner:
                    _failed(str(error), ask)
                failed()
            return
        if not inner.is_deleted:
            with box:
                arrived()

    if draft.advice is not None:
        with inner:
            _advice(draft.advice, ask)
    elif draft.missing():
        with inner:
            notice(t("Choose a model and data first: the advice is made from them."), "warning")
    else:
        ui.timer(0, ask, once=True)


def _no_advice(fault: str) -> None:
    notice(t_core(fault), "warning")
    ui.label(t("You can go on without advice: the settings below then have their defaults.")).classes("dim")


def _failed(text: str, ask: Callable[..., Any]) -> None:
    _no_advice(text)
    button(t("Ask again"), ask)


def _advice(advice: dict[str, Any], ask: Callable[..., Any]) -> None:
    ui.label(t_core(advice["choice"])).classes("strong")
    ui.label(t_core(advice["run"]))
    for text in advice["warnings"]:
        notice(t_core(text), "warning")
    _task(advice["task"], ask)
    with ui.expansion(t("What was compared")).classes("setting-fold"):
        _methods(advice["methods"])
        for text in advice["notes"]:
            ui.label(t_core(text)).classes("dim small")


def _task(task: dict[str, str], ask: Callable[..., Any]) -> None:
    names = {name: t_core(one.words) for name, one in TASKS.items()}
    names.setdefault(task["name"], task["name"])
    with ui.element("div").classes("inline"):
        chosen = ui.select(names, label=t("What the data teaches"), value=task["name"])
        chosen.props("outlined dense options-dense").classes("setting-task").mark("task")
        ui.label(t_core(task["why"])).classes("dim small setting-grow")

    async def change() -> None:
        await ask(chosen.value)

    chosen.on_value_change(change)


def _methods(methods: list[dict[str, Any]]) -> None:
    """A line for each base and method that was planned."""
    several = len({method["model"] for method in methods}) > 1
    columns = [*([t("Base")] if several else []), t("Method"), t("Verdict"), t("Needs"), t("Of"), t("An update")]
    with ui.element("div").classes("wide-table"), ui.element("table").classes("plain-table"):
        with ui.element("thead"), ui.element("tr"):
            for column in columns:
                with ui.element("th").props("scope=col"):
                    ui.label(column)
        with ui.element("tbody"):
            for method in methods:
                _method(method, several)


def _method(method: dict[str, Any], several: bool) -> None:
    verdicts = {"yes": t("fits"), "tight": t("is tight"), "no": t("does not fit")}
    colours = {"yes": "good-text", "tight": "warn-text", "no": "bad-text"}
    name = method_words(method["name"])
    cells = [
        *([(Path(method["model"]).name, "")] if several else []),
        (t("{method} (advised)", method=name) if method["chosen"] else name, "strong" if method["chosen"] else ""),
        (verdicts[method["verdict"]], colours[method["verdict"]]),
        (size(method["needed"]), "num"),
        (size(method["budget"]), "num"),
        (band_words(**method["seconds"]) if method["seconds"] else "–", ""),
    ]
    with ui.element("tr"):
        for text, style in cells:
            with ui.element("td"):
                ui.label(text).classes(style)


def method_words(name: str) -> str:
    """A method of `--method` in words."""
    return {
        "lora": t("LoRA on 16 bits"),
        "qlora": t("QLoRA (4 bits)"),
        "int8": t("LoRA on 8 bits"),
        "full": t("full fine-tuning"),
    }.get(name, name)


def band_words(low: float, high: float) -> str:
    """A band of seconds, in the largest unit of which it may be two."""

    def shown(unit: float) -> dict[str, str]:
        return {"low": _two_places(low / unit), "high": _two_places(high / unit)}

    if high >= 2 * 86400:
        return t("{low} to {high} days", **shown(86400))
    if high >= 2 * 3600:
        return t("{low} to {high} hours", **shown(3600))
    if high >= 120:
        return t("{low} to {high} minutes", **shown(60))
    return t("{low} to {high} seconds", **shown(1))


def _two_places(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"
