"""Sweeps and comparisons of the workspace, on the home screen."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

from nicegui import ui

from lorafit.studio.frame import card
from lorafit.studio.results import FoundStudy
from lorafit.studio.words import t
from lorafit.studio.workspace import Workspace


class StudyList:
    """Not to be seen while there are none; drawn again when something has changed."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._shown: Sequence[FoundStudy] = ()
        with card(t("Sweeps and comparisons")) as self._card:
            self._rows = ui.element("ul").classes("plain-list")
        self._card.set_visibility(False)

    def show(self, found: Sequence[FoundStudy]) -> None:
        if found == self._shown:
            return
        self._shown = found
        self._card.set_visibility(bool(found))
        self._rows.clear()
        with self._rows:
            for study in found:
                with ui.element("li").classes("inline"):
                    ui.link(study.name, f"/study/{quote(self._workspace.shown(study.path))}")
                    axes = "; ".join(f"{name}: {', '.join(map(str, values))}" for name, values in study.axes.items())
                    done = t("{done} of {count} finished", done=study.finished, count=len(study.states))
                    ui.label(f"{done} · {axes}").classes("dim small")
