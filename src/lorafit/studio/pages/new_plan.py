"""New run, fourth step: whether it fits, where the memory goes, how long it takes and what would change that."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from nicegui import background_tasks, ui

from lorafit.errors import LorafitError
from lorafit.plan.devices import DEVICES
from lorafit.report.memory import PARTS, SMALL
from lorafit.report.words import size
from lorafit.studio.drafts import Draft
from lorafit.studio.form import parse, recipe_fields
from lorafit.studio.frame import button, card, heading, notice
from lorafit.studio.pages.setting_advice import after_advice, band_words
from lorafit.studio.pages.steps import next_step, steps
from lorafit.studio.studio import Studio
from lorafit.studio.words import t, t_core

THIS = "this"
SIZES = ("8GB", "12GB", "16GB", "24GB", "32GB", "40GB", "48GB", "80GB")
WAIT = 0.6  # seconds without a change before it is planned again
Drawn = Callable[[dict[str, Any]], None]


class Planner:
    """A plan on a page, made anew some time after `again` was last called.

    draw: called with each plan, within its place. gpu: the device that it is always for, the draft's when None.
    changes: whether to look for what would change it; then `draw` is called twice, the first time without.
    """

    def __init__(
        self,
        studio: Studio,
        draft: Draft,
        draw: Drawn,
        gpu: str | None = None,
        changes: bool = False,
        at_once: bool = True,
    ) -> None:
        self.plan: dict[str, Any] | None = None
        self._studio, self._draft, self._draw, self._gpu, self._changes = studio, draft, draw, gpu, changes
        self._turn = 0
        with ui.element("div").classes("setting-stack"):
            self._place = ui.element("div").classes("setting-stack")
            self._busy = ui.element("div").classes("inline dim small").props("role=status")
            with self._busy:
                ui.spinner(size="1em")
                ui.label(t("Planning …"))
        if at_once:
            ui.timer(0, lambda: self.again(0), once=True)

    def again(self, wait: float | None = None) -> None:
        """Plan, unless it is asked again within `wait` seconds (WAIT when None)."""
        self._turn += 1
        background_tasks.create(self._made(self._turn, WAIT if wait is None else wait), name="plan")

    async def _made(self, turn: int, wait: float) -> None:
        await asyncio.sleep(wait)
        for changes in (False, True) if self._changes else (False,):
            if not self._is_wanted(turn):
                return
            self._busy.set_visibility(True)
            try:
                gpu, whose = self._gpu or self._draft.gpu, f"{self._draft.id} {id(self)}"
                plan = await self._studio.desk.plan(self._draft.content(), gpu, changes, whose)
            except LorafitError as error:
                if self._is_wanted(turn):
                    self._show(None, str(error))
                return
            if self._is_wanted(turn):
                self._show(plan)
                self._busy.set_visibility(self._changes and not changes)

    def _is_wanted(self, turn: int) -> bool:
        """Whether no newer one was asked for, and the page is still there."""
        return turn == self._turn and not self._place.is_deleted

    def _show(self, plan: dict[str, Any] | None, fault: str = "") -> None:
        self.plan = plan
        self._busy.set_visibility(False)
        self._place.clear()
        with self._place:
            if plan is None:
                notice(t_core(fault), "fault")
            else:
                self._draw(plan)


def plan_strip(studio: Studio, draft: Draft, at_once: bool = True) -> Planner:
    """The verdict and a small bar, for where settings are changed. at_once: plan before anything is changed."""

    def draw(plan: dict[str, Any]) -> None:
        with ui.element("div").classes("between"):
            verdict(plan)
            if plan["run_seconds"]:
                ui.label(t("Time of the updates: {time}", time=band_words(*plan["run_seconds"]))).classes("dim")
            ui.link(t("The plan, and what would change it"), f"/new/{draft.id}/plan")
        bar(plan)

    with ui.element("section").classes("card plan-strip"):
        return Planner(studio, draft, draw, at_once=at_once)


def show(studio: Studio, draft: Draft) -> None:
    steps(draft, "plan")
    heading(t("Plan"), 1)

    if draft.missing():
        notice(t("Choose a model and data first."), "warning")
    else:
        after_advice(studio, draft, lambda: _planned(studio, draft))
    next_step(draft, "plan")


def _planned(studio: Studio, draft: Draft) -> None:
    def draw(plan: dict[str, Any]) -> None:
        _plan(plan, draft.gpu == THIS, use)

    def use(overrides: list[str]) -> None:
        for name, text in (override.split("=", 1) for override in overrides):
            draft.set(name, parse(recipe_fields()[name], text))
        draft.save()
        planner.again(0)

    with card(t("For which device?"), t("The run itself is always on this machine.")):
        device_select(draft, lambda: planner.again(0))
    planner = Planner(studio, draft, draw, changes=True)


def device_select(draft: Draft, changed: Callable[[], None]) -> None:
    """This machine, a size, a card by its name, or what else `lorafit plan --gpu` takes."""
    names = {THIS: t("this machine")}
    names |= {gib: t("a card with {size}", size=gib) for gib in SIZES}
    names |= {device.name: device.name for device in DEVICES}
    names.setdefault(draft.gpu, draft.gpu)
    chosen = ui.select(names, label=t("Device"), value=draft.gpu, with_input=True, new_value_mode="add-unique")
    chosen.props("outlined dense options-dense").classes("setting-input").mark("device")
    chosen.props["hint"] = t("Or type a size and press Enter, such as 20GB or cpu 64GB.")

    def change() -> None:
        if chosen.value and chosen.value != draft.gpu:
            draft.gpu = chosen.value
            draft.save()
            changed()

    chosen.on_value_change(change)


# ---------------------------------------------------------------- what a plan says


def verdict(plan: dict[str, Any]) -> None:
    """One sentence: whether it fits, of how much."""
    figures = {"device": t_core(plan["device"]), "needed": size(plan["needed"]), "budget": size(plan["budget"])}
    margin = plan["budget"] - plan["needed"]
    if plan["verdict"] == "yes":
        words, style = t("Fits on {device}: {needed} of {budget}.", **figures), "good-text"
    elif plan["verdict"] == "tight":
        words, style = t("Tight on {device}: {needed} of {budget}. It may run out of memory.", **figures), "warn-text"
    elif margin < 0:
        over = size(-margin)
        words = t("Does not fit on {device}: {needed} of {budget}, {over} too much.", over=over, **figures)
        style = "bad-text"
    else:
        words = t("Does not fit on {device}: of {budget} no piece is left that is large enough.", **figures)
        style = "bad-text"
    ui.label(words).classes(f"plan-verdict {style}").props("role=status").mark("verdict")


def bar(plan: dict[str, Any], enlarged: bool = False) -> None:
    """The parts to scale; a line stands where the device's memory ends. enlarged: without what is left of it."""
    whole = plan["needed"] if enlarged else max(plan["needed"], plan["budget"])
    shares = ", ".join(f"{t_core(name)} {size(plan['parts'][name])}" for name in PARTS if name in plan["parts"])
    stack = ui.element("div").classes("plan-bar").props("role=img")
    stack.props["aria-label"] = f"{size(plan['needed'])} / {size(plan['budget'])}: {shares}"
    with stack:
        for name, style in PARTS.items():
            if name in plan["parts"]:
                count = plan["parts"][name]
                part = ui.element("div").classes(f"plan-part plan-{style}").style(f"width:{count / whole:.4%}")
                with part:
                    ui.tooltip(f"{t_core(name)}: {size(count)}")
        if plan["needed"] > plan["budget"]:
            ui.element("div").classes("plan-end").style(f"left:{plan['budget'] / whole:.4%}")


