"""Rows to conversations: the form is recognised by the columns, nothing needs to be registered."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from lorafit.errors import DataError
from lorafit.records import Conversation, Message, Record

SHOWN_FAULTS = 20
ROLES = ("system", "user", "assistant")


@dataclass(frozen=True, slots=True)
class Rejected:
    """A row that is not trained on, and why."""

    record: Record
    field: str
    problem: str

    def __str__(self) -> str:
        return f"{self.record.source}, field {self.field!r}: {self.problem}"

    def to_json(self) -> str:
        content = {
            "file": self.record.source.file,
            "row": self.record.source.row,
            "field": self.field,
            "reason": self.problem,
            "fields": self.record.fields,
        }
        # JSON may name half a surrogate pair, which UTF-8 cannot hold: it goes out as it came in, as an escape.
        return json.dumps(content, ensure_ascii=False).encode("utf-8", "backslashreplace").decode()


class _BadRow(Exception):
    def __init__(self, field: str, problem: str) -> None:
        super().__init__(problem)
        self.field, self.problem = field, problem


def convert(
    records: Iterable[Record], bad_rows: Literal["error", "drop"] = "error"
) -> tuple[list[Conversation], list[Rejected]]:
    """Conversations from rows in Alpaca or messages form, and the rows that are neither.

    Raises DataError naming the first twenty bad rows together (`bad_rows="error"`), or when no row is left.
    """
    conversations, rejected = [], []
    for record in records:
        try:
            messages = _form(record.fields)(record.fields)
            conversations.append(Conversation(messages, record.source))
        except _BadRow as bad:
            rejected.append(Rejected(record, bad.field, bad.problem))
    if rejected and (bad_rows == "error" or not conversations):
        raise DataError(faults_report(rejected, len(conversations) + len(rejected)))
    return conversations, rejected


def faults_report(rejected: list[Rejected], rows: int) -> str:
    lines = [f"{len(rejected)} of {rows} rows cannot be used:"]
    lines += [f"  {fault}" for fault in rejected[:SHOWN_FAULTS]]
    if len(rejected) > SHOWN_FAULTS:
        lines.append(f"  ... and {len(rejected) - SHOWN_FAULTS} more")
    lines.append("Mend these rows, or leave them out with `data.bad_rows=drop` (they are counted and kept aside).")
    return "\n".join(lines)


def _form(fields: Mapping[str, Any]) -> Callable[[Mapping[str, Any]], tuple[Message, ...]]:
    if "messages" in fields:
        return _from_messages
    if "instruction" in fields or "output" in fields:
        return _from_alpaca
    raise _BadRow(
        ", ".join(fields) or "(none)",
        "these columns are neither Alpaca form (instruction, input, output) nor messages form (messages)",
    )


def _from_alpaca(fields: Mapping[str, Any]) -> tuple[Message, ...]:
    """instruction, input (may be empty), output; optional system and history, a list of [question, answer] pairs."""
    messages = []
    if system := _optional_text(fields, "system"):
        messages.append(Message("system", system))
    for turn in _history(fields.get("history")):
        messages += [Message("user", turn[0]), Message("assistant", turn[1])]
    instruction, addition = _text(fields, "instruction"), _optional_text(fields, "input")
    messages.append(Message("user", f"{instruction}\n{addition}" if addition else instruction))
    messages.append(Message("assistant", _text(fields, "output")))
    return tuple(messages)


def _history(history: Any) -> list[tuple[str, str]]:
    if history is None:
        return []
    if not isinstance(history, list):
        raise _BadRow("history", f"should be a list of [question, answer] pairs, found {_kind(history)}")
    turns = []
    for number, turn in enumerate(history, start=1):
        if not (isinstance(turn, list) and len(turn) == 2 and all(isinstance(t, str) for t in turn)):
            raise _BadRow(
                "history", f"turn {number} should be a [question, answer] pair of texts, found {turn!r}"[:200]
            )
        turns.append((_spoken(turn[0], f"history[{number}]"), _spoken(turn[1], f"history[{number}]")))
    return turns


def _from_messages(fields: Mapping[str, Any]) -> tuple[Message, ...]:
    """messages: a list of {role, content}; system first if at all, then user and assistant, an answer last."""
    turns = fields["messages"]
    if not isinstance(turns, list) or not turns:
        raise _BadRow("messages", f"should be a list of turns, found {_kind(turns)}")
    messages = []
    for number, turn in enumerate(turns):
        where = f"messages[{number}]"
        if not isinstance(turn, dict):
            raise _BadRow(where, f"should be an object with role and content, found {_kind(turn)}")
        role = turn.get("role")
        if role not in ROLES:
            raise _BadRow(f"{where}.role", f"should be one of {', '.join(ROLES)}, found {role!r}")
        if role == "system" and number:
            raise _BadRow(f"{where}.role", "a system message is only understood as the first one")
        messages.append(Message(role, _spoken(turn.get("content"), f"{where}.content")))
    spoken = [m.role for m in messages if m.role != "system"]
    if not spoken or spoken[0] != "user":
        raise _BadRow("messages", "the conversation should begin with a user message")
    if spoken[-1] != "assistant":
        raise _BadRow(
            "messages", "the last message should be the assistant's answer: there is nothing to train on after it"
        )
    for number, (one, other) in enumerate(itertools.pairwise(spoken), start=1):
        if one == other:
            raise _BadRow("messages", f"turns {number} and {number + 1} are both of the {one}; they should alternate")
    return tuple(messages)


def _text(fields: Mapping[str, Any], name: str) -> str:
    if name not in fields:
        raise _BadRow(name, f"missing; the row has {', '.join(fields) or 'no fields'}")
    return _spoken(fields[name], name)


def _optional_text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    if value is None or (isinstance(value, str) and not value.strip()):
        return ""
    return _spoken(value, name)


def _spoken(value: Any, where: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise _BadRow(where, f"should be a text that is not empty, found {_kind(value)}")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise _BadRow(
            where, f"holds half a surrogate pair at character {error.start + 1}: a character was cut in two"
        ) from None
    return value


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, str):
        return "an empty text" if not value.strip() else f"the text {value[:40]!r}"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if isinstance(value, dict):
        return "an object"
    return f"{value!r}"
