"""Dialogues: OpenAI's `messages` and ShareGPT's `conversations`, with tools and thinking."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from lorafit.data.forms.layout import Tags
from lorafit.data.forms.values import BadRow, kind, spoken, unfolded, whole
from lorafit.records import Message

Spoken = Literal["system", "user", "assistant", "tool"]
# What a role is called, in OpenAI's, ShareGPT's and Glaive's data. `call` is an assistant's turn that is only a call.
_ROLES: dict[str, Spoken | Literal["call"]] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "model": "assistant",
    "function_call": "call",
    "tool_call": "call",
    "tool": "tool",
    "observation": "tool",
    "function": "tool",
    "function_response": "tool",
    "tool_response": "tool",
}
_SHARE_GPT = Tags("from", "value")
_OPENAI = Tags("role", "content")
_THINK = re.compile(r"\s*<think>(.*?)</think>\s*", re.S)


def parse_turns(value: Any, where: str, tags: Tags | None = None) -> list[Message]:
    """Turns as messages, in order. Raises BadRow for a turn that is not understood; the order is not looked at."""
    turns = unfolded(value, where)
    if isinstance(turns, Mapping):
        turns = [turns]
    if not isinstance(turns, Sequence) or isinstance(turns, str) or not turns:
        raise BadRow(where, f"should be a list of turns, found {kind(turns)}")
    messages: list[Message] = []
    calls: dict[str, str] = {}
    for number, turn in enumerate(turns):
        _take(turn, f"{where}[{number}]", tags, messages, calls)
    return messages


def check_order(messages: Sequence[Message], where: str) -> None:
    """Raises BadRow unless a system message comes first if at all, then user and assistant in turn, an answer last.

    Answers of tools stand after the assistant's turn that asked for them.
    """
    for number, message in enumerate(messages):
        if message.role == "system" and number:
            raise BadRow(f"{where}[{number}].role", "a system message is only understood as the first one")
    told = [message for message in messages if message.role != "system"]
    if not told or told[0].role != "user":
        raise BadRow(where, "the conversation should begin with a user message")
    if told[-1].role != "assistant":
        raise BadRow(where, "the last message should be the assistant's answer: there is nothing to train on after it")
    for number, (one, other) in enumerate(itertools.pairwise(told), start=1):
        if other.role == "tool":
            if one.role == "user" or (one.role == "assistant" and not one.tool_calls):
                raise BadRow(where, f"turn {number + 1} is a tool's answer, but turn {number} called no tool")
        elif one.role == other.role:
            raise BadRow(where, f"turns {number} and {number + 1} are both of the {one.role}; they should alternate")
        elif one.role == "tool" and other.role == "user":
            raise BadRow(where, f"turn {number} is a tool's answer; an assistant's turn should follow it")
    if not any(message.trained for message in told if message.role == "assistant"):
        raise BadRow(where, "every answer has weight 0: there is nothing to train on", fault=False)


def parse_tools(value: Any, where: str) -> tuple[Mapping[str, Any], ...]:
    """Tools as OpenAI's schemas; bare functions are wrapped as such. Nothing, or an empty text, is no tools."""
    tools = unfolded(value, where)
    if tools is None or (isinstance(tools, str) and not tools.strip()):
        return ()
    if isinstance(tools, Mapping):
        tools = [tools]
    if not isinstance(tools, Sequence) or isinstance(tools, str):
        raise BadRow(where, f"should be a list of tools, found {kind(tools)}")
    found = []
    for number, tool in enumerate(tools, start=1):
        tool = unfolded(tool, where)
        function = tool.get("function", tool) if isinstance(tool, Mapping) else None
        if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
            raise BadRow(where, f"tool {number} should be an object with a name, found {kind(tool)}")
        _checked_json(function, where)
        found.append({"type": "function", "function": function})
    return tuple(found)


def answer_of(value: Any, where: str, tags: Tags | None = None) -> list[Message]:
    """An answer as turns: a text, one turn, or several."""
    if isinstance(value, str):
        return [with_thinking(spoken(value, where))]
    return parse_turns(value, where, tags)


def with_thinking(answer: str, thinking: str = "") -> Message:
    """An assistant's message; thinking that stands before the answer in <think> tags is taken out of it."""
    if not thinking and "</think>" in answer and (found := _THINK.match(answer)) and answer[found.end() :].strip():
        return Message("assistant", answer[found.end() :], thinking=found[1].strip())
    return Message("assistant", answer, thinking=thinking)


def _take(turn: Any, where: str, tags: Tags | None, messages: list[Message], calls: dict[str, str]) -> None:
    if not isinstance(turn, Mapping):
        raise BadRow(where, f"should be an object with role and content, found {kind(turn)}")
    tags = tags or (_SHARE_GPT if "from" in turn and "role" not in turn else _OPENAI)
    role = _role(turn.get(tags.role), f"{where}.{tags.role}", tags)
    place = f"{where}.{tags.content}"
    if role == "call":
        called = _calls(turn.get(tags.content), place)
        before = messages[-1] if messages else None
        if before and before.role == "assistant":  # what was said before the call, or another call beside it
            messages[-1] = Message(
                "assistant", before.content, before.trained, before.thinking, (*before.tool_calls, *called)
            )
        else:
            messages.append(Message("assistant", "", _trained(turn, where), tool_calls=called))
    elif role == "assistant":
        messages.append(_assistant(turn, where, place, tags, calls))
    elif role == "tool":
        messages.append(_tool(turn, place, tags, messages, calls))
    else:
        messages.append(Message(role, spoken(_joined(turn.get(tags.content), place), place)))


