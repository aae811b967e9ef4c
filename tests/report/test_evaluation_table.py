"""evaluation.json in a terminal of any width."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from lorafit.report.evaluation_table import evaluation_tables


def metric(name: str, base: float, other: float, sentence: str, real: bool = True) -> dict[str, Any]:
    value = other - base
    scores = {who: {"score": s, "low": s - 0.05, "high": s + 0.05} for who, s in (("base", base), ("tuned", other))}
    change = {"value": value, "low": value - 0.01, "high": value + 0.01, "is_real": real, "sentence": sentence}
    content = {"name": name, "better": "higher", "share": True, "high": 1}
    return {**content, "scores": scores, "differences": {"tuned": change}}


@pytest.fixture
def content() -> dict[str, Any]:
    better = "better by 30.0 points (95 % interval 20.0 to 40.0)"
    answers = {"base": {"text": "不知道\x1b[31m\n" * 50}, "tuned": {"text": "三年"}}
    example = {"source": "测试.jsonl, row 17", "kind": "improvement", "prompt": "诉讼时效期间是多久?" * 20}
    part = {
        "name": "测试.jsonl",
        "kind": "answers",
        "rows": 300,
        "metrics": [metric("bleu", 0.1, 0.4, better), metric("chrf", 0.3, 0.31, "not distinguishable on 9", False)],
        "categories": {"民法": {"questions": 10, "scores": {"bleu": {"base": 0.1, "tuned": 0.5}}}, "刑法": None},
        "by": "bleu",
        "examples": [{**example, "references": ["三年。"], "answers": answers, "change": 0.8}] * 5,
    }
    return {"schema": 1, "speakers": ["base", "tuned"], "parts": [part, {"name": None, "metrics": None}]}


def shown(content: dict[str, Any], width: int, colour: bool = False) -> str:
    out = StringIO()
    console = Console(file=out, width=width, force_terminal=colour, color_system="standard" if colour else None)
    for table in evaluation_tables(content, width):
        console.print(table)
    return out.getvalue()


@pytest.mark.parametrize("width", [30, 60, 80, 160])
def test_no_line_is_wider_than_the_terminal(content: dict[str, Any], width: int) -> None:
    lines = shown(content, width).splitlines()
    assert lines and max(map(cell_len, lines)) <= width
    assert not any("\x1b" in line for line in lines)


def test_scores_stand_beside_each_other_where_there_is_room(content: dict[str, Any]) -> None:
    wide, usual = shown(content, 160), shown(content, 80)
    assert "40.0% (35.0–45.0%)  better by 30.0 points (95 % interval 20.0 to 40.0)" in wide
    assert "10.0% (5.0–15.0%)  40.0% (35.0–45.0%)  better by 30.0 points" in usual
    assert "not distinguishable" in usual and "interval 20.0" not in usual.split("BLEU", 2)[2].split("\n")[0]


def test_more_models_have_a_row_each(content: dict[str, Any]) -> None:
    content["speakers"].append("旧")
    for one in content["parts"][0]["metrics"]:
        one["scores"]["旧"] = {"score": 0.2}
    lines = [line.split() for line in shown(content, 80).splitlines()]
    assert ["BLEU", "base", "10.0%", "(5.0–15.0%)"] in lines and ["旧", "20.0%"] in lines


def test_categories_and_the_three_best(content: dict[str, Any]) -> None:
    text = shown(content, 80)
    assert ["民法", "10", "10.0%", "50.0%"] in [line.split() for line in text.splitlines()]
    assert text.count("测试.jsonl, row 17: BLEU +80.0 points") == 3
    assert text.count("reference  三年。") == 3 and "worst regressions" not in text
    prompts = [line.rstrip() for line in text.splitlines() if line.startswith("prompt ")]
    assert len(prompts) == 3 and all(line.endswith("…") and cell_len(line) in (79, 80) for line in prompts)


def test_a_difference_has_its_colour(content: dict[str, Any]) -> None:
    text = shown(content, 80, colour=True)
    assert "\x1b[32mbetter by 30.0 points" in text and "\x1b[2mnot distinguishable" in text


def test_an_empty_evaluation_has_no_tables() -> None:
    assert list(evaluation_tables({}, 80)) == [] == list(evaluation_tables({"parts": [{}, None]}, 80))
