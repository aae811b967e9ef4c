"""Rows to conversations, and what is said of rows that are none."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lorafit.data.convert import Rejected, convert
from lorafit.errors import DataError
from lorafit.records import Message, Record, Source

GOOD = {"instruction": "Where does Mira live?", "output": "On Willow Street."}
SAY, ANSWER = {"role": "user", "content": "hello"}, {"role": "assistant", "content": "good day"}


def records(*rows: dict[str, Any]) -> list[Record]:
    return [Record(row, Source("rows.json", number)) for number, row in enumerate(rows, start=1)]


def turns(row: dict[str, Any]) -> list[tuple[str, str]]:
    (conversation,), rejected = convert(records(row))
    assert not rejected
    return [(m.role, m.content) for m in conversation.messages]


def fault(row: dict[str, Any]) -> Rejected:
    _, (rejected,) = convert(records(row, GOOD), "drop")
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
    (conversation,), _ = convert(records(row))
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


def test_the_first_twenty_bad_rows_are_named_together() -> None:
    with pytest.raises(DataError) as caught:
        convert(records(GOOD, *({"instruction": f"{number}"} for number in range(23))))
    lines = str(caught.value).splitlines()
    assert lines[0] == "23 of 24 rows cannot be used:"
    assert [line.split(",")[1] for line in lines[1:21]] == [f" row {number}" for number in range(2, 22)]
    assert lines[21] == "  ... and 3 more"
    assert "data.bad_rows=drop" in lines[22]


def test_dropped_rows_are_kept_aside_and_the_others_keep_their_numbers() -> None:
    conversations, rejected = convert(records(GOOD, {"instruction": "no answer"}, GOOD), "drop")
    assert [c.source.row for c in conversations] == [1, 3]
    assert [r.record.source.row for r in rejected] == [2]


def test_when_every_row_is_bad_dropping_is_no_way_out() -> None:
    with pytest.raises(DataError, match="2 of 2 rows"):
        convert(records({"a": 1}, {"a": 2}), "drop")
