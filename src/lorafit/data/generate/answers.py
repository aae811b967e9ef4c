"""An answer to rows: JSON is looked for in whatever the model wrote around it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from lorafit.records import Conversation, Message, Source

Form = Literal["messages", "alpaca"]

# Models asked in Chinese translate names now and then.
_QUESTION = ("instruction", "question", "prompt", "query", "指令", "问题")
_ANSWER = ("output", "answer", "response", "completion", "输出", "答案", "回答")
_INPUT = ("input", "输入")
_TURNS = ("messages", "conversation", "conversations", "dialogue", "turns", "对话")
_ROLES = {
    "user": "user",
    "human": "user",
    "用户": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "助手": "assistant",
}
_THOUGHT = re.compile(r"\A.*?</think>|\A\s*<think>.*", re.DOTALL)  # the second: cut off while it thought
_OPENING = re.compile(r"[\[{]")
_TRIES = 200  # brackets that begin no JSON, after which the rest is given up


class BadRow(Exception):
    """A row that cannot be used; the message is the reason that it is counted under."""


@dataclass(frozen=True, slots=True)
class Row:
    """Pairs of question and answer, in order; input: what stands below the first question."""

    turns: tuple[tuple[str, str], ...]
    input: str = ""

    def conversation(self, source: Source) -> Conversation:
        messages: list[Message] = []
        for number, (question, answer) in enumerate(self.turns):
            asked = f"{question}\n{self.input}" if self.input and not number else question
            messages += [Message("user", asked), Message("assistant", answer)]
        return Conversation(tuple(messages), source)

    def fields(self, form: Form) -> dict[str, Any]:
        """The columns of the row in Alpaca or messages form."""
        if form == "messages":
            said = self.conversation(Source("", 0)).messages
            return {"messages": [{"role": message.role, "content": message.content} for message in said]}
        (question, answer), history = self.turns[-1], [list(turn) for turn in self.turns[:-1]]
        if not history:
            return {"instruction": question, "input": self.input, "output": answer}
        if self.input:
            history[0][0] = f"{history[0][0]}\n{self.input}"
        return {"instruction": question, "input": "", "output": answer, "history": history}


def find_rows(text: str) -> list[Any]:
    """The objects that an answer holds, in order; a dialogue that is a list of turns stands as that list.

    Thoughts, words before and after, code fences, several values after one another, line breaks within strings, a list
    that was cut off (its whole objects count) and a list within one object are all understood.
    """
    found: list[Any] = []
    for value in _json_values(_THOUGHT.sub("", text)):
        value = _unwrapped(value)
        if isinstance(value, dict) or (isinstance(value, list) and value and all(map(_is_turn, value))):
            found.append(value)
        elif isinstance(value, list):
            found += [one for one in map(_unwrapped, value) if isinstance(one, dict | list)]
    # Turns that stand alone are what is left of a dialogue that was cut off.
    return [one for one in found if not _is_turn(one)]


def _json_values(text: str) -> list[Any]:
    decoder = json.JSONDecoder(strict=False)
    values, place, failed = [], 0, 0
    while failed < _TRIES and (opening := _OPENING.search(text, place)):
        try:
            value, place = decoder.raw_decode(text, opening.start())
            values.append(value)
        except (ValueError, RecursionError):
            place, failed = opening.start() + 1, failed + 1
    return values


def _unwrapped(value: Any) -> Any:
    """The list within {"rows": [...]}, whatever its name is; anything else as it is."""
    if not isinstance(value, dict) or value.keys() & {*_QUESTION, *_TURNS}:
        return value
    lists = [one for one in value.values() if isinstance(one, list) and one and isinstance(one[0], dict)]
    return lists[0] if len(lists) == 1 else value


def _is_turn(value: Any) -> bool:
    return isinstance(value, dict) and ("role" in value or "from" in value) and not value.keys() & {*_QUESTION, *_TURNS}


def to_row(value: Any, passage: str = "") -> Row:
    """A row from one object of an answer; `passage` becomes its input. Raises BadRow."""
    turns = value if isinstance(value, list) else next((value[name] for name in _TURNS if name in value), None)
    if turns is not None:
        return Row(_dialogue(turns), passage)
    question, answer = _text(value, _QUESTION, "question"), _text(value, _ANSWER, "answer")
    addition = "" if passage or not any(value.get(name) for name in _INPUT) else _text(value, _INPUT, "input")
    return Row(((question, answer),), passage or addition)


def _dialogue(turns: Any) -> tuple[tuple[str, str], ...]:
    if not isinstance(turns, Sequence) or not all(map(_is_turn, turns)):
        raise BadRow("the dialogue is not a list of turns")
    roles = [_ROLES.get(str(turn.get("role", turn.get("from"))).lower(), "other") for turn in turns]
    if not roles or len(roles) % 2 or roles != ["user", "assistant"] * (len(roles) // 2):
        raise BadRow("the dialogue does not go from user to assistant in turns")
    said = [_text(turn, ("content", "value", "text"), "turn") for turn in turns]
    return tuple(zip(said[::2], said[1::2], strict=True))


def _text(fields: Mapping[str, Any], names: Sequence[str], what: str) -> str:
    value = next((fields[name] for name in names if name in fields), None)
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    if value is None:
        raise BadRow(f"it has no {what}")
    if not isinstance(value, str):
        raise BadRow(f"the {what} is not a text")
    if not value.strip():
        raise BadRow(f"the {what} is empty")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise BadRow(f"the {what} holds half a surrogate pair") from None
    return value.strip()
