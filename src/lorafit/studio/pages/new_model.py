"""New run, first step: the model that is tuned, and what is known of it before anything is downloaded."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any

from nicegui import ui

from lorafit import builtin
from lorafit.errors import LorafitError
from lorafit.plan.known_shapes import FULL_NAMES
from lorafit.report.words import size
from lorafit.studio.drafts import Draft
from lorafit.studio.frame import button, card, heading, notice, tile
from lorafit.studio.pages.new_choice import Choices, Steps, prepare_advice
from lorafit.studio.pages.steps import next_step
from lorafit.studio.studio import Studio
from lorafit.studio.words import t, t_core

KEY = "model.name"
MOST_CHOICES = 8
FOLDERS = ("*/config.json", "models/*/config.json", "exports/*/config.json")  # where a workspace has models of its own
MODELSCOPE = "modelscope:"


def show(studio: Studio, draft: Draft) -> None:
    bar = Steps(draft, "model")
    heading(t("Which model do you start from?"), 1)
    _Model(studio, draft, bar)
    next_step(draft, "model")


class _Model:
    """The choice of a model, and what is known of the one that is chosen."""

    def __init__(self, studio: Studio, draft: Draft, bar: Steps) -> None:
        self._studio, self._draft, self._bar = studio, draft, bar
        with card(t("Choose a model"), t("The model itself stays as it is: what it learns is kept beside it.")):
            self._choices = Choices(self._choose)
            self._choices.add(builtin.NAME, t("Built-in"), t("tiny, comes with lorafit: to try everything in minutes"))
            with ui.element("div").classes("inline top"):
                self._name = ui.input(
                    t("Or a name on Hugging Face, or a folder of the workspace"),
                    placeholder="Qwen/Qwen3-0.6B",
                    autocomplete=[name for name in FULL_NAMES if "/" in name],
                )
                self._name.props("outlined dense spellcheck=false").classes("grow").mark("model")
                self._hub = ui.select({"": "Hugging Face", MODELSCOPE: "ModelScope"}, value="", label=t("Hub"))
                self._hub.props("outlined dense options-dense").classes("choice-hub")
                button(t("Look at it"), self._take)
            self._hub.on_value_change(self._take)
            self._name.on("keydown.enter", self._take)
            self._name.on("blur", self._take)
        self._found = ui.element("div").classes("setting-stack").props("aria-live=polite")
        ui.timer(0, self._begin, once=True)

    async def _begin(self) -> None:
        offered = await asyncio.to_thread(_offered, self._studio)
        if self._found.is_deleted:
            return
        notes = {"run": t("a base that you have used here"), "folder": t("a folder of the workspace")}
        for name, kind in offered:
            self._choices.add(name, Path(name).name if kind == "folder" else name, notes[kind])
        if chosen := self._draft.settings.get(KEY):
            await self._choose(chosen)
            return
        with self._found:
            hint = t("New to this? Begin with the built-in model; then take one of 0.5 to 8 billion parameters.")
            ui.label(hint).classes("dim")
        with contextlib.suppress(LorafitError):  # said when there is a question
            await self._studio.desk.expect_questions()

    async def _take(self) -> None:
        """What was typed; the field is left, too, when something else is clicked on."""
        typed = (self._name.value or "").strip()
        name = typed if typed.startswith(MODELSCOPE) else f"{self._hub.value}{typed}"
        if typed and name != self._draft.settings.get(KEY):
            await self._choose(name)

    async def _choose(self, name: str) -> None:
        draft = self._draft
        try:
            draft.set(KEY, name)
            draft.save()
            self._wait(name)
            found = await self._studio.desk.model(name)
        except LorafitError as error:
            if draft.settings.get(KEY) == name:
                draft.unset(KEY)
                draft.save()
                self._bar.draw()
                self._say(error)
            return
        if draft.settings.get(KEY) != name:  # another was chosen meanwhile
            return
        draft.set(KEY, found["name"])
        draft.save()
        self._bar.draw()
        prepare_advice(self._studio, draft)
        if not self._found.is_deleted:
            self._choices.press(found["name"])
            self._found.clear()
            with self._found:
                _show(found)
        await self._studio.desk.expect_advice()

    def _wait(self, name: str) -> None:
        if self._found.is_deleted:
            return
        self._choices.press(name)
        self._found.clear()
        with self._found, ui.row().classes("inline"):
            ui.spinner()
            ui.label(t("Looking at {name} …", name=name))

    def _say(self, error: LorafitError) -> None:
        if self._found.is_deleted:
            return
        self._choices.press(None)
        self._found.clear()
        with self._found:
            notice(t_core(str(error)), "fault")


def _offered(studio: Studio) -> list[tuple[str, str]]:
    """(name as a recipe has it, kind) of the bases of the newest runs, and of model folders in the workspace."""
    used = [run.model for run in studio.runs.summaries()]
    root = studio.workspace.root
    folders = [file.parent.relative_to(root).as_posix() for pattern in FOLDERS for file in sorted(root.glob(pattern))]
    bases = [name for name in dict.fromkeys(used) if name and name not in (builtin.NAME, *folders)]
    return [*((name, "run") for name in bases[:MOST_CHOICES]), *((name, "folder") for name in folders[:MOST_CHOICES])]


def _show(found: dict[str, Any]) -> None:
    """found: as `deskwork.model` gives it."""
    with card(found["shown"], found["kind"]):
        with ui.element("div").classes("tiles"):
            tile(t("Parameters"), count_words(found["parameters"]))
            tile(t("Layers"), f"{found['layers']:,}", t("{width} wide", width=f"{found['width']:,}"))
            context = f"{found['context']:,}" if found["context"] else "–"
            tile(t("Context"), context, t("tokens (pieces of words) at once, at most"))
            tile(t("Vocabulary"), f"{found['vocabulary']:,}", t("tokens"))
        if found["looks"]:
            ui.label(_looks(found["looks"])).classes("strong")
            ui.label(t("; ").join(t_core(text) for text in found["evidence"])).classes("dim")
        if found["template"]:
            ui.label(_template(found["template"]))
        ui.label(_download(found))
        if found["note"]:
            notice(t_core(found["note"]), "note")
        if found["reason"]:
            notice(t_core(found["reason"]), "warning", t("Training will need it: tokens cannot be counted without."))


def _looks(looks: str) -> str:
    return {
        "a plain base": t("It looks like a plain base: it goes on with texts, and learns to answer from your data."),
        "instruction-tuned": t("It looks like a chat model: it answers already, and your data changes how."),
    }.get(looks, t("It may be a chat model that answers already: its name and files do not tell for certain."))


def _template(template: dict[str, Any]) -> str:
    if not template["own"]:
        return t(
            "Without a chat template of its own, questions and answers are written in the form “{name}”.",
            name=template["name"],
        )
    ends = " ".join(template["end_of_turn"]) or "–"
    return t("It brings its own chat template; an answer ends with {token}.", token=ends)


def _download(found: dict[str, Any]) -> str:
    if found["origin"] == "builtin":
        return t("Nothing to download: it comes with lorafit ({size}).", size=size(found["weights"]))
    if found["here"]:
        return t("Nothing to download: its weights are on this disk ({size}).", size=size(found["weights"]))
    return t("Its weights, about {size}, are downloaded when the run starts.", size=size(found["weights"]))


def count_words(count: int) -> str:
    """3,279,104 as `3.28 M`."""
    for unit, worth in (("B", 1e9), ("M", 1e6)):
        if count >= worth:
            return f"{count / worth:.3g} {unit}"
    return f"{count:,}"
