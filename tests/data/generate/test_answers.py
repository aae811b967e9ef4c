"""An answer is read however the model wraps it, and a row that cannot be used says why."""

from __future__ import annotations

import json

import pytest

from lorafit.data.generate.answers import BadRow, Row, find_rows, to_row

ONE = {"question": "Who?", "answer": "Mira."}
TWO = {"question": "谁？", "answer": "米拉。"}
BOTH = json.dumps([ONE, TWO], ensure_ascii=False)


@pytest.mark.parametrize(
    "text",
    [
        BOTH,
        f"Here are [2] rows:\n```json\n{BOTH}\n```\nTell me {{if}} you need more.",
        f"<think>Maybe [{json.dumps(ONE)}] first.</think>\n{BOTH}",
        f"no opening tag [{json.dumps(ONE)}]</think>{BOTH}",
        json.dumps({"rows": [ONE, TWO]}),
        f"{json.dumps(ONE)}\n{json.dumps(TWO)}",
        f"1. {json.dumps(ONE)}\n2. {json.dumps(TWO)}",
        BOTH[:-1] + ', {"question": "cut o',
    ],
)
def test_rows_are_found(text: str) -> None:
    assert find_rows(text) == [ONE, TWO]


@pytest.mark.parametrize("text", ["", "I cannot.", "[1, 2]", "[" * 5000, '<think>[{"question": "a", "answer": "b"}]'])
def test_nothing_is_found(text: str) -> None:
    assert find_rows(text) == []


def test_line_breaks_within_strings() -> None:
    assert to_row(*find_rows('{"question": "a\nb", "answer": "c"}')).turns == (("a\nb", "c"),)


def test_a_dialogue_cut_off_leaves_no_stray_turns() -> None:
    text = '[{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b'
    assert find_rows(text) == []

    row = to_row({"instruction": "Add.", "input": "1 2", "output": 3})
    assert row.fields("alpaca") == {"instruction": "Add.", "input": "1 2", "output": "3"}
    assert row.fields("messages")["messages"][0] == {"role": "user", "content": "Add.\n1 2"}
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}] * 2
    for value in (turns, {"messages": turns}, {"对话": turns}):
        assert to_row(value).fields("messages") == {"messages": turns}
    assert to_row(turns, "P").fields("alpaca") == {
        "instruction": "a",
        "input": "",
        "output": "b",
        "history": [["a\nP", "b"]],
    }
    assert to_row({"指令": "问", "输出": "答"}).turns == (("问", "答"),)


def test_the_passage_becomes_the_input() -> None:
    assert to_row({"instruction": "Sum up.", "input": "copy", "output": "Short."}, "P") == Row(
        (("Sum up.", "Short."),), "P"
    )


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({"answer": "a"}, "no question"),
        ({"question": "q", "answer": " "}, "answer is empty"),
        ({"question": "q", "answer": ["a"]}, "answer is not a text"),
        ({"question": "q", "answer": "\ud800"}, "surrogate"),
        ({"messages": [{"role": "user", "content": "a"}]}, "from user to assistant"),
        ({"messages": "a"}, "not a list of turns"),
        ({"messages": []}, "from user to assistant"),
    ],
)
def test_bad_rows_say_why(value: dict[str, object], reason: str) -> None:
    with pytest.raises(BadRow, match=reason):
        to_row(value)
