"""The screen on which a run becomes something to take away: the formats, their making, and what was made."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from urllib.parse import quote

from nicegui import ui

from lorafit.errors import LorafitError
from lorafit.recipe import Recipe
from lorafit.report.words import NONE, count, figure, moment, size
from lorafit.studio.exports import KINDS, Export, Kind, command, exports_of, is_asked
from lorafit.studio.frame import button, card, follow, heading, main_button, notice, state_chip, tile
from lorafit.studio.jobs import ENDED, Job
from lorafit.studio.pages.run_head import run_head
from lorafit.studio.recipes import recipe_of
from lorafit.studio.studio import Studio
from lorafit.studio.watching import log_lines
from lorafit.studio.words import t, t_core

EVERY_SECONDS = 2.0
LOG_LINES = 6
GGUF = ("gguf", "gguf-adapter")


@dataclass(frozen=True, slots=True)
class About:
    """A kind in plain words: what it is, which programs open it."""

    title: str
    purpose: str
    opened_by: str


@dataclass(frozen=True, slots=True)
class Seen:
    """What the disk says; the screen is made anew when it changes. tails: the last lines of the jobs' logs."""

    exports: tuple[Export, ...]
    jobs: tuple[Job, ...]
    tails: tuple[str, ...]


def show(studio: Studio, name: str) -> None:
    """Raises StudioError when there is no such run or its recipe would run code, RecipeError when it cannot be read."""
    run = studio.workspace.run(name)
    recipe = recipe_of(run.recipe)
    run_head(studio, name, "export")
    trained = run.model if recipe.adapter.method == "none" else run.adapter
    if not trained.is_dir():
        notice(t("This run holds no trained weights yet: let it finish, then export it."), "warning")
    Exports(studio, name, recipe, trained.is_dir())


class Exports:
    """The parts of the screen that change."""

    def __init__(self, studio: Studio, name: str, recipe: Recipe, is_trained: bool) -> None:
        self._studio, self._name = studio, name
        self._seen: Seen | None = None
        self._buttons: dict[str, ui.button] = {}
        self._reasons: dict[str, ui.element] = {}
        self._work = ui.element("div").classes("stack export-stack")
        self._finished = ui.element("div").classes("stack export-stack")
        heading(t("Make an export"))
        ui.label(
            t("Each is opened by the program that will use it and compared with the trained model before you get it.")
        ).classes("dim")
        with ui.element("div").classes("export-kinds"):
            for kind in KINDS:
                self._card(kind, _obstacle(kind, recipe), is_trained)
        follow(self.look, EVERY_SECONDS)
        ui.timer(0, self._ask_the_desk, once=True)

    def _card(self, kind: Kind, obstacle: str, is_trained: bool) -> None:
        about = _about(kind.name)
        with card(about.title, kind.name) as box:
            box.classes("export-kind")
            ui.label(about.purpose)
            ui.label(t("Opened by: {programs}", programs=about.opened_by)).classes("dim small")
            reason = notice(obstacle, "warning") if obstacle else notice("", "warning").classes("hidden")
            ui.element("div").classes("export-space")
            form = None
            if kind.forms:
                options = {one: _form(one) for one in kind.forms}
                form = ui.select(options, value=kind.forms[0], label=t("Kind of numbers")).props("outlined dense")
                form.classes("export-form").set_enabled(not obstacle)

            async def make() -> None:
                await self._make(kind, form.value if form else None)

            pressed = (main_button if kind is KINDS[0] else button)(t("Export"), make, "inventory_2")
            pressed.props(f'aria-label="{t("Export")}: {about.title}"').set_enabled(is_trained and not obstacle)
            self._buttons[kind.name], self._reasons[kind.name] = pressed, reason

    async def _make(self, kind: Kind, form: str | None) -> None:
        def add() -> bool:
            words = command(self._studio.workspace, self._name, kind, form)
            if is_asked(self._studio.queue.of_run(self._name), words):
                return False
            label = f"{kind.name} {form}" if form not in (None, "auto") else kind.name
            self._studio.queue.add("export", words, f"{self._name}: {label}", run=self._name)
            return True

        try:
            if not await asyncio.to_thread(add):
                ui.notify(t("This export is being made already."))
        except LorafitError as error:
            ui.notify(t_core(str(error)), type="negative", multi_line=True)
        await self.look()

    async def _ask_the_desk(self) -> None:
        """Whether llama.cpp knows the architecture; it takes the worker's imports, so the screen does not wait."""
        try:
            reason = (await self._studio.desk.exportable(self._name))["gguf"]
        except LorafitError:
            return  # then the export itself says what is wrong
        for kind in GGUF if reason else ():
            self._buttons[kind].set_enabled(False)
            with self._reasons[kind].classes(remove="hidden"):
                ui.label(t_core(reason)).classes("said")

    async def look(self) -> None:
        """Show what has changed on the disk."""
        seen = await asyncio.to_thread(_look, self._studio, self._name)
        if seen == self._seen:
            return
        before, self._seen = self._seen, seen
        self._work.clear()
        with self._work:
            for job, tail in zip(seen.jobs, seen.tails, strict=True):
                self._job(job, tail)
        if before is None or before.exports != seen.exports:
            self._finished.clear()
            with self._finished:
                for export in seen.exports:
                    _finished(self._studio.workspace.shown(export.folder), self._name, export)

    def _job(self, job: Job, tail: str) -> None:
        with card(job.label.removeprefix(f"{self._name}: ")):
            with ui.row().classes("between"):
                state_chip(job.state)
                if job.state in ENDED:
                    button(t("Close"), lambda: self._end(job))
                else:
                    button(t("Cancel"), lambda: self._end(job))
            if job.state == "running":
                ui.linear_progress(show_value=False).props("indeterminate rounded").classes("export-progress")
            if job.message:
                notice(t_core(job.message), "fault" if job.state == "failed" else "note")
            if tail:
                ui.label(tail).classes("code dim")

    async def _end(self, job: Job) -> None:
        queue = self._studio.queue
        try:
            await asyncio.to_thread(queue.forget if job.state in ENDED else queue.cancel, job.id)
        except LorafitError as error:
            ui.notify(t_core(str(error)), type="negative")
        await self.look()


