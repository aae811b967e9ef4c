from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lorafit.evaluate import score
from lorafit.evaluate.journal import Journal
from lorafit.evaluate.metrics import METRICS, Texts, checked, interval, measure
from lorafit.evaluate.question import Question
from lorafit.evaluate.score import Scoring, fitting_metrics, score_part
from lorafit.records import Message, Source

NAMES = ["exact_match", "token_f1", "bleu", "rouge_l", "cider", "distinct_1", "macro_f1", "stop_rate"]
COUNT = 57


def questions() -> list[Question]:
    return [
        Question(
            n,
            Source("f", n),
            (Message("user", f"question {n}"),),
            references=(f"the answer is {n % 5}",),
            category="even" if n % 2 == 0 else "odd",
        )
        for n in range(1, COUNT + 1)
    ]


def said(number: int, speaker: str) -> str:
    right = number % (3 if speaker == "tuned" else 7) == 0
    return f"the answer is {number % 5 if right else 'not known'}"


@pytest.fixture
def journals(tmp_path: Path) -> dict[str, Journal]:
    made = {speaker: Journal(tmp_path / speaker) for speaker in ("base", "tuned")}
    for speaker, journal in made.items():
        for number in range(COUNT, 0, -1):
            text = said(number, speaker)
            journal.write(number, {"text": text, "ended": number % 4 > 0, "tokens": len(text.split())})
    return made


def scores(part: dict[str, Any], speaker: str) -> dict[str, float]:
    return {row["name"]: row["scores"][speaker]["score"] for row in part["metrics"]}


def test_scores_are_those_of_all_answers_however_they_are_cut_into_windows(
    journals: dict[str, Journal], monkeypatch: pytest.MonkeyPatch
) -> None:
    scoring = Scoring(checked(NAMES), token_count=lambda texts: [len(text.split()) for text in texts])
    texts = Texts(
        [said(q.number, "tuned") for q in questions()],
        [q.references for q in questions()],
        [q.number % 4 > 0 for q in questions()],
    )
    wanted = {name: one.score for name, one in measure(NAMES, texts).items()}
    whole = score_part(questions(), journals, scoring)
    assert scores(whole, "tuned") == pytest.approx(wanted)
    f1 = next(row for row in whole["metrics"] if row["name"] == "token_f1")
    assert f1["scores"]["tuned"]["low"] == interval(measure(["token_f1"], texts)["token_f1"]).low
    assert f1["differences"]["tuned"]["is_real"] and f1["differences"]["tuned"]["sentence"].startswith("better by")
    assert f1["differences"]["tuned"]["samples"] == COUNT

    monkeypatch.setattr(score, "GROUPS", 10)
    cut = score_part(questions(), journals, scoring)
    assert scores(cut, "tuned") == pytest.approx(wanted) and scores(cut, "base") == pytest.approx(scores(whole, "base"))
    assert cut["examples"] == whole["examples"]
    for category, found in whole["categories"].items():
        for name, of in found["scores"].items():
            assert cut["categories"][category]["scores"][name] == pytest.approx(of)
    assert cut["lengths"] == whole["lengths"]
    assert next(r for r in cut["metrics"] if r["name"] == "bleu")["differences"]["tuned"]["samples"] == COUNT


def test_a_metric_of_a_whole_set_is_measured_on_some_of_very_many(
    journals: dict[str, Journal], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(score, "WHOLE", 20)
    part = score_part(questions(), journals, Scoring(checked(["exact_match", "macro_f1"])))
    notes = {row["name"]: row["scores"]["base"]["note"] for row in part["metrics"]}
    assert notes["exact_match"] == "" and notes["macro_f1"].startswith("On 19 answers spread over the set")


def test_categories_examples_lengths_and_ends(journals: dict[str, Journal]) -> None:
    part = score_part(
        questions(), journals, Scoring(checked(["exact_match", "token_f1"]), token_count=lambda t: [4] * len(t))
    )
    even = part["categories"]["even"]
    right = [n for n in range(2, COUNT + 1, 2) if n % 3 == 0]
    assert even["questions"] == 28 and even["scores"]["exact_match"]["tuned"] == pytest.approx(len(right) / 28)
    assert part["by"] == "token_f1"
    better = [one for one in part["examples"] if one["kind"] == "improvement"]
    worse = [one for one in part["examples"] if one["kind"] == "regression"]
    assert [one["number"] for one in better] == [3, 6, 9, 12, 15, 18, 24, 27, 30, 33]
    assert [one["number"] for one in worse] == [7, 14, 28, 35, 49, 56]
    assert better[0]["answers"]["tuned"]["text"] == "the answer is 3" and better[0]["prompt"] == "question 3"
    assert part["reasons"] == {name: {"stop": 43, "length": 14} for name in ("base", "tuned")}
    assert all(sum(one["counts"]) == COUNT for one in part["lengths"].values()) and "reference" in part["lengths"]


def test_what_is_not_answered_yet_does_not_count(tmp_path: Path, journals: dict[str, Journal]) -> None:
    half = Journal(tmp_path / "half")
    for number in range(1, 21):
        half.write(number, {"text": f"the answer is {number % 5}", "ended": True, "tokens": 4})
    part = score_part(questions(), {"base": half, "tuned": journals["tuned"]}, Scoring(checked(["exact_match"])))
    assert scores(part, "base") == {"exact_match": 1.0} and scores(part, "tuned")["exact_match"] == 6 / 20


def test_the_right_choice_is_the_likeliest(tmp_path: Path) -> None:
    asked = [Question(n, Source("f", n), text="?", references=(" B",), choices=(" A", " B")) for n in (1, 2, 3)]
    journal = Journal(tmp_path / "j")
    for number, right in ((1, -1.0), (2, -3.0), (3, -0.5)):
        journal.write(number, {"choices": [[-2.0, 1, 2], [right, 1, 2]]})
    part = score_part(asked, {"base": journal}, Scoring([METRICS["accuracy"]]))
    assert scores(part, "base") == {"accuracy": pytest.approx(2 / 3)} and part["lengths"] == {}


def test_the_metrics_fit_the_references() -> None:
    def of(*references: str) -> list[str]:
        return fitting_metrics([Question(n, Source("f", n), references=(r,)) for n, r in enumerate(references, 1)])

    assert of(*["yes", "no", "yes"] * 4) == ["accuracy", "macro_f1", "stop_rate"]
    assert "json_valid" in of('{"a": 1}', "[2]", '{"b": 3}') and "json_valid" not in of("a text", "of its own", "{x}")
    assert "bleu" in of("one text", "another text", "a third")
    assert fitting_metrics([Question(1, Source("f", 1), choices=("a",), references=("a",))]) == ["accuracy"]
