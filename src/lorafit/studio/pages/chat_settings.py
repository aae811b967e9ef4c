"""The settings of the chat's answers, in plain words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nicegui import ui
from nicegui.events import ValueChangeEventArguments

from lorafit.studio.conversations import Conversation
from lorafit.studio.frame import copyable, heading, notice
from lorafit.studio.pages.chat_answer import as_text
from lorafit.studio.refusal import StudioError
from lorafit.studio.speakers import Speaker
from lorafit.studio.words import t

LONGEST = 4096  # of one answer, as `lorafit serve` allows


class Sampling:
    """The fields, folded up; greedy at first."""

    def __init__(self, talk: Conversation) -> None:
        """talk: the conversation whose system prompt is written here."""
        self.talk = talk
        with ui.expansion(t("How they answer"), icon="tune").classes("folded"):
            with ui.element("div").classes("full"):
                system = ui.textarea(t("System prompt"), value=talk.system, on_change=self._set_system)
                system.props("outlined autogrow dense").classes("full")
                ui.label(
                    t(
                        "Stands before the conversation: who the model is, how it should answer. Best the one of the "
                        "training data, and none where that had none."
                    )
                ).classes("dim small")
            with ui.element("div").classes("settings-grid"):
                self._temperature = _number(
                    t("Temperature"),
                    0.0,
                    (0, 2, 0.1),
                    t(
                        "0 takes the likeliest word each time: the same question, the same answer. 0.7 is livelier; "
                        "far above 1 is nonsense."
                    ),
                )
                self._top_p = _number(
                    t("Top-p"),
                    1.0,
                    (0.05, 1, 0.05),
                    t(
                        "Draws only from the likeliest words that have this share together. 1 is all of them. Matters "
                        "only above temperature 0."
                    ),
                )
                self._longest = _number(
                    t("Longest answer (tokens)"),
                    512,
                    (1, LONGEST, 1),
                    t("An answer is cut there. 100 tokens are about 75 English words."),
                )
                self._seed = _number(
                    t("Seed"),
                    None,
                    (0, 2**31 - 1, 1),
                    t(
                        "A number draws the same answer again; empty draws another one each time. Matters only above "
                        "temperature 0."
                    ),
                )

    def _set_system(self, event: ValueChangeEventArguments[str | None]) -> None:
        self.talk.system = as_text(event.value)

    def values(self) -> dict[str, Any]:
        """As the server's interface has them. Raises StudioError for what is out of its bounds."""
        for field in (self._temperature, self._top_p, self._longest, self._seed):
            number = field.value
            empty = number is None and field is self._seed
            if not empty and (number is None or not field.min <= number <= field.max):
                message = t("{name} has to be from {low} to {high}.", name=field.label, low=field.min, high=field.max)
                raise StudioError(message)
        seed = self._seed.value
        return {
            "temperature": float(self._temperature.value),
            "top_p": float(self._top_p.value),
            "max_tokens": int(self._longest.value),
            **({} if seed is None else {"seed": int(seed)}),
        }


def _number(name: str, value: float | None, bounds: tuple[float, float, float], hint: str) -> ui.number:
    low, high, step = bounds
    with ui.element("div"):
        field = ui.number(name, value=value, min=low, max=high, step=step).props("outlined dense").classes("full")
        ui.label(hint).classes("dim small")
    return field


def show_templates(speakers: list[Speaker], shown: Callable[[str], str]) -> None:
    """The chat template of each. shown: a speaker's name on the screen."""
    for speaker in speakers:
        heading(shown(speaker.name), 3)
        if speaker.is_base:
            ui.label(t("A base is asked with the template that its tokenizer brings, or a plain one.")).classes("dim")
            continue
        ui.label(t("Template of its training: {name}", name=speaker.template)).classes("dim")
        try:
            copyable(speaker.template_text(), t("Chat template"))
        except StudioError as error:
            notice(str(error), "fault")
