"""Length, variety and endings by hand."""

from __future__ import annotations

import math

import pytest

from lorafit.evaluate.metrics import Texts, interval, measure


def test_by_hand() -> None:
    texts = Texts(["no no no", "yes we can", ""], [["no"], ["yes", "yes we can do"], ["a"]], ended=[True, False, True])
    measured = measure(["length", "length_ratio", "stop_rate", "distinct_1", "distinct_2"], texts)
    assert measured["length"].score == 2
    assert measured["length_ratio"].score == pytest.approx(6 / (1 + 4 + 1))  # nearest in length: "yes we can do"
    assert measured["stop_rate"].score == pytest.approx(2 / 3)
    assert measured["distinct_1"].score == pytest.approx(4 / 6)
    assert measured["distinct_1"].samples.tolist() == pytest.approx([1 / 3, 1, 0])
    assert measured["distinct_2"].score == pytest.approx(3 / 4)


def test_distinct_is_of_the_whole_set_and_has_no_interval() -> None:
    measured = measure(["distinct_1"], Texts(["我们", "我们"]))["distinct_1"]
    assert measured.score == pytest.approx(2 / 4)
    assert math.isnan(interval(measured).low)


def test_nothing_said_at_all() -> None:
    measured = measure(["length", "distinct_2", "length_ratio"], Texts(["", "!"], [["a"], [""]]))
    assert [each.score for each in measured.values()] == [0, 0, 0]
