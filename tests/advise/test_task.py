"""What the data is for, guessed from its rows."""

from __future__ import annotations

import json

import pytest

from lorafit.advise.task import TASKS, guess_task, task_named
from lorafit.errors import RecipeError
from lorafit.evaluate.metrics import checked
from lorafit.records import Conversation, Message, Source


def dialogues(answers: list[str], system: str = "", file: str = "rows.json") -> list[Conversation]:
    head = (Message("system", system),) if system else ()
    return [
        Conversation((*head, Message("user", f"Ask {i}"), Message("assistant", answer)), Source(file, i + 1))
        for i, answer in enumerate(answers)
    ]


SENTENCES = [f"The answer number {i} is a sentence of its own." for i in range(40)]


@pytest.mark.parametrize(
    ("task", "conversations", "why"),
    [
        ("assistant", dialogues(SENTENCES), "40 answers"),
        ("json", dialogues([json.dumps({"n": i, "城市": "隆德"}) for i in range(40)]), "40 of 40 answers are JSON"),
        ("json", dialogues([f"```json\n[{i}]\n```" for i in range(40)]), "40 of 40"),
        ("classification", dialogues(["好评", "差评"] * 20), "40 answers are only 2 different ones"),
        ("classification", dialogues(["1", "2", "3", "4"] * 10), "only 4"),
        ("code", dialogues([f"Like this:\n```python\nx = {i}\n```" for i in range(40)]), "40 of 40 answers hold code"),
        ("code", dialogues([f"import os\ndef f{i}(a):\n    return a" for i in range(40)]), "hold code"),
        ("style", dialogues(SENTENCES, system="You are an old sailor who speaks in riddles."), "same system prompt"),
        ("assistant", dialogues(SENTENCES, system="Help."), "40 answers"),
        ("domain", [Conversation((Message("assistant", t),), Source("a.txt", 1)) for t in SENTENCES], "40 of 40 rows"),
        ("code", [Conversation((Message("assistant", t),), Source("src/a.py", 1)) for t in SENTENCES], "source files"),
    ],
)
def test_the_task_is_guessed_and_the_reason_said(task: str, conversations: list[Conversation], why: str) -> None:
    guessed, said = guess_task(conversations)
    assert guessed.name == task
    assert why in said


def test_few_rows_with_unlike_answers_are_no_classes() -> None:
    assert guess_task(dialogues(["yes", "no", "maybe"]))[0].name == "assistant"


def test_an_unknown_task_is_named_with_the_nearest() -> None:
    with pytest.raises(RecipeError, match="Did you mean classification"):
        task_named("clasification")
    assert task_named("json") is TASKS["json"]


def test_every_task_has_metrics_that_exist() -> None:
    for task in TASKS.values():
        checked(list(task.metrics))