def _look(studio: Studio, name: str) -> Seen:
    """Jobs that are done are seen as the exports that they made."""
    jobs = tuple(job for job in studio.queue.of_run(name) if job.kind == "export" and job.state != "done")
    return Seen(
        tuple(exports_of(studio.workspace, name)),
        jobs,
        tuple("\n".join(log_lines(job.log)[-LOG_LINES:]) for job in jobs),
    )


def _finished(shown: str, run: str, export: Export) -> None:
    """shown: where it is, for people."""
    check, address = export.check, f"/download/export/{quote(run, safe='')}/{quote(export.folder.name, safe='')}"
    about = _about(export.kind)
    with card(about.title, f"{export.form} · {moment(export.made)}"):
        if export.holds:
            notice(t("The self-check held: it answers like the trained model."), "ok")
        else:
            notice(t("It answers otherwise than the trained model, as its README.md explains."), "warning")
        with ui.element("div").classes("tiles"):
            equal = f"{count(check.get('equal'))} / {count(check.get('tokens'))}"
            tile(t("Same tokens"), equal, t("on {count} prompts", count=count(check.get("prompts"))))
            what = t("of a likely token's log-probability") if export.kind in GGUF else t("of a likely token's logit")
            tile(t("Largest difference"), figure(check.get("difference")), what)
            change = export.perplexity_change
            tile(t("Perplexity"), NONE if change is None else f"{change:+.2%}", t("against the trained model"))
            tile(t("Size"), size(export.size), str(check.get("engine", "")))
        with ui.row().classes("between"):
            ui.label(shown).classes("code dim")
            with ui.row().classes("inline"):
                if export.main_file:
                    bytes_ = size(export.main_file.stat().st_size)
                    _link(
                        export.main_file.name, f"{address}/{quote(export.main_file.name, safe='')}", "outline", bytes_
                    )
                everything = t("Download all") if export.main_file else t("Download")
                _link(everything, address, "unelevated color=primary", f"ZIP, {size(export.size)}")
        if export.kind in GGUF:
            ui.label(t("With Ollama, in the unpacked folder: ollama create NAME -f Modelfile")).classes("dim small")
        else:
            ui.label(t("How to use it is in its README.md.")).classes("dim small")


def _link(text: str, address: str, look: str, note: str) -> None:
    link = ui.button(f"{text} ({note})", icon="download").props(f"{look} no-caps download").classes("export-link")
    link.props["href"] = address


def _obstacle(kind: Kind, recipe: Recipe) -> str:
    """Why a kind cannot be made here; empty where it can, as far as is known without the base."""
    if kind.name == "gguf-adapter" and recipe.adapter.method == "none":
        return t("This run trained every weight: there is no adapter. Take GGUF.")
    if missing := kind.missing:
        wanted = f"'lorafit[{kind.extra}]'" if kind.extra else " ".join(missing)
        names = ", ".join(missing)
        return t("Not installed here: {names}. Run: pip install {wanted}", names=names, wanted=wanted)
    return ""


def _about(kind: str) -> About:
    known = {
        "merged": About(
            t("Whole model"),
            t("What was learnt, folded into the base: an ordinary model folder, for a server or a hub."),
            "transformers, vLLM, SGLang",
        ),
        "gguf": About(
            t("GGUF, for your own computer"),
            t("One file that runs without Python, also on a laptop without a GPU."),
            "Ollama, llama.cpp, LM Studio",
        ),
        "quantized": About(
            t("Whole model in 4 or 8 bits"),
            t("A model folder of a quarter or half the size, for a GPU with little memory."),
            t("transformers with bitsandbytes"),
        ),
        "onnx": About(
            t("ONNX"),
            t("A graph for programs in C++, C#, Java or JavaScript, on many kinds of chips."),
            "ONNX Runtime",
        ),
        "gguf-adapter": About(
            t("GGUF of the adapter alone"),
            t("A small file that is put on a GGUF of the same base: many adapters share one base."),
            "llama.cpp, Ollama",
        ),
    }
    return known.get(kind, About(t("Export"), "", ""))


def _form(form: str) -> str:
    said = {
        "auto": t("as the base has them"),
        "q8_0": t("8 bits: hardly any loss"),
        "q6_k": t("6 bits: very little loss"),
        "q5_k_m": t("5 bits: little loss"),
        "q4_k_m": t("4 bits: the usual choice for a small computer"),
        "q2_k": t("2 bits: smallest, and clearly worse"),
        "f16": t("16 bits: nothing lost, twice the size of 8 bits"),
        "nf4": t("4 bits: a quarter of the size"),
        "int8": t("8 bits: half the size"),
        "float32": t("32 bits: exact, largest"),
    }.get(form)
    return f"{form} – {said}" if said else form
