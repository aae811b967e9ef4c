"""The head of the screens of one run: its name and state, and the ways between these screens."""

from __future__ import annotations

from urllib.parse import quote

from nicegui import ui

from lorafit.studio.frame import heading, state_chip
from lorafit.studio.studio import Studio
from lorafit.studio.words import t


def run_head(studio: Studio, name: str, here: str) -> None:
    """here: which it is, `result` or `export`; the browser's tab says so, too. Raises StudioError without a run."""
    path = quote(name, safe="")
    ways = {
        "run": (t("Run"), f"/run/{path}"),
        "result": (t("Result"), f"/result/{path}"),
        "chat": (t("Chat"), f"/chat?runs=base,{path}"),
        "export": (t("Export"), f"/export/{path}"),
    }
    ui.page_title(f"{ways[here][0]} · {name} · lorafit")
    with ui.element("div").classes("between"):
        with ui.element("div").classes("inline"):
            heading(name, 1)
            state_chip(studio.runs.summary(name).state)
        with ui.element("nav").classes("run-ways").props(f'aria-label="{t("Screens of this run")}"'):
            for key, (words, target) in ways.items():
                link = ui.link(words, target).classes("way")
                if key == here:
                    link.classes("here").props("aria-current=page")
