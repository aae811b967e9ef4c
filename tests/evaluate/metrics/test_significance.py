"""Intervals and tests against recomputing everything, enumeration, and the normal approximation."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from lorafit.errors import DataError
from lorafit.evaluate.metrics import METRICS, Texts, compare, interval, mean_of, measure, ratio_of, sentence
from lorafit.evaluate.metrics.significance import GROUPS, grouped, randomisation, resamples

WORDS = ["the", "a", "red", "blue", "fox", "dog", "runs", "sleeps", "fast", "now", "here", "there"]


def drawn_texts(seed: int, changed: float, count: int = 30) -> Texts:
    draw = np.random.default_rng(0)
    references = [" ".join(draw.choice(WORDS, 8)) for _ in range(count)]
    draw = np.random.default_rng(seed)
    answers = [
        " ".join(draw.choice(WORDS) if draw.random() < changed else w for w in text.split()) for text in references
    ]
    return Texts(answers, [[reference] for reference in references])


def test_the_interval_is_that_of_the_mean() -> None:
    estimate = interval(mean_of([0.0, 1.0] * 50))
    # The normal approximation: 0.5 +- 1.96 * 0.5 / sqrt(100).
    assert estimate.low == pytest.approx(0.402, abs=0.02)
    assert estimate.high == pytest.approx(0.598, abs=0.02)
    assert interval(mean_of([0.0, 1.0] * 50)) == estimate
    alone = interval(mean_of([0.25]))
    assert (alone.score, alone.low, alone.high) == (0.25, 0.25, 0.25)


@pytest.mark.parametrize("name", ["bleu", "chrf", "meteor", "macro_f1", "rouge_l"])
def test_drawn_sums_give_the_score_of_the_drawn_texts(name: str) -> None:
    texts = drawn_texts(1, 0.3)
    if name == "macro_f1":
        texts = Texts(["ab"[n % 2] for n in range(30)], [["aab"[n % 3]] for n in range(30)])
    measured = measure([name], texts)[name]
    times = next(resamples(30, 5, seed=3))
    for row in times:
        chosen = [number for number, count in enumerate(row) for _ in range(int(count))]
        again = Texts([texts.answers[n] for n in chosen], [texts.references[n] for n in chosen])
        assert measured.combine(row @ measured.sums) == pytest.approx(measure([name], again)[name].score)
    assert (times.sum(axis=1) == 30).all()


def test_the_p_value_equals_that_of_all_swaps() -> None:
    base, other = mean_of([0, 0.2, 0.1, 0.4, 0.3, 0, 0.5, 0.1]), mean_of([0.3, 0.1, 0.6, 0.5, 0.9, 0, 0.4, 0.7])
    found = abs(other.score - base.score)
    gaps = other.samples - base.samples
    swaps = [abs(np.mean(gaps * signs)) >= found - 1e-12 for signs in itertools.product((1, -1), repeat=8)]
    assert 0.01 < np.mean(swaps) < 0.2
    assert randomisation(base, other, draws=20_000) == pytest.approx(np.mean(swaps), abs=0.01)


def test_a_false_alarm_is_as_rare_as_promised() -> None:
    draw = np.random.default_rng(5)
    alarms = 0
    for seed in range(200):
        base, other = mean_of(draw.random(40)), mean_of(draw.random(40))
        alarms += compare(base, other, draws=400, seed=seed).is_real
    assert 1 <= alarms <= 20  # 5 % of 200 are 10


def test_better_worse_and_the_same() -> None:
    good, bad = measure(["bleu"], drawn_texts(1, 0.1))["bleu"], measure(["bleu"], drawn_texts(2, 0.5))["bleu"]
    better, worse = compare(bad, good), compare(good, bad)
    assert better.is_real and better.value == pytest.approx(-worse.value)
    assert better.p < 0.01
    told = sentence(better, METRICS["bleu"])
    expected = (
        f"better by {100 * better.value:.1f} points (95 % interval {100 * better.low:.1f} to {100 * better.high:.1f})"
    )
    assert told == expected
    expected = (
        f"worse by {-100 * worse.value:.1f} points (95 % interval {-100 * worse.high:.1f} to {-100 * worse.low:.1f})"
    )
    assert sentence(worse, METRICS["bleu"]) == expected
    same = compare(good, good)
    assert (same.value, same.low, same.high, same.p, same.needed) == (0, 0, 0, 1, math.inf)
    assert sentence(same, METRICS["bleu"]).startswith("not distinguishable on 30 samples: +0.0 points")


def test_how_many_samples_it_would_take() -> None:
    # Gaps of mean 0.05 and deviation 0.5: (2.8 * 0.5 / 0.05)^2 = 784 samples.
    gaps = np.array([0.55, -0.45] * 50)
    difference = compare(mean_of(np.zeros(100)), mean_of(gaps))
    assert difference.needed == pytest.approx(784, rel=0.1)
    told = sentence(difference, METRICS["rouge_l"])
    assert "not distinguishable on 100 samples: +5.0 points" in told
    assert "would take about 7" in told or "would take about 8" in told


def test_a_metric_in_its_own_unit_and_one_that_is_better_when_lower() -> None:
    difference = compare(mean_of(np.full(20, 3.0)), mean_of(np.full(20, 2.5)))
    assert sentence(difference, METRICS["cider"]) == "worse by 0.50 (95 % interval 0.50 to 0.50)"
    assert sentence(difference, METRICS["length"]).startswith("lower by 0.50 (")


def test_distinct_has_a_difference_and_no_interval() -> None:
    one, other = (measure(["distinct_1"], Texts([text, "b"]))["distinct_1"] for text in ("a a a", "a c d"))
    difference = compare(one, other)
    assert not difference.is_real
    assert sentence(difference, METRICS["distinct_1"]) == "better by 50.0 points (no interval for this metric)"


def test_a_ratio_of_sums_is_not_a_mean_of_ratios() -> None:
    measured = ratio_of([1, 0, 3], [1, 0, 9])
    assert measured.score == pytest.approx(4 / 10)
    assert measured.samples.tolist() == pytest.approx([1, 0, 1 / 3])


def test_very_many_samples_are_drawn_in_groups() -> None:
    values = np.random.default_rng(0).random(5 * GROUPS + 3)
    assert len(grouped(mean_of(values).sums)) == GROUPS
    estimate = interval(mean_of(values), draws=300)
    half = 1.96 * values.std() / math.sqrt(len(values))
    assert estimate.high - estimate.low == pytest.approx(2 * half, rel=0.2)
    assert estimate.low < values.mean() < estimate.high


def test_only_the_same_prompts_can_be_compared() -> None:
    with pytest.raises(DataError, match="one has 2 samples, the other 3"):
        compare(mean_of([1, 0]), mean_of([1, 0, 1]))
