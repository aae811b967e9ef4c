"""What is said of noisy series is true of series whose noise is known."""

from __future__ import annotations

import numpy as np
import pytest

from lorafit.observe.rules.series import Level, differ, level, noise, stretches, swings


def test_noise_is_that_about_a_trend() -> None:
    rng = np.random.default_rng(0)
    steep = np.linspace(5, 1, 400) + 0.2 * rng.standard_normal(400)
    assert noise(steep) == pytest.approx(0.2, rel=0.15), "where the plain standard deviation is above 1"
    assert level(steep).error == pytest.approx(0.01, rel=0.15)


def test_levels_differ_by_more_than_their_errors() -> None:
    assert differ(Level(1.0, 0.1), Level(2.0, 0.1)) and not differ(Level(1.0, 0.2), Level(2.0, 0.2))


def test_stretches_hold_everything_once() -> None:
    assert [list(part) for part in stretches(range(7), 3)] == [[0, 1], [2, 3, 4], [5, 6]]


@pytest.mark.parametrize(
    ("values", "turns"),
    [([5, 4, 3, 2, 1], 0), ([1, 2, 1, 2, 1], 3), ([1.0, 1.1, 1.0, 1.1], 0), ([4, 2, 2.1, 1, 3], 1), ([1.0], 0)],
)
def test_swings_count_turns_and_not_trembling(values: list[float], turns: int) -> None:
    assert swings(values, 0.15) == turns
