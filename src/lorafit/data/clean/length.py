"""Rows in which there is nothing, too little or too much."""

from __future__ import annotations

import unicodedata
from collections import Counter

from lorafit.data.clean.rows import EachRow, is_document
from lorafit.records import Conversation


class Empty(EachRow):
    """A turn in which nothing can be seen: spaces, control characters, characters without width, fillers.

    A system message may be empty.
    """

    name = "empty"

    def __init__(self) -> None:
        self.found: Counter[str] = Counter()

    def _fault(self, row: Conversation) -> str | None:
        for number, message in enumerate(row.messages, start=1):
            if message.role == "system" or message.tool_calls or message.thinking:
                continue
            if not any(map(_is_seen, message.content)):
                self.found[message.role] += 1
                return f"turn {number} ({message.role}) is empty"
        return None


def _is_seen(character: str) -> bool:
    # Letters of Hangul that only fill a place, and the empty pattern of Braille, are letters to Unicode.
    return unicodedata.category(character)[0] not in "CZ" and character not in "\u115f\u1160\u3164\uffa0\u2800"


class TooShort(EachRow):
    """Documents below a number of characters. An answer may be as short as it likes: `Yes.` is one."""

    name = "too_short"

    def __init__(self, characters: int) -> None:
        self.found: Counter[str] = Counter()
        self.characters = characters

    def _fault(self, row: Conversation) -> str | None:
        if not is_document(row):
            return None
        length = sum(len(message.content.strip()) for message in row.messages)
        if length >= self.characters:
            return None
        return f"{length} characters, below data.clean.min_characters={self.characters}"


class TooLong(EachRow):
    """Rows above a number of characters in all their turns together."""

    name = "too_long"

    def __init__(self, characters: int) -> None:
        self.found: Counter[str] = Counter()
        self.characters = characters

    def _fault(self, row: Conversation) -> str | None:
        length = sum(len(message.content) for message in row.messages)
        if length <= self.characters:
            return None
        return f"{length} characters, above data.clean.max_characters={self.characters}"
