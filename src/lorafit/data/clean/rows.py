"""How the rules look at a row: its answers, its words, and the rule that every file here makes."""

from __future__ import annotations

import importlib
import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from typing import Any, Protocol

from lorafit.errors import DataError
from lorafit.records import Conversation

# Scripts that are written without spaces: each character stands as a word of its own.
UNSPACED = "\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_WORD = re.compile(rf"[{UNSPACED}]|[^\W{UNSPACED}]+")


class TextRule(Protocol):
    """Changes texts, one by one. `found` counts what it met, by kind, where there are kinds."""

    name: str
    found: Counter[str]

    def mend(self, text: str) -> str: ...


class RowRule(Protocol):
    """Says what is wrong with each of some rows (None: nothing), in the order of the rows.

    A rule that remembers rows takes only those to memory in which it finds nothing.
    """

    name: str
    found: Counter[str]

    def faults(self, rows: Sequence[Conversation]) -> list[str | None]: ...


class EachRow(ABC):
    """A RowRule that looks at one row after the other."""

    def faults(self, rows: Sequence[Conversation]) -> list[str | None]:
        return [self._fault(row) for row in rows]

    @abstractmethod
    def _fault(self, row: Conversation) -> str | None: ...


def words(text: str) -> list[str]:
    """The words of a text in small letters; Han characters and kana stand singly."""
    return _WORD.findall(text.lower())


def is_document(row: Conversation) -> bool:
    """A row without a prompt: text to go on with, not an answer."""
    return all(message.role == "assistant" for message in row.messages)


def asked(row: Conversation) -> str:
    """What the user says. A system message is left out: it is often the same for all rows."""
    return "\n".join(message.content for message in row.messages if message.role == "user")


def answered(row: Conversation) -> str:
    """The answers of a row, or the text of a document."""
    return "\n".join(message.content for message in row.messages if message.role == "assistant")


def library(module: str, package: str, rule: str) -> Any:
    """A package that only one rule needs. Raises DataError with the command that installs it."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        raise DataError(
            f"data.clean.{rule} needs the package {package}, which is not installed.\n"
            f'Install it with `pip install "lorafit[clean]"` (or `pip install {package}`), '
            f"or set data.clean.{rule}=off."
        ) from None
