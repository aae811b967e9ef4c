"""Rows to conversations, and what is said of rows that are none."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lorafit.data.convert import Converter, Rejected
from lorafit.records import Conversation, Message, Record, Source

GOOD = {"instruction": "Where does Mira live?", "output": "On Willow Street."}
SAY, ANSWER = {"role": "user", "content": "hello"}, {"role": "assistant", "content": "good day"}


def converted(row: dict[str, Any]) -> Conversation | Rejected:
    return Converter().convert(Record(row, Source("rows.json", 1)))


def turns(row: dict[str, Any]) -> list[tuple[str, str]]:
    conversation = converted(row)
    assert isinstance(conversation, Conversation)
    return [(m.role, m.content) for m in conversation.messages]


def fault(row: dict[str, Any]) -> Rejected:
    rejected = converted(row)
    assert isinstance(rejected, Rejected)
    return rejected


def test_an_alpaca_row_is_a_question_and_an_answer() -> None:
    assert turns(GOOD) == [("user", GOOD["instruction"]), ("assistant", GOOD["output"])]
    for nothing in ("", "  ", None):
        assert turns({**GOOD, "input": nothing}) == turns(GOOD)
    assert turns({**GOOD, "input": "In one word."})[0] == ("user", "Where does Mira live?\nIn one word.")


def test_system_and_history_come_first() -> None:
    row = {**GOOD, "system": "Be kind.", "history": [["hello", "good day"], ["again", "and again"]]}
    assert turns(row) == [
        ("system", "Be kind."),
        ("user", "hello"),
        ("assistant", "good day"),
        ("user", "again"),
        ("assistant", "and again"),
        *turns(GOOD),
    ]


def test_messages_are_taken_as_they_are() -> None:
    row = {"messages": [{"role": "system", "content": " s\n"}, SAY, ANSWER, SAY, ANSWER], "id": 7}
    conversation = converted(row)
    assert isinstance(conversation, Conversation)
    assert conversation.messages[0] == Message("system", " s\n")
    assert conversation.answer == "good day"
    assert len(conversation.prompt) == 4


@pytest.mark.parametrize(
    ("row", "field", "problem"),
    [
        ({"instruction": "q"}, "output", "missing; the row has instruction"),
        ({"output": "a"}, "instruction", "missing; the row has output"),
        ({**GOOD, "output": " \n"}, "output", "a text that is not empty, found an empty text"),
        ({**GOOD, "output": None}, "output", "found null"),
        ({**GOOD, "output": 42}, "output", "found 42"),
        ({**GOOD, "input": ["a", "b"]}, "input", "found a list of 2"),
        ({**GOOD, "history": "hello"}, "history", "a list of [question, answer] pairs, found the text 'hello'"),
        ({**GOOD, "history": [["q", "a"], ["q"]]}, "history", "turn 2 should be a [question, answer] pair"),
        ({**GOOD, "history": [["q", " "]]}, "history[1]", "found an empty text"),
        ({"text": "a", "label": 1}, "text, label", "no form that is known"),
        ({}, "(none)", "no form that is known"),
        ({"messages": []}, "messages", "a list of turns, found a list of 0"),
        ({"messages": [SAY, "good day"]}, "messages[1]", "an object with role and content, found the text"),
        ({"messages": [SAY, {"role": "bot", "content": "x"}]}, "messages[1].role", "found 'bot'"),
        ({"messages": [SAY, {"role": "assistant"}]}, "messages[1].content", "found null"),
        ({"messages": [SAY, {"role": "system", "content": "x"}]}, "messages[1].role", "only understood as the first"),
        ({"messages": [ANSWER, SAY, ANSWER]}, "messages", "should begin with a user message"),
        ({"messages": [{"role": "system", "content": "x"}]}, "messages", "should begin with a user message"),
        ({"messages": [SAY, ANSWER, SAY]}, "messages", "the last message should be the assistant's answer"),
        ({"messages": [SAY, SAY, ANSWER]}, "messages", "turns 1 and 2 are both of the user"),
        # What is left when a text is cut inside an emoji: UTF-8 cannot hold it, so no tokenizer can read it.
        ({**GOOD, "output": "fox \ud83e"}, "output", "half a surrogate pair at character 5"),
    ],
)
def test_a_bad_row_is_named_by_field_and_problem(row: dict[str, Any], field: str, problem: str) -> None:
    rejected = fault(row)
    assert rejected.field == field
    assert problem in rejected.problem
    assert str(rejected).startswith(f"rows.json, row 1, field {field!r}: ")
    kept = rejected.to_json().encode().decode()
    assert json.loads(kept)["fields"] == row
