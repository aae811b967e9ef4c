"""What the first two steps of a new run share: choices to click on, and the advice that is made meanwhile."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable

from nicegui import background_tasks, ui

from lorafit.errors import LorafitError
from lorafit.studio.drafts import Draft
from lorafit.studio.pages.setting_advice import advise, is_due
from lorafit.studio.pages.steps import steps
from lorafit.studio.studio import Studio


class Choices:
    """Buttons of which one is pressed. choose: told the value that was clicked on."""

    def __init__(self, choose: Callable[[str], Awaitable[None]]) -> None:
        self._choose = choose
        self._buttons: dict[str, ui.button] = {}
        self._row = ui.element("div").classes("choices")

    def add(self, value: str, title: str, note: str) -> None:
        """A choice, unless it is there; all in the reader's language."""
        if value in self._buttons:
            return

        async def click() -> None:
            await self._choose(value)

        with self._row, ui.button(on_click=click, color=None) as chosen:
            chosen.props("flat no-caps align=left aria-pressed=false").classes("choice").mark(value)
            ui.label(title).classes("choice-title")
            ui.label(note).classes("dim small")
        self._buttons[value] = chosen

    def press(self, value: str | None) -> None:
        """Show which is chosen; none where it is another."""
        for name, choice in self._buttons.items():
            pressed = name == value
            choice.classes(add="chosen" if pressed else "", remove="" if pressed else "chosen")
            choice.props(f"aria-pressed={'true' if pressed else 'false'}")


class Steps:
    """The steps' bar of a page that makes choices: what is still open is told anew after each."""

    def __init__(self, draft: Draft, here: str) -> None:
        self._draft, self._here = draft, here
        self._bar = ui.element("div").classes("step-bar")
        self.draw()

    def draw(self) -> None:
        if not self._bar.is_deleted:
            self._bar.clear()
            with self._bar:
                steps(self._draft, self._here)


def prepare_advice(studio: Studio, draft: Draft) -> None:
    """Have the advice made while the reader still looks at the data. What it fails at, the settings' page says."""

    async def made() -> None:
        with contextlib.suppress(LorafitError):
            await advise(studio, draft)

    if is_due(draft):
        background_tasks.create(made(), name=f"advice for {draft.id}")
