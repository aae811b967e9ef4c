from __future__ import annotations

import json
import math
from typing import Any

import pytest

from lorafit.evaluate.metrics import METRICS, mean_of
from lorafit.evaluate.summary import harness_rows, metric_rows


def test_a_row_has_scores_intervals_and_what_differs_in_words() -> None:
    base, tuned = mean_of([0.0] * 30 + [1.0] * 10), mean_of([1.0] * 30 + [1.0] * 10)
    (row,) = metric_rows([METRICS["exact_match"]], {"base": {"exact_match": base}, "tuned": {"exact_match": tuned}})
    score = row["scores"]["base"]
    assert score["score"] == 0.25 and score["low"] < 0.25 < score["high"]
    difference = row["differences"]["tuned"]
    assert difference["value"] == 0.75 and difference["is_real"] and difference["sentence"].startswith("better by 75.0")
    assert (row["share"], row["high"]) == (True, 1.0) and json.dumps(row, allow_nan=False)


def found(score: float, stderr: float | None, samples: int = 50) -> dict[str, Any]:
    return {"score": score, "stderr": stderr, "samples": samples}


@pytest.mark.parametrize(
    ("base", "tuned", "real", "words"),
    [
        (found(0.5, 0.05), found(0.7, 0.05), True, "better by 20.0 points"),
        (found(0.5, 0.05), found(0.55, 0.05), False, "not distinguishable on 50 samples"),
        (found(0.0, 0.0), found(1.0, 0.0), True, "better by 100.0 points"),
        (found(0.0, 0.0), found(0.0, 0.0), False, "not distinguishable"),
        (found(0.5, None), found(0.7, None), False, "no interval"),
    ],
)
def test_scores_of_the_harness_differ_by_their_standard_errors(
    base: dict[str, Any], tuned: dict[str, Any], real: bool, words: str
) -> None:
    (row,) = harness_rows({"base": {"toy": {"acc": base}}, "tuned": {"toy": {"acc": tuned}}})
    difference = row["differences"]["tuned"]
    assert row["name"] == "toy: acc" and difference["is_real"] == real and words in difference["sentence"]
    assert json.dumps(row, allow_nan=False)


def test_a_perplexity_of_the_harness_is_better_when_it_is_lower() -> None:
    perplexity = {"base": {"t": {"word_perplexity": found(20, 1)}}, "tuned": {"t": {"word_perplexity": found(10, 1)}}}
    (row,) = harness_rows(perplexity)
    assert row["better"] == "lower" and row["high"] is None
    assert row["differences"]["tuned"]["sentence"].startswith("better by 10.00")
    assert row["differences"]["tuned"]["p"] == pytest.approx(math.erfc(10 / math.hypot(1, 1) / math.sqrt(2)))
