"""One answer of the chat: as it comes, and what a reader can do with it (rate, correct, copy, keep as data)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from nicegui import ui

from lorafit.studio.conversations import Answer, Rating
from lorafit.studio.frame import notice
from lorafit.studio.words import t


@dataclass(frozen=True, slots=True)
class Uses:
    """What follows when an answer was rated, when it was corrected, and when it is to be kept as data."""

    rated: Callable[[], Awaitable[None]]
    corrected: Callable[[], Awaitable[None]]
    keep: Callable[[], Awaitable[None]]


def as_text(written: str | None) -> str:
    """What was typed, without halves of characters, which no file can hold."""
    return (written or "").encode(errors="replace").decode()


class AnswerView:
    """An answer in its column."""

    def __init__(self, name: str, number: int, answer: Answer, uses: Uses) -> None:
        """name: of who answers, as shown; number: of the column, for its colour."""
        self.answer, self._uses = answer, uses
        with ui.element("section").classes(f"answer speaker-{number % 4}") as box:
            box.props["aria-label"] = name
            with ui.element("div").classes("inline"):
                ui.label(name).classes("h3")
                self._spinner = ui.spinner(size="1em")
                self._mark = ui.label(t("corrected")).classes("state good")
            self._loading = ui.label().classes("dim small said")
            self._text = ui.label().classes("said")
            self._editor = ui.element("div").classes("stacked")
            self._fault = ui.element("div")
            self._note = ui.label().classes("dim small")
            with ui.element("div").classes("inline tools") as self._tools:
                self._ratings: dict[Rating, ui.button] = {
                    "good": self._tool("thumb_up", t("Good answer"), lambda: self._rate("good")),
                    "bad": self._tool("thumb_down", t("Bad answer"), lambda: self._rate("bad")),
                }
                self._tool("edit", t("Correct the answer"), self._edit)
                self._tool("content_copy", t("Copy"), self._copy)
                self._keep = ui.button(icon="playlist_add", on_click=self._keep_it, color=None)
                self._keep.props("flat dense no-caps").classes("quiet")
        self.show()

    def _tool(self, icon: str, name: str, on_click: Callable[[], object]) -> ui.button:
        button = ui.button(icon=icon, on_click=on_click, color=None).props("flat round dense").classes("quiet")
        button.props["aria-label"] = name
        return button.tooltip(name)

    def grow(self) -> bool:
        """Show what is there of an answer that is being given; False when it is over."""
        answer = self.answer
        if answer.is_over:
            self.show()
            return False
        self._text.text = answer.text
        self._loading.text = t("The model is being loaded … {line}", line=answer.loading or "")
        self._loading.visible = answer.loading is not None
        return True

    def show(self) -> None:
        """Show the answer with all that belongs to it."""
        answer, over = self.answer, self.answer.is_over
        self._spinner.visible, self._loading.visible = not over, False
        self._text.text, self._text.visible = answer.best, True
        self._mark.visible = answer.corrected is not None
        self._tools.visible = over and (bool(answer.best) or not answer.fault)
        self._note.text = _note(answer)
        self._fault.clear()
        if answer.fault:
            with self._fault:
                notice(answer.fault, "fault")
        for rating, button in self._ratings.items():
            button.props["aria-pressed"] = str(answer.rating == rating).lower()
            button.classes(add="chosen" if answer.rating == rating else "", remove="chosen")
        kept = answer.saved is not None and answer.saved == answer.best
        self._keep.text = t("Kept as data") if kept else t("Keep as data")
        self._keep.set_enabled(bool(answer.best) and not kept)

    async def _rate(self, rating: Rating) -> None:
        self.answer.rating = rating
        self.show()
        await self._uses.rated()

    async def _keep_it(self) -> None:
        await self._uses.keep()
        self.show()

    def _copy(self) -> None:
        ui.clipboard.write(self.answer.best)
        ui.notify(t("Copied"))

    def _edit(self) -> None:
        self._text.visible = self._tools.visible = False
        with self._editor:
            area = ui.textarea(t("What the answer should have been"), value=self.answer.best)
            area.props("outlined autogrow autofocus").classes("full")

            async def take() -> None:
                written = as_text(area.value).strip()
                if not written:
                    ui.notify(t("A corrected answer cannot be empty."), type="negative")
                    return
                self.answer.corrected = written if written != self.answer.text else None
                await self._uses.corrected()
                close()

            def close() -> None:
                self.show()  # first, as what is cleared has no language any more
                self._editor.clear()

            with ui.element("div").classes("inline"):
                ui.button(t("Take the correction"), on_click=take).props("unelevated no-caps color=primary dense")
                ui.button(t("Cancel"), on_click=close, color=None).props("flat no-caps dense").classes("quiet")


def _note(answer: Answer) -> str:
    """How it ended, in a line."""
    parts = []
    if answer.tokens:
        parts.append(t("{tokens} tokens, {seconds} s", tokens=answer.tokens, seconds=f"{answer.seconds:.1f}"))
    if answer.reason == "length":
        parts.append(t("cut off at the longest answer that is set"))
    if answer.reason == "stopped":
        parts.append(t("stopped"))
    if answer.reason == "stop" and not answer.text:
        parts.append(t("the answer is empty"))
    return " · ".join(parts)