def legend(plan: dict[str, Any]) -> None:
    """The parts with their figures."""
    with ui.element("ul").classes("plan-legend"):
        for name, style in PARTS.items():
            if name in plan["parts"]:
                count = plan["parts"][name]
                with ui.element("li"):
                    ui.element("span").classes(f"plan-key plan-{style}")
                    ui.label(t_core(name))
                    ui.label(size(count)).classes("num")
                    ui.label(_percent(count / plan["needed"])).classes("dim num")


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.005 else "<1%"


def _plan(plan: dict[str, Any], here: bool, use: Callable[[list[str]], None]) -> None:
    """here: whether it is for this machine, where the run would be."""
    refused = plan["verdict"] == "no"
    with card():
        verdict(plan)
        if refused and here:
            words = t("Started like this, `lorafit train` plans first and stops with exit code 3, before any training.")
            notice(words, "fault")
        if refused:
            _changes(plan, use)
        ui.label(t("{method} of {model}", method=t_core(plan["method"]), model=plan["model"])).classes("dim")
        bar(plan)
        if plan["needed"] < SMALL * plan["budget"]:
            ui.label(t("The same, enlarged")).classes("dim small")
            bar(plan, enlarged=True)
        legend(plan)
    with card(t("Time and size")):
        _facts(plan)
    if not refused:
        with card(t("What would change it")):
            _changes(plan, use)