def _role(value: Any, where: str, tags: Tags) -> Spoken | Literal["call"]:
    name = tags.names.get(value, value) if isinstance(value, str) else None
    role = _ROLES.get(name.strip().lower()) if name else None
    if role is None:
        known = ", ".join(dict.fromkeys(r for r in _ROLES.values() if r != "call"))
        raise BadRow(where, f"should be one of {known}, found {kind(value) if value is None else repr(value)[:60]}")
    return role


def _assistant(turn: Mapping[str, Any], where: str, place: str, tags: Tags, calls: dict[str, str]) -> Message:
    content = _joined(turn.get(tags.content), place)
    asked = turn.get("tool_calls") or turn.get("function_call")
    called = _calls(asked, f"{where}.tool_calls") if asked else ()
    for call, given in zip(called, asked if isinstance(asked, Sequence) else (), strict=False):
        if isinstance(given, Mapping) and isinstance(given.get("id"), str):
            calls[given["id"]] = call["function"]["name"]
    thinking = next((turn[k] for k in ("reasoning_content", "reasoning", "thinking") if turn.get(k)), "")
    if thinking:
        thinking = spoken(thinking, f"{where}.reasoning_content")
    trained = _trained(turn, where)
    if called and (content is None or (isinstance(content, str) and not content.strip())):
        return Message("assistant", "", trained, thinking, called)
    answer = with_thinking(spoken(content, place), thinking)
    return Message("assistant", answer.content, trained, answer.thinking, called)


def _tool(
    turn: Mapping[str, Any], place: str, tags: Tags, messages: Sequence[Message], calls: Mapping[str, str]
) -> Message:
    content = _joined(turn.get(tags.content), place)
    if isinstance(content, Mapping | Sequence) and not isinstance(content, str):
        content = json.dumps(_checked_json(content, place), ensure_ascii=False)
    name = turn.get("name") or calls.get(str(turn.get("tool_call_id")))
    if not isinstance(name, str):
        # Answers without a name stand in the order of the calls.
        answers = list(itertools.takewhile(lambda message: message.role == "tool", reversed(messages)))
        caller = messages[-1 - len(answers)] if len(answers) < len(messages) else None
        called = caller.tool_calls if caller else ()
        name = called[len(answers)]["function"]["name"] if len(answers) < len(called) else ""
    if not isinstance(content, str):
        raise BadRow(place, f"should be a text, found {kind(content)}")  # which may be empty: a tool may say nothing
    return Message("tool", whole(content, place), name=name)


def _trained(turn: Mapping[str, Any], where: str) -> bool:
    for key in ("weight", "train"):
        value = turn.get(key)
        if value is None:
            continue
        if value not in (0, 1):  # true and false are equal to them
            raise BadRow(f"{where}.{key}", f"should be 0 or 1, found {kind(value)}")
        return bool(value)
    return True


def _joined(content: Any, where: str) -> Any:
    """The texts of a list of parts as one; anything else as it is."""
    if not isinstance(content, Sequence) or isinstance(content, str):
        return content
    texts = []
    for number, part in enumerate(content):
        part = {"type": "text", "text": part} if isinstance(part, str) else part
        if not isinstance(part, Mapping) or part.get("type", "text") not in ("text", "input_text", "output_text"):
            found = repr(part.get("type"))[:40] if isinstance(part, Mapping) else kind(part)
            raise BadRow(f"{where}[{number}]", f"should be a part of type text (lorafit trains on text), found {found}")
        if not isinstance(part.get("text"), str):
            raise BadRow(f"{where}[{number}].text", f"should be a text, found {kind(part.get('text'))}")
        texts.append(part["text"])
    return "".join(texts)


def _calls(value: Any, where: str) -> tuple[Mapping[str, Any], ...]:
    calls = unfolded(value, where)
    calls = [calls] if isinstance(calls, Mapping) else calls
    if not isinstance(calls, Sequence) or isinstance(calls, str) or not calls:
        raise BadRow(where, f"should be a call with name and arguments, or a list of them, found {kind(calls)}")
    return tuple(_call(call, where) for call in calls)


def _call(call: Any, where: str) -> Mapping[str, Any]:
    function = call.get("function", call) if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise BadRow(where, f"a call should be an object with name and arguments, found {kind(call)}")
    arguments = function.get("arguments", function.get("parameters"))
    if isinstance(arguments, str):
        arguments = unfolded(arguments, f"{where}.arguments") if arguments.strip() else {}
    if arguments is None:
        arguments = {}
    if not isinstance(arguments, Mapping):
        raise BadRow(f"{where}.arguments", f"should be an object, or one as JSON text, found {kind(arguments)}")
    _checked_json(arguments, f"{where}.arguments")
    return {"type": "function", "function": {"name": whole(function["name"], where), "arguments": arguments}}


def _checked_json(value: Any, where: str) -> Any:
    """The value, once it is known that it can be written as JSON and as UTF-8."""
    try:
        whole(json.dumps(value, ensure_ascii=False), where)
    except (RecursionError, TypeError, ValueError) as error:
        raise BadRow(where, f"cannot be written as JSON: {str(error)[:80]}") from None
    return value
