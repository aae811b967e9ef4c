"""Rows of every form to turns."""

from __future__ import annotations

from typing import Any

import pytest

from lorafit.data.convert import Converter, Rejected
from lorafit.data.forms.layout import ColumnMap, Tags
from lorafit.records import Record, Source

Q, A, B = {"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}, {"role": "assistant", "content": "b"}


def outcome(row: dict[str, Any], given: ColumnMap | None = None) -> Any:
    return Converter(given).convert(Record(row, Source("rows.json", 1)))


def turns(row: dict[str, Any], given: ColumnMap | None = None) -> list[tuple[str, str]]:
    return [(m.role, m.content) for m in outcome(row, given).messages]


PAIR = [("user", "q"), ("assistant", "a")]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"prompt": "q", "completion": "a"}, PAIR),
        ({"prompt": [Q], "completion": [A]}, PAIR),
        ({"prompt": [Q], "completion": "a"}, PAIR),
        ({"question": "q", "answers": ["a", "b"]}, PAIR),
        ({"question": "q", "answers": {"text": ["a"], "answer_start": [1]}, "id": "1"}, PAIR),
        ({"question": "q", "answers": [{"text": "a", "answer_start": 1}]}, PAIR),
        ({"question": "q", "context": "c", "answer": "a"}, [("user", "c\n\nq"), ("assistant", "a")]),
        ({"query": "q", "response": "a", "system": "s"}, [("system", "s"), *PAIR]),
        ({"text": "once"}, [("assistant", "once")]),
        ({"prompt": "q", "chosen": "a", "rejected": "b"}, PAIR),
        ({"prompt": "q", "chosen": [A], "rejected": [B]}, PAIR),
        ({"prompt": "q", "chosen": [Q, A], "rejected": [Q, B]}, PAIR),
        ({"chosen": [Q, A], "rejected": [Q, B]}, PAIR),
        ({"chosen": "\n\nHuman: q\n\nAssistant: a", "rejected": "\n\nHuman: q\n\nAssistant: b"}, PAIR),
        ({"prompt": "q", "chosen": "[Verse 1]\na", "rejected": "b"}, [("user", "q"), ("assistant", "[Verse 1]\na")]),
        ({"conversations": [{"from": "human", "value": "q"}], "chosen": {"from": "gpt", "value": "a"}}, PAIR),
        ({"prompt": "q", "completion": "a", "label": True}, PAIR),
        ({"messages": [Q, A], "label": "true"}, PAIR),
        ({"messages": None, "text": "once"}, [("assistant", "once")]),
        ({"prompt": "[1] is a list?", "response": "a"}, [("user", "[1] is a list?"), ("assistant", "a")]),
    ],
)
def test_a_row_is_read_as_its_form(row: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    assert turns(row) == expected


def test_a_column_map_says_which_is_which() -> None:
    row = {"frage": "q", "antwort": "a", "rolle": "s", "text": "no"}
    given = ColumnMap({"prompt": "frage", "answer": "antwort", "system": "rolle"})
    assert turns(row, given) == [("system", "s"), *PAIR]
    tagged = {"talk": [{"who": "me", "said": "q"}, {"who": "it", "said": "a"}]}
    given = ColumnMap({"messages": "talk"}, Tags("who", "said", {"me": "user", "it": "assistant"}))
    assert turns(tagged, given) == PAIR


def test_tools_and_thinking_reach_the_conversation() -> None:
    found = outcome({"messages": [Q, A], "tools": '[{"name": "f"}]'})
    assert found.tools == ({"type": "function", "function": {"name": "f"}},)
    assert outcome({"question": "q", "thinking": "t", "answer": "a"}).messages[-1].thinking == "t"
    assert outcome({"instruction": "q", "output": "<think>t</think>a"}).messages[-1].thinking == "t"


@pytest.mark.parametrize(
    ("row", "field", "fault"),
    [
        ({"prompt": "q", "completion": "a", "label": False}, "label", False),
        ({"prompt": "q", "completion": "a", "label": "perhaps"}, "label", True),
        ({"messages": [Q, A], "label": 0}, "label", False),
        ({"messages": [Q, {**A, "weight": 0}]}, "messages", False),
        ({"question": "q", "answers": []}, "answers", True),
        ({"question": "q", "answers": {"text": []}}, "answers", True),
        ({"chosen": "a", "rejected": "b"}, "chosen", True),
        ({"messages": [Q, A], "chosen": "a"}, "messages", True),
        ({"prompt": "q", "chosen": None, "rejected": "b"}, "prompt, rejected", True),
        ({"instruction": "q", "output": "a", "tools": "no list"}, "tools", True),
    ],
)
def test_what_is_not_trained_on_is_set_aside_with_its_field(row: dict[str, Any], field: str, fault: bool) -> None:
    rejected = outcome(row)
    assert isinstance(rejected, Rejected)
    assert (rejected.field, rejected.fault) == (field, fault)
