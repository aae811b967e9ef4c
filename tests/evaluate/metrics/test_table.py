"""The table of metrics as a whole, and what it says to wrong input."""

from __future__ import annotations

import numpy as np
import pytest

from lorafit.errors import DataError, RecipeError
from lorafit.evaluate.metrics import METRICS, Texts, interval, measure

ANSWERS = ["A red fox.", "", "没有答案", "コーヒー 커피 ☕", "[1]", "\ud800 odd"]
REFERENCES = [["the red fox!"], ["nothing"], ["答案没有。"], ["コーヒー 커피"], ["[1]"], [""]]


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_keeps_its_range_on_odd_texts(name: str) -> None:
    texts = Texts(ANSWERS, REFERENCES, ended=[True] * 6, schema={"type": "array"})
    measured = measure([name], texts)[name]
    metric = METRICS[name]
    assert np.isfinite(measured.samples).all()
    assert measured.samples.shape == (6,)
    assert measured.samples.min() >= 0 and measured.samples.max() <= metric.high + 1e-12
    assert 0 <= measured.score <= metric.high
    if measured.resampled:
        estimate = interval(measured, draws=200)
        assert estimate.low <= measured.score <= estimate.high or name in ("macro_f1", "bleu", "bleu_e2e")


@pytest.mark.parametrize("name", [name for name, metric in METRICS.items() if metric.takes == "references"])
def test_a_set_scores_the_same_in_any_order(name: str) -> None:
    backwards = Texts(ANSWERS[::-1], REFERENCES[::-1])
    assert measure([name], backwards)[name].score == pytest.approx(
        measure([name], Texts(ANSWERS, REFERENCES))[name].score
    )


def test_missing_references_are_named() -> None:
    with pytest.raises(DataError, match="bleu needs a reference for each answer: answer 2, 3 of 3 has none"):
        measure(["bleu"], Texts(["a", "b", "c"], [["a"], [], []]))
    with pytest.raises(DataError, match="there are none"):
        measure(["cider"], Texts(["a"]))


def test_columns_of_different_length() -> None:
    with pytest.raises(DataError, match="2 answers and 1 entries in references"):
        Texts(["a", "b"], [["a"]])
    with pytest.raises(DataError, match="must be a list"):
        Texts(["a"], ["a"])
    with pytest.raises(DataError, match="no answers"):
        Texts([])
    with pytest.raises(DataError, match="stop_rate needs to know"):
        measure(["stop_rate"], Texts(["a"]))


def test_a_metric_that_there_is_not() -> None:
    with pytest.raises(RecipeError, match="did you mean rouge_l"):
        measure(["ROUGE-L"], Texts(["a"], [["a"]]))
    with pytest.raises(RecipeError, match=r"no metric 'zzz'\.\nThe metrics are exact_match"):
        measure(["zzz"], Texts(["a"], [["a"]]))
