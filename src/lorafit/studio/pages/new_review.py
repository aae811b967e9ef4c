"""New run, last step: the recipe and its command line, what is still wrong, the run's name, and the start."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml
from nicegui import ui

from lorafit.errors import LorafitError
from lorafit.report.words import size
from lorafit.studio.drafts import Draft
from lorafit.studio.form import faults_of, method_of, recipe_fields, written
from lorafit.studio.frame import button, card, copyable, heading, main_button, notice
from lorafit.studio.jobs import ENDED
from lorafit.studio.pages.new_plan import THIS, Planner, bar, verdict
from lorafit.studio.pages.setting_advice import after_advice, method_words
from lorafit.studio.pages.setting_fields import fault_words
from lorafit.studio.pages.steps import next_step, steps
from lorafit.studio.refusal import StudioError
from lorafit.studio.studio import Studio
from lorafit.studio.words import t, t_core

RECIPE = "recipe.yaml"
NAME_CHARACTERS = 80  # of a name that is made
NAME_BYTES = 200  # as a recipe allows
_STARTING = threading.Lock()  # two pages may show one draft


def show(studio: Studio, draft: Draft) -> None:
    steps(draft, "review")
    heading(t("Review and start"), 1)
    if draft.missing():
        for name in draft.missing():
            _fault(draft, name, t("not chosen yet"))
    else:
        after_advice(studio, draft, lambda: _reviewed(studio, draft))
    next_step(draft, "review")


def _reviewed(studio: Studio, draft: Draft) -> None:
    with card(t("What will be done")):
        for sentence in _summary(draft):
            ui.label(sentence)
    faults = ui.element("div").classes("setting-stack")
    with card(t("Does it fit on this machine?")) as plan_card:
        if draft.gpu != THIS:
            ui.label(t("It was planned for {device}; the run is on this machine.", device=draft.gpu)).classes("dim")
        planner = Planner(studio, draft, _small_plan, THIS)
    _start(studio, draft, planner, lambda: write())
    texts = ui.element("div").classes("setting-stack")

    def write() -> None:
        texts.clear()
        with texts, card(t("The recipe"), t("the same as a file: lorafit train recipe.yaml")):
            copyable(draft.yaml(), t("The recipe"))
        with texts, card(t("The command"), t("in a terminal, within the workspace folder")):
            copyable(command(draft), t("The command"))

    write()

    async def look() -> None:
        found = await asyncio.to_thread(faults_of, draft.content(), studio.workspace.check_recipe)
        plan_card.set_visibility(not found)  # its plan would only repeat them
        with faults:
            for name, text in found:
                _fault(draft, name, fault_words(name, text) if name else t_core(text))

    ui.timer(0, look, once=True)


def _fault(draft: Draft, name: str, text: str) -> None:
    """What is wrong, with the way to where it is mended."""
    step = step_of(name)
    places = {"model": t("Mend it: Model"), "data": t("Mend it: Data"), "settings": t("Mend it: Settings")}
    with notice(f"{name}: {text}" if name else text, "fault"):
        ui.link(places[step], f"/new/{draft.id}/{step}")


def step_of(name: str) -> str:
    """Where a setting is changed."""
    return {"model.name": "model", "data.train": "data"}.get(name, "settings")


def _small_plan(plan: dict[str, Any]) -> None:
    verdict(plan)
    bar(plan)
    if plan["verdict"] == "no":
        ui.label(t("The step Plan says what would make it fit.")).classes("dim")


def _summary(draft: Draft) -> list[str]:
    """What the run does, in sentences."""
    value = draft.value
    data = value("data.train")
    files = ", ".join(str(one.get("source", "")) if isinstance(one, dict) else str(one) for one in data) \
        if isinstance(data, list) else str(data)  # fmt: skip
    method = method_words(method_of(value("model.quantization"), value("adapter.method")))
    told = [
        t("Train {model} on {data}: {method}.", method=method, model=value("model.name"), data=files),
        t(
            "{epochs} passes over the data, {rows} rows an update, samples of up to {tokens} tokens.",
            epochs=written(recipe_fields()["train.epochs"], value("train.epochs")),
            rows=f"{value('train.batch_size')}",
            tokens=f"{value('data.max_length')}",
        ),
    ]
    if value("evaluate.prompts") and value("data.held_out"):
        count = value("evaluate.prompts")
        told.append(t("Up to {count} held-out questions are answered before and after.", count=count))
    told.append(t("All of it is kept in runs/, under the name below; nothing that is there is changed."))
    return told


# ---------------------------------------------------------------- the command


def command(draft: Draft) -> str:
    """The line that starts the same run in a terminal, in the workspace's folder."""
    settings = " ".join(shlex.quote(f"{name}={_as_override(value)}") for name, value in draft.settings.items())
    return f"lorafit train {settings}"


