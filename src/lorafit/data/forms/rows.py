"""Rows to messages, each form by its columns: question and answer, dialogue, preference, KTO, text."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lorafit.data.forms import turns
from lorafit.data.forms.layout import Form, Layout
from lorafit.data.forms.values import BadRow, kind, optional_text, spoken, text, unfolded
from lorafit.records import Message

Fields = Mapping[str, Any]
_TURNS = re.compile(r'\s*\[\s*\{\s*"(role|from|content|value)"')
_SPEAKERS = re.compile(r"(?:\A|\n\n)(Human|Assistant): ?")


def messages_of(fields: Fields, layout: Layout) -> tuple[tuple[Message, ...], tuple[Mapping[str, Any], ...]]:
    """The turns of a row and the tools it may call. Raises BadRow naming the field."""
    if layout.form == "text":
        return (Message("assistant", text(fields, layout.columns["text"])),), ()
    messages = _READERS[layout.form](fields, layout)
    tools = layout.columns.get("tools")
    return tuple(messages), turns.parse_tools(fields.get(tools), tools) if tools else ()


def _pair(fields: Fields, layout: Layout) -> list[Message]:
    messages = _asked(fields, layout)
    column = _column(layout, "answer", fields)
    thinking = optional_text(fields, layout.columns.get("thinking"))
    if column not in fields:
        text(fields, column)
    value = _first(fields[column], column)
    if isinstance(value, str) or value is None or not isinstance(value, Mapping | Sequence):
        return [*messages, turns.with_thinking(spoken(value, column), thinking)]
    messages += turns.parse_turns(value, column, layout.tags)
    turns.check_order(messages, column)
    return messages


def _dialogue(fields: Fields, layout: Layout) -> list[Message]:
    column = layout.columns["messages"]
    messages = _with_system(turns.parse_turns(fields.get(column), column, layout.tags), fields, layout)
    turns.check_order(messages, column)
    return messages


def _preference(fields: Fields, layout: Layout) -> list[Message]:
    """The chosen answer after its prompt; a dialogue in `chosen` that begins with the user brings its prompt along."""
    column = layout.columns["chosen"]
    value = _required(fields, column)
    if _is_dialogue(value):
        value = unfolded(value, column)
    if "prompt" not in layout.columns and "messages" not in layout.columns and isinstance(value, str):
        chosen = _transcript(value, column)
    else:
        chosen = turns.answer_of(value, column, layout.tags)
    if any(message.role == "user" for message in chosen):
        messages = _with_system(chosen, fields, layout)
    elif "messages" in layout.columns:
        name = layout.columns["messages"]
        messages = [*_with_system(turns.parse_turns(fields.get(name), name, layout.tags), fields, layout), *chosen]
        if messages[-len(chosen) - 1].role == "assistant":
            raise BadRow(name, "should end with the user, whom the chosen answer answers")
    else:
        messages = [*_asked(fields, layout), *chosen]
    turns.check_order(messages, column)
    return messages


def _judged(fields: Fields, layout: Layout) -> list[Message]:
    """KTO: the row as it is where its label says that it is desirable."""
    column = layout.columns["label"]
    label = fields.get(column)
    label = (
        {"true": True, "false": False, "1": True, "0": False}.get(label.strip().lower(), label)
        if isinstance(label, str)
        else label
    )
    if label not in (True, False):
        raise BadRow(column, f"should be true or false (KTO), found {kind(label)}")
    messages = (_dialogue if "messages" in layout.columns else _pair)(fields, layout)
    if not label:
        raise BadRow(column, "its label says that this answer is not wanted", fault=False)
    return messages


_READERS: dict[Form, Callable[[Fields, Layout], list[Message]]] = {
    "Alpaca": _pair,
    "prompt/completion": _pair,
    "question/answer": _pair,
    "messages": _dialogue,
    "ShareGPT": _dialogue,
    "preference": _preference,
    "KTO": _judged,
}


def _asked(fields: Fields, layout: Layout) -> list[Message]:
    """Everything before the answer: system, history, and the question with what belongs to it."""
    columns = layout.columns
    messages = []
    if system := optional_text(fields, columns.get("system")):
        messages.append(Message("system", system))
    if "history" in columns:
        messages += _history(fields.get(columns["history"]), columns["history"])
    column = _column(layout, "prompt", fields)
    value = unfolded(_required(fields, column), column) if _is_dialogue(fields.get(column)) else fields.get(column)
    if isinstance(value, list):
        return [*messages, *turns.parse_turns(value, column, layout.tags)]
    question = text(fields, column)
    if context := optional_text(fields, columns.get("context")):
        question = f"{context}\n\n{question}"
    if addition := optional_text(fields, columns.get("input")):
        question = f"{question}\n{addition}"
    return [*messages, Message("user", question)]


def _is_dialogue(value: Any) -> bool:
    """Turns stand where a text may stand, in a table as JSON; a text that merely begins with [ is a text."""
    return isinstance(value, list) or (isinstance(value, str) and bool(_TURNS.match(value)))


def _history(value: Any, column: str) -> list[Message]:
    history = unfolded(value, column) if value else None
    if history is None:
        return []
    if not isinstance(history, list):
        raise BadRow(column, f"should be a list of [question, answer] pairs, found {kind(history)}")
    if history and isinstance(history[0], Mapping):
        return turns.parse_turns(history, column)
    messages = []
    for number, turn in enumerate(history, start=1):
        if not (isinstance(turn, list) and len(turn) == 2 and all(isinstance(t, str) for t in turn)):
            raise BadRow(column, f"turn {number} should be a [question, answer] pair of texts, found {turn!r}"[:200])
        messages.append(Message("user", spoken(turn[0], f"{column}[{number}]")))
        messages.append(turns.with_thinking(spoken(turn[1], f"{column}[{number}]")))
    return messages


def _with_system(messages: list[Message], fields: Fields, layout: Layout) -> list[Message]:
    system = optional_text(fields, layout.columns.get("system"))
    if not system or messages[0].role == "system":
        return messages
    return [Message("system", system), *messages]


def _transcript(value: str, column: str) -> list[Message]:
    """A dialogue in one text, as Anthropic's preference data has it: turns after `Human:` and `Assistant:`."""
    _, *parts = _SPEAKERS.split(spoken(value, column))
    if len(parts) < 4:
        raise BadRow(column, "there is no prompt: no column of it, and no `Human:` and `Assistant:` in this text")
    return [
        Message("user" if speaker == "Human" else "assistant", spoken(said.strip(), f"{column}[{number}]"))
        for number, (speaker, said) in enumerate(zip(parts[::2], parts[1::2], strict=True))
    ]


def _first(value: Any, column: str) -> Any:
    """Of several right answers the first; SQuAD's hold their texts in `text`."""
    if isinstance(value, Mapping) and "text" in value:
        value = value["text"]
    if isinstance(value, list) and value and not (isinstance(value[0], Mapping) and "text" not in value[0]):
        value = value[0]
        value = value["text"] if isinstance(value, Mapping) else value
    return value


def _required(fields: Fields, column: str) -> Any:
    if fields.get(column) is None:
        text(fields, column)
    return fields[column]


def _column(layout: Layout, role: Any, fields: Fields) -> str:
    """The column of a role; where there is none, the name that the other half of the pair asks for."""
    names = {"prompt": "instruction", "answer": "output"}
    column: str = layout.columns.get(role, names[role])
    return column
