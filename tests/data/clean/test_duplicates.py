"""Exact duplicates, the same prompt, the held-out set."""

from __future__ import annotations

from tests.data.clean.rows import document, row, rows

from lorafit.data.clean.duplicates import ExactDuplicates, InHeldOut, SamePrompt
from lorafit.records import Conversation, Message, Source


def test_equal_in_every_turn() -> None:
    data = [*rows(("问", "答"), ("问", "答"), ("问", "答。"), ("问 ", "答")), row("问", "答", 5, system="简短")]
    assert ExactDuplicates().faults(data) == [None, "equals rows.json, row 1", None, None, None]


def test_turns_are_not_run_together() -> None:
    source = Source("rows.json", 1)
    one = Conversation((Message("user", "a"), Message("assistant", "b")), source)
    other = Conversation((Message("user", "a1\nassistant 1\nb"),), source)
    assert ExactDuplicates().faults([one, other]) == [None, None]


def test_the_same_prompt_with_another_answer() -> None:
    data = rows(("What?", "A"), ("ＷＨＡＴ? ", "B"), ("What?", "A"), ("What now?", "A"))
    said = "asks the same as rows.json, row 1 and answers something else"
    assert SamePrompt().faults(data) == [None, said, None, None]
    assert SamePrompt().faults([document("one"), document("two")]) == [None, None]


def test_in_the_held_out_set() -> None:
    rule = InHeldOut([row("首都是哪里？", "北京", 7), document("text")])
    assert rule.faults(rows(("首都是哪里? ", "不知道"), ("省会是哪里？", "北京"))) == [
        "the prompt is that of a held-out row (rows.json, row 7)",
        None,
    ]
    assert rule.faults([document("other")]) == [None]


def test_rows_that_call_other_tools_are_no_duplicates() -> None:
    def calling(name: str) -> Conversation:
        call = {"type": "function", "function": {"name": name, "arguments": {}}}
        turns = (Message("user", "Weather?"), Message("assistant", "", tool_calls=(call,)))
        return Conversation(turns, Source("rows.json", 1))

    assert [bool(fault) for fault in ExactDuplicates().faults([calling("a"), calling("b"), calling("a")])] == [
        False,
        False,
        True,
    ]