def _facts(plan: dict[str, Any]) -> None:
    seconds = plan["update_seconds"]
    if seconds is None:
        ui.label(t("No time can be told: the speed of this device is not known. Choose a card by its name."))
    else:
        update = t(
            "An update of {tokens} tokens: {time}.",
            tokens=f"{plan['tokens']:,}",
            time=band_words(seconds["low"], seconds["high"]),
        )
        ui.label(update)
        if plan["run_seconds"]:
            run = t("All {count} updates: {time}, without loading and answering.", count=f"{plan['updates']:,}",
                    time=band_words(*plan["run_seconds"]))  # fmt: skip
            ui.label(run).classes("strong")
    trained, whole = f"{plan['trained']:,}", f"{plan['parameters']:,}"
    ui.label(t("{trained} weights are trained, of a base of {whole}.", trained=trained, whole=whole))
    settings = plan["settings"]
    ui.label(
        t(
            "Planned in {dtype} with {tokens} tokens a pass, recomputed: {recompute}.",
            dtype=settings["dtype"],
            tokens=f"{settings['tokens_per_pass']:,}",
            recompute=settings["recompute"],
        )
    ).classes("dim")
    for words, count in ((t("of optimizer state may go to the host's memory"), plan["paged"]),
                         (t("of activations are kept in the host's memory"), plan["host"])):  # fmt: skip
        if count:
            ui.label(f"{size(count)} {words}").classes("dim")
    for note in plan["notes"]:
        ui.label(t_core(note)).classes("dim small")
    for assumption in plan["assumptions"]:
        ui.label(t("Assumed: {what}", what=t_core(assumption))).classes("dim small")


def _changes(plan: dict[str, Any], use: Callable[[list[str]], None]) -> None:
    if "changes" not in plan:  # on their way
        ui.label(t("Looking for what would change it …")).classes("dim")
        return
    if not plan["changes"]:
        ui.label(t("No single setting would help noticeably. A smaller model or shorter samples would.")).classes("dim")
        return
    with ui.element("div").classes("plan-changes"):
        for change in plan["changes"]:
            _change(change, plan["verdict"] != "yes", use)


def _change(change: dict[str, Any], refused: bool, use: Callable[[list[str]], None]) -> None:
    """refused: whether the plan as it is does not fit plainly."""
    saved, ratio = change["saved"], change["time"]
    memory = t("{size} less memory", size=size(saved)) if saved >= 0 else t("{size} more memory", size=size(-saved))
    time = "" if ratio is None else _time_words(ratio)
    with ui.element("div").classes("plan-change"):
        with ui.element("div").classes("setting-grow"):
            ui.label(t_core(change["sentence"])).classes("strong")
            ui.label(" ".join(change["overrides"])).classes("setting-name")
        ui.label(memory).classes("good-text" if saved >= 0 else "warn-text")
        ui.label(time).classes("dim")
        if not change["fits"]:
            ui.label(t("not enough alone") if refused else t("does not fit then")).classes("dim")
        elif refused:
            ui.label(t("then it fits")).classes("good-text")
        use_it = button(t("Use this"), lambda: use(change["overrides"])).mark(f"use {' '.join(change['overrides'])}")
        use_it.props["aria-label"] = f"{t('Use this')}: {t_core(change['sentence'])}"


def _time_words(ratio: float) -> str:
    percent = f"{abs(ratio - 1):.0%}"
    if abs(ratio - 1) < 0.005:
        return t("as long")
    return t("{percent} longer", percent=percent) if ratio > 1 else t("{percent} shorter", percent=percent)
