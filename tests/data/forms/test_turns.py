"""Dialogues in OpenAI's and in ShareGPT's form say the same."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lorafit.data.forms.layout import Tags
from lorafit.data.forms.turns import check_order, parse_tools, parse_turns
from lorafit.data.forms.values import BadRow
from lorafit.records import Message

CALL = {"name": "weather", "arguments": {"city": "Linz"}}
AS_KEPT = {"type": "function", "function": CALL}
SAY, ANSWER = {"role": "user", "content": "hello"}, {"role": "assistant", "content": "good day"}


def test_a_tool_call_is_the_same_in_every_spelling() -> None:
    def openai(arguments: Any) -> list[dict[str, Any]]:
        call = {"id": "1", "type": "function", "function": {"name": "weather", "arguments": arguments}}
        return [
            {"role": "user", "content": "sun?"},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "1", "content": "17"},
            {"role": "assistant", "content": "It is mild."},
        ]

    legacy = [dict(turn) for turn in openai({})]
    legacy[1] = {"role": "assistant", "content": "", "function_call": CALL}
    legacy[2] = {"role": "function", "name": "weather", "content": "17"}
    share_gpt = [
        {"from": "human", "value": "sun?"},
        {"from": "function_call", "value": json.dumps(CALL)},
        {"from": "observation", "value": "17"},
        {"from": "gpt", "value": "It is mild."},
    ]
    expected = [
        Message("user", "sun?"),
        Message("assistant", "", tool_calls=(AS_KEPT,)),
        Message("tool", "17", name="weather"),
        Message("assistant", "It is mild."),
    ]
    for turns in (openai(CALL["arguments"]), openai(json.dumps(CALL["arguments"])), legacy, share_gpt):
        found = parse_turns(turns, "turns")
        assert found == expected
        check_order(found, "turns")


def test_several_calls_are_one_turn_and_their_answers_keep_the_order() -> None:
    other = {"name": "time", "arguments": {}}
    found = parse_turns(
        [
            {"from": "user", "value": "q"},
            {"from": "gpt", "value": "I look."},
            {"from": "function_call", "value": json.dumps([CALL, other])},
            {"from": "observation", "value": "17"},
            {"from": "observation", "value": "noon"},
            {"from": "gpt", "value": "a"},
        ],
        "conversations",
    )
    assert [m.role for m in found] == ["user", "assistant", "tool", "tool", "assistant"]
    assert (found[1].content, len(found[1].tool_calls)) == ("I look.", 2)
    assert [found[2].name, found[3].name] == ["weather", "time"]
    check_order(found, "conversations")


def test_weights_and_thinking_are_kept() -> None:
    found = parse_turns(
        [
            {"role": "developer", "content": "s"},
            SAY,
            {**ANSWER, "weight": 0},
            SAY,
            {**ANSWER, "train": True, "reasoning_content": "hm"},
            SAY,
            {"role": "assistant", "content": "<think>\nwhy?\n</think>\n\nso"},
        ],
        "messages",
    )
    assert [m.trained for m in found if m.role == "assistant"] == [False, True, True]
    assert [m.thinking for m in found if m.role == "assistant"] == ["", "hm", "why?"]
    assert (found[0].role, found[-1].content) == ("system", "so")
    # What is said of thinking within an answer is no thinking.
    assert parse_turns([{"role": "assistant", "content": "the tag </think> ends"}], "m")[0].thinking == ""


def test_parts_are_joined_and_json_in_a_cell_is_read() -> None:
    parts = [{"role": "user", "content": [{"type": "text", "text": "a"}, "b"]}, ANSWER]
    assert parse_turns(parts, "messages")[0].content == "ab"
    assert parse_turns(json.dumps(parts), "messages") == parse_turns(parts, "messages")


def test_own_tags_are_followed() -> None:
    tags = Tags("who", "said", {"me": "user", "bot": "assistant"})
    assert parse_turns([{"who": "me", "said": "q"}, {"who": "bot", "said": "a"}], "talk", tags) == [
        Message("user", "q"),
        Message("assistant", "a"),
    ]


def test_tools_become_openai_schemas() -> None:
    bare = {"name": "weather", "parameters": {"type": "object"}}
    expected = ({"type": "function", "function": bare},)
    for value in ([bare], json.dumps([bare]), [{"type": "function", "function": bare}], bare):
        assert parse_tools(value, "tools") == expected
    assert parse_tools("", "tools") == parse_tools(None, "tools") == parse_tools([], "tools") == ()


IMAGE = {"type": "image_url", "image_url": "x"}


@pytest.mark.parametrize(
    ("turns", "field", "problem"),
    [
        ([SAY, {"role": "assistant", "content": [IMAGE]}], "m[1].content[0]", "lorafit trains on text"),
        ([SAY, {**ANSWER, "weight": 0.5}], "m[1].weight", "should be 0 or 1"),
        ([SAY, {**ANSWER, "tool_calls": [{"x": 1}]}], "m[1].tool_calls", "a call should be an object with name"),
        ([SAY, {"from": "function_call", "value": "weather()"}], "m[1].value", "a call with name and arguments"),
        ([SAY, {"from": "function_call", "value": "{broken"}], "m[1].value", "begins like JSON"),
        ([SAY, ANSWER, {"role": "tool", "content": "17"}, ANSWER], "m", "turn 3 is a tool's answer, but turn 2 called"),
        ([SAY, {**ANSWER, "weight": 0}], "m", "every answer has weight 0"),
        ("hello", "m", "should be a list of turns, found the text 'hello'"),
    ],
)
def test_a_bad_turn_is_named(turns: Any, field: str, problem: str) -> None:
    with pytest.raises(BadRow, match=problem) as caught:
        check_order(parse_turns(turns, "m"), "m")
    assert caught.value.field == field


@pytest.mark.parametrize("tools", ["weather", [1], [{"parameters": {}}], 7])
def test_bad_tools_are_named(tools: Any) -> None:
    with pytest.raises(BadRow):
        parse_tools(tools, "tools")
