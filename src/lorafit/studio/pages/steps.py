"""The path of a new run: its steps at the top of each, and the way to the next at the bottom."""

from __future__ import annotations

from nicegui import ui

from lorafit.studio.drafts import Draft
from lorafit.studio.frame import button, main_button
from lorafit.studio.words import t

ORDER = ("model", "data", "settings", "plan", "review")
NEEDS = {"model": "model.name", "data": "data.train"}  # steps without which there is no run


def steps(draft: Draft, here: str) -> None:
    """Links to all steps: each can be entered at any time. Keeps where the draft was left."""
    if draft.step != here:
        draft.step = here
        draft.save()
    with ui.element("nav").classes("steps").props(f'aria-label="{t("Steps of a new run")}"'):
        for number, step in enumerate(ORDER, 1):
            link = ui.link(f"{number} {step_words(step)}", f"/new/{draft.id}/{step}").classes("step")
            if NEEDS.get(step) in draft.missing():
                link.classes("open").props["aria-label"] = t("{step}: still open", step=step_words(step))
            if step == here:
                link.classes("here").props("aria-current=step")


def next_step(draft: Draft, here: str) -> None:
    """The buttons to the steps before and after, where there are such."""
    at = ORDER.index(here)
    with ui.element("div").classes("between step-ways"):
        if at > 0:
            back = f"/new/{draft.id}/{ORDER[at - 1]}"
            button(t("Back"), lambda: ui.navigate.to(back)).classes("back")
        if at + 1 == len(ORDER):
            return
        forward = f"/new/{draft.id}/{ORDER[at + 1]}"
        main_button(t("Next: {step}", step=step_words(ORDER[at + 1])), lambda: ui.navigate.to(forward)).props(
            "icon-right=arrow_forward"
        )


def step_words(step: str) -> str:
    return {
        "model": t("Model"),
        "data": t("Data"),
        "settings": t("Settings"),
        "plan": t("Plan"),
        "review": t("Review"),
    }[step]
