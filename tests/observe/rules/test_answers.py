"""Answers that never end or mean nothing, in languages with and without spaces; and answers that are merely wrong."""

from __future__ import annotations

from typing import Any

import pytest
from tests.observe.rules.histories import DATA, history, symptoms

from lorafit.observe.rules.answers import ASKED_OTHERWISE, NO_STOP
from lorafit.observe.rules.table import examine

REFERENCE = "Mira lives on Willow Street, beside the ferry landing."


def answers(text: str, ended: bool = True, score: float = 0.5, count: int = 8, reference: str = REFERENCE) -> Any:
    return [{"reference": reference, "tuned": {"text": text, "ended": ended, "token_f1": score}}] * count


GOES_ON = "Mira lives on Willow Street. She went to the market and met the baker, who sold her two loaves and a tart."


def test_answers_that_never_end() -> None:
    (finding,) = examine(history(samples=answers(GOES_ON, ended=False)))
    assert finding.symptom == "end-of-turn-not-learnt" and finding.setting == "train.epochs=6"
    run = history(samples=answers(GOES_ON, ended=False), data={**DATA, "warnings": [f"The model {NO_STOP}."]})
    assert examine(run)[0].setting == "data.template=human-assistant"
    run = history(samples=answers(GOES_ON, ended=False), data={**DATA, "cut_within_answer": 3})
    assert examine(run)[0].setting == "data.max_length=4096"


def test_answers_that_end_late_or_are_long_by_right() -> None:
    assert symptoms(history(samples=answers(GOES_ON))) == []
    assert symptoms(history(samples=answers("Mira lives on", ended=False))) == [], "evaluate.max_new_tokens was short"
    assert symptoms(history(samples=answers(GOES_ON, ended=False, count=3))) == [], "three are anecdotes"


@pytest.mark.parametrize("text", ["", "Happy to Happy to Happy to Happy to Happy to Happy to", "好的好的" * 12])
def test_answers_that_mean_nothing(text: str) -> None:
    (finding,) = examine(history(samples=answers(text, score=0.1)))
    assert finding.symptom == "answers-mean-nothing" and "asked in another way" in finding.cause
    run = history(samples=answers(text), data={**DATA, "warnings": [f"The model will be {ASKED_OTHERWISE}."]})
    assert (examine(run)[0].severity, examine(run)[0].setting) == ("fault", "data.template=human-assistant")


def test_answers_after_too_few_updates() -> None:
    run = history(updates=12, samples=answers("to the mayor", score=0.0), data={**DATA, "training": {"samples": 64}})
    found = {one.symptom: one for one in examine(run)}
    assert "12 updates" in found["answers-mean-nothing"].cause
    assert found["answers-mean-nothing"].setting == found["too-few-updates"].setting is not None


def test_wrong_answers_have_a_meaning() -> None:
    assert symptoms(history(samples=answers("Mira lives in the tower.", score=0.4))) == []
    poem = "小镇的早晨很安静，渔船一艘接一艘地出海，米拉住在柳树街，她的邻居是一位铁匠，养着两只猫和一只会唱歌的鹦鹉。"
    assert symptoms(history(samples=answers(poem, score=0.3, reference=poem))) == []


def test_what_follows_from_a_lost_run_is_not_said_twice() -> None:
    run = history(lambda spent: 1.5 + 3 * min(1, 10 * spent), None, samples=answers("", score=0.0))
    assert symptoms(run) == ["loss-diverging"]
