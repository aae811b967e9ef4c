from __future__ import annotations

import re

import numpy as np
import pytest

from lorafit.report.plots import (
    COLUMNS,
    HEIGHT,
    WIDTH,
    Line,
    Plot,
    extremes,
    linear_axis,
    log_axis,
    plot,
    round_step,
    smoothed,
    ticks,
)

NAN = float("nan")


def drawn(y: list[float], x: list[float] | None = None, may_be_log: bool = False, **kind: bool) -> Plot | None:
    places = np.arange(1.0, len(y) + 1) if x is None else np.array(x)
    return plot("Loss", [Line("loss", places, np.array(y), "one", **kind)], "update", may_be_log=may_be_log)


@pytest.mark.parametrize(
    ("low", "high"),
    [(0.0, 1.0), (0.0, 7.3), (-4.0, 4.0), (0.0, 2e-4), (7e8, 1.3e9), (5.3e3, 10.301e3), (0.0, 199_999.0)],
)
def test_an_axis_goes_from_tick_to_tick(low: float, high: float) -> None:
    axis = linear_axis(low, high)
    found = [at for at, _ in axis.ticks]
    steps = np.diff(found)
    assert 4 <= len(found) <= 8 and np.allclose(steps, steps[0])
    assert found[0] == pytest.approx(axis.low, abs=1e-12) and found[-1] == pytest.approx(axis.high)
    assert axis.low <= low + 1e-9 and axis.high >= high * (1 - 1e-9)


@pytest.mark.parametrize("scale", [1e-7, 1.0, 1e9])
def test_steps_are_round(scale: float) -> None:
    found = [round_step(least * scale) / scale for least in (1.0, 1.01, 2.0, 4.9, 5.1, 9.99)]
    assert found == pytest.approx([1, 2, 2, 5, 10, 10])


def test_labels_of_an_axis_share_their_unit() -> None:
    assert [label for _, label in ticks(0, 10_000, 2_000)] == ["0", "2k", "4k", "6k", "8k", "10k"]
    assert [label for _, label in ticks(0, 2e-4, 5e-5)] == ["0", "5e-5", "1e-4", "1.5e-4", "2e-4"]
    assert [label for _, label in ticks(0, 3, 1)] == ["0", "1", "2", "3"]


def test_axis_begins_at_zero_only_where_zero_is_near() -> None:
    assert linear_axis(1.0, 4.0).low == 0
    assert linear_axis(9.1, 9.4).low == pytest.approx(9.1)
    flat = linear_axis(2e-4, 2e-4)
    assert flat.low == 0 and flat.high > 2e-4
    assert linear_axis(0.0, 0.0).high > 0 > linear_axis(0.0, 0.0).low


def test_logarithmic_axis_has_whole_decades() -> None:
    axis = log_axis(0.004, 37.0)
    assert [label for _, label in axis.ticks] == ["0.001", "0.01", "0.1", "1", "10", "100"]
    assert axis.place(0.001) == 0 and axis.place(100.0) == 1 and np.isnan(axis.place(0.0))


def test_logarithmic_only_beyond_two_decades() -> None:
    for high, expected in ((99.0, False), (101.0, True)):
        found = drawn([1.0, high], may_be_log=True)
        assert found and found.log is expected
    found = drawn([1.0, 1e6])
    assert found and not found.log


def test_nothing_finite_is_no_plot() -> None:
    assert drawn([NAN, NAN]) is None
    assert drawn([], x=[]) is None


def test_a_null_is_a_gap_and_a_lonely_point_stays_seen() -> None:
    found = drawn([1.0, 2.0, NAN, 4.0, NAN, 3.0, 2.0], marked=True)
    assert found
    line, missing = found.strokes
    assert re.sub(r"[\d. -]+", "·", line.path) == "M·L·M·h·M·L·"
    assert missing.style == "missing dots" and missing.path.count("M") == 2


def test_points_are_within_the_box() -> None:
    found = drawn([3.0, 1.0, 2.0])
    assert found
    points = [tuple(map(float, pair.split())) for pair in re.split("[ML]", found.strokes[0].path)[1:]]
    assert points == [(333.3, 0.0), (666.7, 266.7), (1000.0, 133.3)]
    assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in points)


def test_one_update_can_be_drawn() -> None:
    found = drawn([2.5])
    assert found and found.reading == ((100.0, "update 1: loss 2.500"),)
    at_zero = drawn([2.5], x=[0.0])
    assert at_zero and at_zero.reading[0][0] == 0


def test_downsampling_keeps_every_peak() -> None:
    x = np.arange(200_000.0)
    y = np.sin(x / 1000)
    y[123_456], y[4_321] = 50.0, -50.0
    some_x, some_y = extremes(x, y, 0.0, x[-1])
    assert len(some_x) == len(some_y) <= 2 * COLUMNS
    assert some_y.max() == 50 and some_y.min() == -50
    assert (np.diff(some_x) >= 0).all()


def test_smoothing_is_the_mean_of_the_window_without_nulls() -> None:
    values = np.array([5.0, 1.0, NAN, 3.0, 8.0, 2.0, 6.0])
    found = smoothed(values, 5)
    assert np.isnan(found[2])
    assert found[3] == pytest.approx((1 + 3 + 8 + 2) / 4)
    assert found[0] == 5 and found[-1] == 6
    straight = np.linspace(4, 1, 50)
    assert np.allclose(smoothed(straight, 7), straight)


def test_a_smoothed_curve_does_not_end_in_noise() -> None:
    noise = np.random.default_rng(0).uniform(2, 3, 10_000)
    found = smoothed(noise, 1_000)
    assert abs(found - 2.5).max() < 0.1


def test_smoothed_line_over_the_faint_one() -> None:
    found = drawn(list(np.linspace(4, 1, 100)), smooth=True)
    assert found and [stroke.style for stroke in found.strokes] == ["one faint", "one"]
    short = drawn([3.0, 2.0, 1.0], smooth=True)
    assert short and [stroke.style for stroke in short.strokes] == ["one"]


def test_reading_tells_the_newest_of_each_line() -> None:
    loss = Line("loss", np.arange(1.0, 5.0), np.array([4.0, 3.0, NAN, 2.0]), "one")
    held_out = Line("held-out loss", np.array([0.0, 2.0]), np.array([4.5, 3.5]), "two", dots=True)
    found = plot("Loss", [loss, held_out], "update")
    assert found
    assert [text for _, text in found.reading] == [
        "update 1: loss 4.000, held-out loss 4.500 (after 0)",
        "update 2: loss 3.000, held-out loss 3.500",
        "update 3: loss –, held-out loss 3.500 (after 2)",
        "update 4: loss 2.000, held-out loss 3.500 (after 2)",
    ]
