"""Small rows for the tests of cleaning."""

from __future__ import annotations

from lorafit.data.clean import CleanSettings
from lorafit.records import Conversation, Message, Source

# No rule looks; a test turns on the one that it is about.
OFF = {
    "control_characters": "off",
    "unicode": "off",
    "empty": "off",
    "too_short": "off",
    "in_held_out": "off",
    "exact_duplicates": "off",
    "same_prompt": "off",
}


def only(**rules: object) -> CleanSettings:
    return CleanSettings.model_validate(OFF | rules)


def row(question: str, answer: str, number: int = 1, system: str = "") -> Conversation:
    turns = (Message("user", question), Message("assistant", answer))
    return Conversation((Message("system", system), *turns) if system else turns, Source("rows.json", number))


def document(text: str, number: int = 1) -> Conversation:
    return Conversation((Message("assistant", text),), Source("text.txt", number))


def rows(*pairs: tuple[str, str]) -> list[Conversation]:
    return [row(question, answer, number) for number, (question, answer) in enumerate(pairs, start=1)]
