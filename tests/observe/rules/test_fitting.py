"""Over-fitting, under-fitting, rates and batches that do not suit; and what only looks so."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from tests.observe.rules.histories import DATA, PARAMETERS, history, learnt, recipe, symptoms

from lorafit.observe.rules.table import before_a_run, examine

SEEDS = range(5)


def by_heart(spent: float) -> float:
    return 2.0 * math.exp(-8 * spent) + 0.02


def forgets(spent: float) -> float:
    """Lowest at 0.3."""
    return 1.2 + 2.5 * (spent - 0.3) ** 2


def steady(spent: float) -> float:
    return 3.0 - 1.2 * spent


@pytest.mark.parametrize("seed", SEEDS)
def test_over_fitting(seed: int) -> None:
    (finding,) = examine(history(by_heart, forgets, seed=seed))
    assert finding.symptom == "over-fitting" and finding.setting is not None
    epochs = float(finding.setting.removeprefix("train.epochs="))
    assert "The weights that are kept are those after update" in finding.remedy
    worse = history(by_heart, lambda spent: 1.2 + spent, seed=seed)
    assert "The base was better." in examine(worse)[0].remedy
    assert 0.6 <= epochs <= 1.5, "three epochs in all, the best at a third of the learning"


@pytest.mark.parametrize("seed", SEEDS)
def test_a_held_out_loss_that_rests_is_no_over_fitting(seed: int) -> None:
    assert symptoms(history(by_heart, lambda spent: 1.2 + math.exp(-20 * spent), seed=seed)) == []
    assert symptoms(history(by_heart, lambda s: 1.2 + 0.1 * (s > 0.999), noise=0.02, seed=seed)) == [], "the last alone"
    rising_both = history(lambda s: 0.9 * forgets(s), forgets, seed=seed)
    assert "over-fitting" not in symptoms(rising_both), "the training loss rises too"


@pytest.mark.parametrize("seed", SEEDS)
def test_under_fitting(seed: int) -> None:
    run = history(steady, steady, seed=seed)
    (finding,) = examine(run)
    assert finding.symptom == "under-fitting" and finding.setting == "train.epochs=6"
    (finding,) = examine(history(steady, None, seed=seed, recipe=recipe(train__epochs=1.0)))
    assert finding.symptom == "under-fitting" and finding.setting == "train.epochs=2"
    assert symptoms(replace(run, planned=300)) == [], "a run that goes on may still learn it"


@pytest.mark.parametrize("schedule", ["cosine", "linear", "constant"])
def test_a_run_that_has_learnt_is_not_under_fitted(schedule: str) -> None:
    for seed in SEEDS:
        assert symptoms(history(seed=seed, schedule=schedule)) == []


@pytest.mark.parametrize("seed", SEEDS)
def test_a_loss_that_falls_with_each_epoch_is_not_under_fitted(seed: int) -> None:
    def steps(spent: float) -> float:
        return 1.2 - 0.25 * (spent > 0.5) - 0.2 * (spent > 0.88) + 0.4 * math.exp(-30 * spent)

    assert symptoms(history(steps, None, seed=seed)) == []


def test_usual_rates_depend_on_method_and_size() -> None:
    def found(rate: float, parameters: int | None = PARAMETERS, **settings: object) -> list[str]:
        asked = recipe(train__learning_rate=rate, **settings)
        return [one.symptom for one in before_a_run(asked, DATA, 188, None, parameters)]

    assert found(1e-2) == ["learning-rate-too-high"] and found(1e-7) == ["learning-rate-too-low"]
    assert found(2e-4) == found(1e-5) == found(4e-3, 3_000_000) == []
    assert found(2e-4, adapter__method="none") == [] and found(2e-3, adapter__method="none") != []
    assert found(1e-2, None) == [], "of a base of unknown size the widest band counts"
    assert found(5.0, train__optimizer="sgd") == []


@pytest.mark.parametrize("seed", SEEDS)
def test_a_rate_too_high_shows_as_a_bump(seed: int) -> None:
    def bump(spent: float) -> float:
        return learnt(spent) + 5.0 * math.exp(-(((spent - 0.1) / 0.08) ** 2))

    (finding,) = examine(history(bump, None, seed=seed))
    assert finding.symptom == "learning-rate-too-high" and finding.setting == "train.learning_rate=7e-5"


def test_a_high_rate_that_does_no_harm_is_none() -> None:
    assert symptoms(history(recipe=recipe(train__learning_rate=1e-2))) == []


@pytest.mark.parametrize("seed", SEEDS)
def test_a_rate_too_low(seed: int) -> None:
    low = recipe(train__learning_rate=1e-6)
    for curve in (steady, lambda spent: 2.0):
        (finding,) = examine(history(curve, curve, seed=seed, recipe=low))
        assert finding.symptom == "learning-rate-too-low" and finding.setting == "train.learning_rate=1e-4"
    assert symptoms(history(seed=seed, recipe=low)) == [], "it learnt all the same"


@pytest.mark.parametrize("seed", SEEDS)
def test_a_batch_too_small(seed: int) -> None:
    def wanders(spent: float) -> float:
        return 1.5 + 0.7 * math.exp(-20 * spent) + 0.1 * math.sin(30 * spent)

    small = recipe(train__batch_size=1)
    (finding,) = examine(history(wanders, wanders, noise=0.5, seed=seed, recipe=small))
    assert finding.symptom == "batch-too-small" and finding.setting == "train.batch_size=4"
    assert symptoms(history(wanders, wanders, noise=0.5, seed=seed)) == [], "with 16 examples the noise is the data's"
    assert symptoms(history(noise=0.5, seed=seed, recipe=small)) == [], "noisy, but learning"


def test_what_is_not_known_says_nothing() -> None:
    assert symptoms(history(recipe={}, data={}, trained=None, parameters=None)) == []
