"""Turns as a chat template takes them: what a template has no place for goes where it does.

A template without a system role gets the system message at the head of the first user turn. One that does not show
thinking gets it in the answer, as <think>...</think>; one that does not show calls of tools gets them there too, as
Hermes and Qwen write them. Nothing is merged: a template that wants turns to alternate refuses those that do not.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from lorafit.records import Message

OPENED, CLOSED = "<think>", "</think>"
THINKING = re.compile(rf"\s*(?:{OPENED})?(.*?){CLOSED}\n{{0,2}}(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Abilities:
    """What a template shows by itself.

    thinking: in a field of its own (`reasoning_content`), within the answer's text, or not at all.
    """

    system: bool = True
    tools: bool = True
    calls: bool = True
    thinking: Literal["field", "content", "none"] = "none"


def thinking_block(thinking: str) -> str:
    return f"{OPENED}\n{thinking}\n{CLOSED}\n\n"


def split_thinking(content: str) -> tuple[str, str]:
    """(thinking, answer) of a text that begins with thinking; the opening mark may stand in the prompt."""
    opens = content.lstrip().startswith(OPENED)
    if CLOSED in content and (opens or OPENED not in content) and (found := THINKING.fullmatch(content)):
        return found.group(1).strip("\n"), found.group(2)
    return "", content


def adapted(messages: Sequence[Message], abilities: Abilities) -> list[Message]:
    """The messages with what the template does not know moved to where it shows it."""
    turns = list(messages)
    if not abilities.system and len(turns) > 1 and turns[0].role == "system" and turns[1].role == "user":
        turns[:2] = [replace(turns[1], content=f"{turns[0].content}\n\n{turns[1].content}")]
    return [_adapted_answer(turn, abilities) if turn.role == "assistant" else turn for turn in turns]


def _adapted_answer(turn: Message, abilities: Abilities) -> Message:
    if turn.tool_calls and not abilities.calls:
        calls = [f"<tool_call>\n{json.dumps(_function(c), ensure_ascii=False)}\n</tool_call>" for c in turn.tool_calls]
        turn = replace(turn, content="\n".join([turn.content, *calls]).lstrip("\n"), tool_calls=())
    if abilities.thinking != "none" and not turn.thinking and CLOSED in turn.content:
        thinking, content = split_thinking(turn.content)
        turn = replace(turn, content=content, thinking=thinking)
    return turn


def _function(call: Mapping[str, Any]) -> Mapping[str, Any]:
    function: Mapping[str, Any] = call.get("function", call)
    return {"name": function.get("name", ""), "arguments": function.get("arguments", {})}


def as_dicts(messages: Sequence[Message], abilities: Abilities) -> list[dict[str, Any]]:
    """Adapted messages in OpenAI's form.

    Calls without an id get one of nine letters and digits (some templates insist on that), and the answers of tools the
    ids of the calls before them, in order.
    """
    dicts: list[dict[str, Any]] = []
    number = 0
    waiting: list[str] = []
    for message in messages:
        turn: dict[str, Any] = {"role": message.role, "content": message.content}
        if message.thinking and abilities.thinking == "field":
            turn["reasoning_content"] = message.thinking
        elif message.thinking:
            turn["content"] = thinking_block(message.thinking) + message.content
        if message.tool_calls:
            waiting = []
            turn["tool_calls"] = []
            for call in message.tool_calls:
                number += 1
                call = {"id": f"call{number:05d}", "type": "function", "function": _function(call), **_id(call)}
                turn["tool_calls"].append(call)
                waiting.append(call["id"])
        if message.role == "tool":
            if message.name:
                turn["name"] = message.name
            if waiting:
                turn["tool_call_id"] = waiting.pop(0)
        dicts.append(turn)
    return dicts


def _id(call: Mapping[str, Any]) -> dict[str, Any]:
    return {"id": call["id"]} if call.get("id") else {}


def after_prompt(prompt: str, whole: str, said: str, thinking: str) -> str | None:
    """The answer that follows `prompt`, from a rendering that begins otherwise; None where it cannot be found.

    A generation prompt may open a thinking block, or bring an empty one, that the template does not show in an answer.
    """
    opened, closed = ends_in(prompt, OPENED), ends_in(prompt, CLOSED)
    before = prompt[: prompt.rfind(OPENED)]
    if (opened or closed) and whole.startswith(before):
        answer = whole[len(before) :]
        if closed:
            return re.sub(rf"^\s*{OPENED}.*?{CLOSED}\n*", "", answer, count=1, flags=re.DOTALL)
        if answer.lstrip().startswith(OPENED):
            return answer.lstrip().removeprefix(OPENED).lstrip("\n")
        return ("" if prompt.endswith("\n") else "\n") + f"{thinking}\n{CLOSED}\n\n{answer}"
    place = whole.rfind(said) if said else -1
    return None if place < 0 else whole[place:]


def ends_in(prompt: str, mark: str) -> bool:
    return prompt.rstrip().endswith(mark)
