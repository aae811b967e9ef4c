"""The learning rate over a run."""

from __future__ import annotations

import itertools
import math
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lorafit.train.schedule import learning_rate, warmup_updates

Schedule = Literal["cosine", "linear", "constant"]
SCHEDULES: tuple[Schedule, ...] = ("cosine", "linear", "constant")


@settings(deadline=None)
@given(schedule=st.sampled_from(SCHEDULES), updates=st.integers(1, 60), warmup=st.floats(0, 60))
def test_it_rises_to_the_peak_and_never_again(schedule: Schedule, updates: int, warmup: float) -> None:
    rise = warmup_updates(warmup, updates)
    assert 0 <= rise <= updates
    rates = [learning_rate(update, updates, 1.0, schedule, rise) for update in range(updates)]
    # No update is wasted on a rate of 0, neither the first nor the last.
    assert all(0 < rate <= 1 for rate in rates)
    assert all(b > a for a, b in itertools.pairwise(rates[:rise]))
    assert all(b <= a for a, b in itertools.pairwise(rates[rise:]))
    if rise < updates:
        assert rates[rise] == 1.0


@pytest.mark.parametrize(("schedule", "half"), [("cosine", 0.5), ("linear", 0.5), ("constant", 1.0)])
def test_half_way_down(schedule: Schedule, half: float) -> None:
    assert learning_rate(6, 10, 1.0, schedule, 2) == pytest.approx(half)


def test_figures_by_hand() -> None:
    rise = [learning_rate(update, 10, 4e-4, "cosine", 3) for update in range(4)]
    assert rise == pytest.approx([1e-4, 2e-4, 3e-4, 4e-4])
    assert learning_rate(9, 10, 1.0, "linear", 0) == pytest.approx(0.1)
    assert learning_rate(9, 10, 1.0, "cosine", 0) == pytest.approx(0.5 * (1 + math.cos(0.9 * math.pi)))


@pytest.mark.parametrize(
    ("warmup", "updates", "expected"),
    [(0.0, 100, 0), (0.03, 100, 3), (0.999, 100, 100), (1.0, 100, 1), (20, 100, 20), (200, 100, 100), (0.03, 10, 0)],
)
def test_warmup_is_a_share_below_one_and_a_number_from_one_on(warmup: float, updates: int, expected: int) -> None:
    assert warmup_updates(warmup, updates) == expected
