"""evaluation.json as a page: what is whole, what is missing, what is hostile."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from lorafit.errors import RunError
from lorafit.report.evaluation import CATEGORIES, HELD, SHOWN, passage, render, write_evaluation_page
from lorafit.report.evaluation_read import read_evaluation

HOSTILE = "</script><script>alert('贪婪')</script>\x00\x1b[31m"


def difference(value: float | None, low: float | None, high: float | None, real: bool, told: str) -> dict[str, Any]:
    return {"value": value, "low": low, "high": high, "p": 0.01, "samples": 8, "is_real": real, "sentence": told}


def score(value: float | None, spread: float | None = 0.02) -> dict[str, Any]:
    ends = (None, None) if value is None or spread is None else (value - spread, value + spread)
    return {"score": value, "low": ends[0], "high": ends[1], "note": ""}


def metric(name: str, base: float, tuned: float, real: bool = True, **values: Any) -> dict[str, Any]:
    made = difference(tuned - base, tuned - base - 0.01, tuned - base + 0.01, real, f"{name} told")
    content = {"name": name, "better": "higher", "share": True, "high": 1.0}
    return {
        **content,
        "scores": {"base": score(base), "tuned": score(tuned)},
        "differences": {"tuned": made},
        **values,
    }


def example(number: int, kind: str, **values: Any) -> dict[str, Any]:
    answers = {
        "base": {"text": "It is six years.", "ended": False, "score": 0.2},
        "tuned": {"text": "It was six years.", "ended": True, "score": 1.0},
    }
    content = {"number": number, "source": f"test.jsonl, row {number}", "kind": kind, "prompt": "How long?"}
    return {**content, "references": ["It was six years."], "change": 0.8, "answers": answers, **values}


@pytest.fixture
def content() -> dict[str, Any]:
    law = {"questions": 10, "scores": {"exact_match": {"base": 0.1, "tuned": 0.5}}}
    tax = {"questions": 5, "scores": {"exact_match": {"base": 0.4, "tuned": 0.2}}}
    part = {
        "name": "test.jsonl",
        "kind": "answers",
        "rows": 300,
        "questions": 200,
        "metrics": [metric("exact_match", 0.25, 0.5), metric("token_f1", 0.3, 0.31, real=False)],
        "categories": {"law": law, "tax": tax},
        "by": "exact_match",
        "examples": [example(17, "improvement"), example(18, "regression", change=-1)],
        "lengths": {"base": {"edges": [0, 10, 20], "counts": [5, 15]}, "reference": {"edges": [0, 5], "counts": [9]}},
        "reasons": {"base": {"stop": 150, "length": 50}, "tuned": {"stop": 200}},
    }
    loss = {"name": "perplexity", "better": "lower", "share": False, "high": None}
    forgetting = {"name": "built-in", "kind": "forgetting", "metrics": [metric(**loss, base=20.0, tuned=25.0)]}
    facts = {"schema": 1, "name": "测试", "of": "runs/legal", "base": "tiny", "speakers": ["base", "tuned"]}
    return {**facts, "seconds": 12.0, "made": 1.76e9, "warnings": ["12 rows were seen"], "parts": [part, forgetting]}


class Tags(HTMLParser):
    """Counts tags and sees that each that is opened is closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.count: dict[str, int] = {}
        self.open: list[str] = []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.count[tag] = self.count.get(tag, 0) + 1
        assert not any(name.startswith("on") or (name in ("src", "href") and value) for name, value in attrs)
        if tag not in ("meta", "br", "path"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag != "path":
            assert self.open.pop() == tag


def test_a_whole_evaluation(content: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "evaluation.json").write_text(json.dumps(content), encoding="utf-8")
    page = write_evaluation_page(tmp_path)
    assert page == tmp_path / "report.html" and sorted(path.name for path in tmp_path.iterdir()) == [
        "evaluation.json",
        "report.html",
    ]
    text = page.read_text(encoding="utf-8")
    tags = Tags(text)
    assert tags.count["article"] == 2
    assert "The tuned model is better than the base on test.jsonl" in text
    assert "exact match 25.0% → 50.0%: exact_match told. Of 2 metrics: 1 better, 1 not distinguishable." in text
    assert "has forgotten: it is worse than the base on general text (built-in)" in text
    assert "12 rows were seen" in text and '<h1 lang="zh">测试</h1>' in text
    assert "It <mark>is </mark><ins>was </ins>six years." in text
    assert "ended by itself 150 (75.0%)" in text and "200 prompts" in text
    assert text.index(">law<") < text.index(">tax<") and "10.0% → 50.0%" in text


def test_a_broken_or_missing_file(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is missing"):
        write_evaluation_page(tmp_path)
    (tmp_path / "evaluation.json").write_text('{"schema": 1, "par', encoding="utf-8")
    with pytest.raises(RunError, match="cannot be read"):
        write_evaluation_page(tmp_path)
    assert not (tmp_path / "report.html").exists()


def test_interval_bars_stand_where_the_scores_are(content: dict[str, Any]) -> None:
    text = render(content, 0.0)
    assert 'left:23.0%;width:4.0%"></i><u style="left:25.0%">' in text
    # Without a bound the scale ends at a round value: perplexity 25 of 30.
    assert "scale 0 to 30" in text and '<u style="left:83.3%">' in text


def spoiled(value: Any) -> list[Any]:
    """Each key of a JSON value, however deep, taken away, null, and of another shape; one at a time."""
    if isinstance(value, dict):
        shapes = [{**value, key: wrong} for key in value for wrong in (None, "x", [3])]
        shapes += [{name: one for name, one in value.items() if name != key} for key in value]
        return shapes + [{**value, key: one} for key in value for one in spoiled(value[key])]
    if isinstance(value, list):
        return [[*value[:at], one, *value[at + 1 :]] for at, entry in enumerate(value) for one in spoiled(entry)]
    return []


def test_any_key_may_be_missing(content: dict[str, Any]) -> None:
    part = content["parts"][0]
    few = {key: part[key][:1] for key in ("metrics", "examples")} | {"categories": {"law": part["categories"]["law"]}}
    shapes = spoiled({**part, **few})
    assert len(shapes) > 200
    # Rendered together: as many parts in one page as there are ways to be broken.
    Tags(render({**content, "parts": shapes}, 0.0))
    whole = {**content, "parts": []}
    for broken in spoiled(whole):
        Tags(render(broken, 0.0))


def test_nothing_scored_and_one_model_only() -> None:
    assert "Nothing has been scored yet." in render({}, 0.0)
    alone = {"name": "mmlu", "metrics": [{"name": "accuracy", "share": True, "scores": {"base": score(0.4)}}]}
    text = render({"speakers": ["base"], "parts": [alone]}, 0.0)
    assert "One model was scored" in text and "40.0%" in text and 'class="finding' not in text


def test_hostile_texts_are_only_texts(content: dict[str, Any]) -> None:
    plain = Tags(render(content, 0.0)).count

    def hostile(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {name: hostile(one, name) for name, one in value.items()}
        if isinstance(value, list):
            return [hostile(one, key) for one in value]
        return HOSTILE + value if isinstance(value, str) and key not in ("kind", "better", "by", "speakers") else value

    spoiled = hostile(content)
    spoiled["parts"][0]["categories"] = {HOSTILE + "law": content["parts"][0]["categories"]["law"]}
    spoiled["parts"][0]["reasons"] = {HOSTILE: {HOSTILE: 3}}
    text = render(spoiled, 0.0)
    assert "<script>alert" not in text
    assert Tags(text).count["script"] == plain["script"]


def test_half_a_surrogate_pair_is_written(tmp_path: Path) -> None:
    (tmp_path / "evaluation.json").write_text('{"name": "\\ud83d", "parts": []}', encoding="utf-8")
    assert "<h1>?</h1>" in write_evaluation_page(tmp_path).read_text(encoding="utf-8")


def test_a_long_text_is_folded() -> None:
    told = passage("一" * (HELD + 5))
    assert sum(len(piece.text) for piece in told.shown) == SHOWN
    assert told.left_out == 5 and told.folded_characters == HELD + 5 - SHOWN
    assert passage("").shown == []


def test_many_categories_show_both_ends(content: dict[str, Any]) -> None:
    content["parts"][0]["categories"] = {
        f"subject {n:02}": {"questions": 3, "scores": {"exact_match": {"base": 0.5, "tuned": n / 100}}}
        for n in range(CATEGORIES + 6)
    }
    text = render(content, 0.0)
    assert "<summary>6 in between</summary>" in text
    assert text.index("subject 29") < text.index("6 in between") < text.index("subject 14") < text.index("subject 00")


@pytest.mark.parametrize(
    ("values", "verdict", "title"),
    [
        ({"value": 0.2, "low": 0.1, "high": 0.3, "is_real": True}, "good", "t is better than the base on x"),
        ({"value": -0.2, "low": -0.3, "high": -0.1, "is_real": True}, "bad", "t is worse than the base on x"),
        ({"value": 0.2, "low": -0.1, "high": 0.3, "is_real": False}, "same", "No difference shows"),
        ({"value": 0.2, "low": None, "high": None, "is_real": False}, "unsure", "the difference was not tested"),
        ({"value": 0.0, "low": None, "high": None, "is_real": False}, "same", "No difference shows"),
        ({"value": None}, "unsure", "the difference was not tested"),
    ],
)
def test_verdicts(values: dict[str, Any], verdict: str, title: str) -> None:
    parts = [{"name": "x", "metrics": [metric("bleu", 0.1, 0.2, differences={"t": values})]}]
    (headline,) = read_evaluation({"speakers": ["base", "t"], "parts": parts}).headlines
    assert headline.verdict == verdict and title in headline.title


def test_a_metric_without_a_direction_makes_no_headline() -> None:
    parts = [{"name": "x", "metrics": [metric("length", 90.0, 20.0, better="", share=False, high=None)]}]
    view = read_evaluation({"speakers": ["base", "tuned"], "parts": parts})
    assert view.headlines == [] and view.parts[0].metrics[0].changes["tuned"].verdict == "differs"