def _as_override(value: Any) -> str:
    """A value as `key=value` takes it: YAML, for which JSON will do; a plain word needs no quotes."""
    if isinstance(value, str) and _reads_as(value, value):
        return value
    return json.dumps(value, ensure_ascii=False)


def _reads_as(text: str, value: Any) -> bool:
    try:
        return bool(yaml.safe_load(text) == value)
    except yaml.YAMLError:
        return False


# ---------------------------------------------------------------- the name and the start


def suggested_name(draft: Draft) -> str:
    """Model, data, method and time, as `lorafit train` names a run."""
    data = draft.value("data.train")
    first = data[0] if isinstance(data, list) and data else data
    source = first.get("source", "") if isinstance(first, dict) else first
    parts = [
        Path(str(draft.value("model.name")).rstrip("/")).name.removeprefix("modelscope:"),
        Path(str(source)).stem,
        method_of(draft.value("model.quantization"), draft.value("adapter.method")),
    ]
    plain = "-".join(re.sub(r"[^\w.-]+", "-", part).strip(".-") for part in parts if part)
    return f"{plain[:NAME_CHARACTERS]}-{time.strftime('%Y%m%d-%H%M%S')}"


def name_fault(studio: Studio, name: str) -> str:
    """Why a run cannot have this name, in the reader's language; empty where it can."""
    if not name.strip(". ") or name.startswith((".", "-")) or re.search(r"[/\\:\x00-\x1f]", name):
        return t("A name becomes a folder: no slash, backslash or colon, and no dot or dash at its beginning.")
    if len(name.encode()) > NAME_BYTES:
        return t("A name has at most {count} bytes.", count=NAME_BYTES)
    waiting = any(job.state not in ENDED for job in studio.queue.of_run(name))
    if waiting or (studio.workspace.runs / name).exists():
        return t("There is a run {name} already: choose another name.", name=name)
    return ""


def start(studio: Studio, draft: Draft, name: str) -> None:
    """Put the run into the queue and remove the draft. name: one without a `name_fault`.

    Raises LorafitError, and then nothing was started: a fault of the recipe, or a draft that was started already.
    """
    with _STARTING:
        studio.drafts.open(draft.id)
        draft.set("name", name)
        faults = faults_of(draft.content(), studio.workspace.check_recipe)
        if faults:
            raise StudioError("\n".join(f"{key}: {text}" if key else text for key, text in faults))
        draft.unset("output")
        studio.queue.add("train", ["train", f"{{folder}}/{RECIPE}"], name, run=name, files={RECIPE: draft.yaml()})
        studio.drafts.remove(draft.id)


def _start(studio: Studio, draft: Draft, planner: Planner, named: Callable[[], None]) -> None:
    """named: called when the run has got another name."""
    with card(t("Start")):
        name = ui.input(t("Name of the run"), value=draft.value("name") or "", placeholder=suggested_name(draft))
        name.props("outlined dense stack-label debounce=400 hide-bottom-space").classes("setting-input").mark("name")
        name.without_auto_validation()
        name.props["hint"] = t("Empty: a name is made from model, data, method and time.")
        said = ui.element("div").classes("setting-stack")
        with ui.element("div").classes("inline"):
            go = main_button(t("Start"), lambda: pressed(), "play_arrow").mark("start")
            ui.label(t("It runs by itself: this page may be closed.")).classes("dim small")

    def typed() -> None:
        text = (name.value or "").strip()
        name.error = (text and name_fault(studio, text)) or None
        if name.error is None:
            draft.set("name", text or None)
            draft.save()
            named()

    async def pressed() -> None:
        if not go.enabled:  # the second of two quick clicks
            return
        go.disable()
        if not await began():
            go.enable()

    async def began() -> bool:
        if planner.plan is not None and planner.plan["verdict"] == "no" and not await _confirmed(planner.plan):
            return False
        chosen = (name.value or "").strip() or suggested_name(draft)
        name.error = name_fault(studio, chosen) or None
        if name.error is not None:
            return False
        said.clear()
        try:
            await asyncio.to_thread(start, studio, draft, chosen)
        except LorafitError as error:
            with said:
                notice(t_core(str(error)), "fault")
            return False
        ui.navigate.to(f"/run/{quote(chosen)}")
        return True

    name.on_value_change(typed)


async def _confirmed(plan: dict[str, Any]) -> bool:
    """Asks whether a run that does not fit is to be started."""
    with ui.dialog() as dialog, ui.card().classes("plan-ask"):
        heading(t("This does not fit"), 2)
        needed, budget = size(plan["needed"]), size(plan["budget"])
        ui.label(t("The plan needs {needed} of {budget}.", needed=needed, budget=budget))
        ui.label(t("`lorafit train` plans too, and would stop with exit code 3 before training. Start all the same?"))
        with ui.element("div").classes("inline"):
            main_button(t("Back"), lambda: dialog.submit(False)).mark("not-yet")
            button(t("Start anyway"), lambda: dialog.submit(True))
    answer = await dialog
    dialog.delete()
    return answer is True
