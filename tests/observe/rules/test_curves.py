"""Flat, swinging, rising, exploding; and what only looks so."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from tests.observe.rules.histories import history, learnt, recipe, symptoms, with_column

from lorafit.observe.rules.table import examine

SEEDS = range(5)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_flat_loss(seed: int) -> None:
    flat = history(lambda spent: 2.0, lambda spent: 2.0, seed=seed)
    (finding,) = examine(flat)
    assert finding.symptom == "loss-flat" and finding.setting == "train.learning_rate=2e-3"
    assert "loss-flat" in symptoms(history(lambda spent: 2.0, None, noise=0.05, seed=seed)), "without held-out rows"
    assert symptoms(replace(flat, updates=flat.updates[:20], held_out=())) == [], "too early to say"
    assert symptoms(replace(flat, updates=flat.updates[:40], held_out=(), planned=400)) == []


@pytest.mark.parametrize("seed", SEEDS)
def test_a_loss_that_falls_a_little_is_not_flat(seed: int) -> None:
    def slow(spent: float) -> float:
        return 2.0 - 0.25 * (1 - math.exp(-8 * spent))

    assert symptoms(history(slow, slow, seed=seed)) == []
    assert symptoms(history(slow, None, noise=0.5, seed=seed)) == [], "the noise could hide a fall"


@pytest.mark.parametrize("seed", SEEDS)
def test_an_oscillating_loss(seed: int) -> None:
    def swinging(spent: float) -> float:
        return learnt(spent) + (0.5 * math.sin(25 * spent) if spent > 0.1 else 0)

    for held_out, words in ((swinging, "The held-out loss turned"), (None, "The training loss, averaged")):
        finding = examine(history(swinging, held_out, seed=seed))[0]
        assert finding.symptom == "loss-oscillating" and finding.setting == "train.learning_rate=7e-5"
        assert finding.evidence.startswith(words)


@pytest.mark.parametrize("seed", SEEDS)
def test_noise_is_no_oscillation(seed: int) -> None:
    # Batches of one example: half of the loss is noise.
    assert symptoms(history(noise=0.5, seed=seed)) == []


@pytest.mark.parametrize("seed", SEEDS)
def test_a_diverging_loss(seed: int) -> None:
    (finding,) = examine(history(lambda spent: 1.5 + 3 * min(1, 10 * spent), None, seed=seed))
    assert (finding.symptom, finding.severity) == ("loss-diverging", "fault")
    assert finding.setting == "train.learning_rate=2e-5" and "update 188" in finding.evidence
    late = history(lambda spent: learnt(min(spent, 0.4)) + 4 * max(0.0, spent - 0.4), None, seed=seed)
    assert symptoms(late) == ["loss-diverging"]


def test_a_loss_that_is_no_number() -> None:
    run = history(held_out=None)
    none_at_the_end = [line["loss"] for line in run.updates[:-1]] + [None]
    assert symptoms(with_column(run, "loss", none_at_the_end)) == ["loss-diverging"]
    one = [line["loss"] if line["update"] != 180 else math.nan for line in run.updates]
    assert symptoms(with_column(run, "loss", one)) == [], "an update that was left out, float16's scale say"


@pytest.mark.parametrize("seed", SEEDS)
def test_a_hard_stretch_is_no_divergence(seed: int) -> None:
    assert symptoms(history(lambda s: learnt(s) * (1.3 if 0.55 < s < 0.6 else 1), None, seed=seed)) == []


def test_exploding_gradients() -> None:
    run = history()
    norms = [line["gradient_norm"] for line in run.updates]
    for place in (60, 90, 150):
        norms[place] = 400.0
    (finding,) = examine(with_column(run, "gradient_norm", norms))
    assert finding.symptom == "exploding-gradients" and "400" in finding.evidence
    assert finding.setting == "train.learning_rate=7e-5"
    (unclipped,) = examine(replace(with_column(run, "gradient_norm", norms), recipe=recipe(train__max_gradient_norm=0)))
    assert unclipped.setting == "train.max_gradient_norm=1.0"
    norms[60] = norms[90] = 0.8
    assert symptoms(with_column(run, "gradient_norm", norms)) == [], "one peak"


def test_gradients_that_shrink_as_the_loss_does_do_not_explode() -> None:
    rng = np.random.default_rng(1)
    norms = 2 * np.exp(-np.arange(188) / 25) * np.exp(0.5 * rng.standard_normal(188))
    norms[[100, 120, 140]] *= 40  # rows not learnt yet, in a run that has learnt the others
    assert symptoms(with_column(history(), "gradient_norm", norms.tolist())) == []
