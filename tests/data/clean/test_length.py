"""Empty, too short, too long: near the border on both sides."""

from __future__ import annotations

import pytest
from tests.data.clean.rows import document, row

from lorafit.data.clean.length import Empty, TooLong, TooShort
from lorafit.records import Conversation, Message, Source


@pytest.mark.parametrize("nothing", ["", "  \n\t", "\u200b\ufeff", "\u3000", "\x00", "\u3164"])
def test_a_turn_without_anything_to_see_is_empty(nothing: str) -> None:
    assert Empty().faults([row("asked", nothing), row(nothing, "answer")]) == [
        "turn 2 (assistant) is empty",
        "turn 1 (user) is empty",
    ]


@pytest.mark.parametrize("little", [".", "好", "0", "？", "👍"])
def test_a_sign_is_not_empty(little: str) -> None:
    assert Empty().faults([row(little, little, system=" ")]) == [None]


def test_a_turn_that_calls_a_tool_or_thinks_is_not_empty() -> None:
    call = {"type": "function", "function": {"name": "weather", "arguments": {}}}
    asked = Message("user", "Weather?")
    calling, thinking = Message("assistant", "", tool_calls=(call,)), Message("assistant", "", thinking="Hm.")
    source = Source("rows.json", 1)
    assert Empty().faults([Conversation((asked, said), source) for said in (calling, thinking)]) == [None, None]


def test_documents_can_be_too_short_and_answers_cannot() -> None:
    rule = TooShort(5)
    assert rule.faults([document(" 四个字啊 "), document("五个字的文"), document("four")]) == [
        "4 characters, below data.clean.min_characters=5",
        None,
        "4 characters, below data.clean.min_characters=5",
    ]
    assert rule.faults([row("去吗", "去"), row("Is it?", "No.")]) == [None, None]


def test_too_long_counts_all_turns() -> None:
    assert TooLong(6).faults([row("abc", "def"), row("你好吗", "很好谢谢")]) == [
        None,
        "7 characters, above data.clean.max_characters=6",
    ]
