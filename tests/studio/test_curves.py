"""Curves of runs that go on, go back, or are long."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest

from lorafit.run import RunFolder, write_text
from lorafit.studio import curves as module
from lorafit.studio.curves import Curves, extremes


def update(number: int, loss: float | None = 1.0) -> str:
    return json.dumps({"update": number, "loss": loss, "learning_rate": 0.1, "applied": True}) + "\n"


def held_out(number: int, loss: float) -> str:
    return json.dumps({"update": number, "held_out_loss": loss}) + "\n"


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path)


def append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


def test_curves_grow_by_what_was_appended(run: RunFolder) -> None:
    curves = Curves(run)
    curves.refresh()
    assert curves.version == 0 and curves.points("loss") == [] and curves.span() == (0, 0)
    append(run.metrics, held_out(0, 4.0) + update(1, 3.0) + '{"update": 2, "lo')
    curves.refresh()
    seen = curves.version
    assert curves.points("loss") == [(1, 3.0)] and curves.points("held_out_loss") == [(0, 4.0)]
    curves.refresh()
    assert curves.version == seen
    append(run.metrics, 'ss": 2.5}\nno JSON\n[1]\n' + update(3, None) + held_out(3, 3.5))
    curves.refresh()
    assert curves.version > seen
    assert curves.points("loss") == [(1, 3.0), (2, 2.5)]  # what is not finite is left out
    assert curves.last("loss") == 2.5 and curves.last("gradient_norm") is None
    assert curves.least("held_out_loss") == (3, 3.5) and curves.span() == (0, 3)


def test_a_resumed_run_goes_back(run: RunFolder) -> None:
    before = [update(n, float(n)) for n in range(1, 6)]
    append(run.metrics, "".join([*before, held_out(5, 2.0)]))
    curves = Curves(run)
    curves.refresh()
    write_text(run.metrics, "".join(before[:3]))  # as MetricsFile does
    append(run.metrics, update(4, 40.0))
    curves.refresh()
    assert curves.points("loss") == [(1, 1.0), (2, 2.0), (3, 3.0), (4, 40.0)]
    assert curves.points("held_out_loss") == []


def test_updates_that_come_again_take_the_place_of_the_old(run: RunFolder) -> None:
    append(run.metrics, "".join(update(n, 1.0) for n in range(1, 6)) + held_out(2, 2.0) + held_out(5, 1.0))
    append(run.metrics, update(3, 9.0))
    curves = Curves(run)
    curves.refresh()
    assert curves.points("loss") == [(1, 1.0), (2, 1.0), (3, 9.0)]
    assert curves.points("held_out_loss") == [(2, 2.0)]


def test_few_points_keep_every_peak(run: RunFolder) -> None:
    count, peaks = 50_000, {1234: 99.0, 40_000: -99.0, 50_000: 7.0}
    append(run.metrics, "".join(update(n, peaks.get(n, 1.0 + n % 7 / 10)) for n in range(1, count + 1)))
    curves = Curves(run)
    curves.refresh()
    points = curves.points("loss")
    assert len(points) <= module.POINTS + 2
    assert set(peaks.items()) <= set(points) and points[0][0] == 1
    assert points == sorted(points)
    detail = curves.points("loss", 1200, 1300)
    assert [at for at, _ in detail] == list(range(1199, 1302))  # all, with a neighbour on each side
    assert curves.points("loss", count + 10, count + 20) == [(count, 7.0)]


def test_extremes_of_any_length() -> None:
    values = np.random.default_rng(0).normal(size=2503)
    for count in (1, 599, 600, 601, 1200, 2503):
        kept = extremes(values[:count], 600)
        assert len(kept) <= 602 and kept[0] == 0 and kept[-1] == count - 1
        assert {values[:count].argmin(), values[:count].argmax()} <= set(kept)


def test_a_smoothed_curve_is_calmer(run: RunFolder) -> None:
    append(run.metrics, "".join(update(n, n % 2) for n in range(1, 201)))
    curves = Curves(run)
    curves.refresh()
    assert max(value for _, value in curves.points("loss", 50, 150, smooth=True)) < 0.7


def test_a_long_file_is_sampled_first_and_then_read(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LARGE", 10_000)
    monkeypatch.setattr(module, "SAMPLES", 20)
    monkeypatch.setattr(module, "SAMPLE_BYTES", 200)
    monkeypatch.setattr(module, "END_BYTES", 500)
    read_all = Curves._read_all
    monkeypatch.setattr(Curves, "_read_all", lambda self: None)  # the thread does nothing yet
    append(run.metrics, "".join(update(n, float(n)) for n in range(1, 1001)) + held_out(1000, 0.5) + update(1001))
    curves = Curves(run)
    curves.refresh()
    sampled = curves.points("loss")
    assert not curves.complete and 20 <= len(sampled) < 100
    assert sampled[0] == (1, 1.0) and curves.span() == (1, 1001) and curves.last("loss") == 1.0
    assert curves.points("held_out_loss") == [(1000, 0.5)]
    version = curves.version
    read_all(curves)
    assert curves.complete and curves.version > version
    assert len(curves.points("loss", most=2000)) == 1001
    append(run.metrics, update(1002))
    curves.refresh()
    assert curves.complete and curves.span() == (1, 1002)


def test_the_thread_ends_by_itself(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LARGE", 1000)
    append(run.metrics, "".join(update(n, float(n)) for n in range(1, 201)))
    curves = Curves(run)
    curves.refresh()
    until = time.monotonic() + 5
    while not curves.complete and time.monotonic() < until:
        time.sleep(0.01)
    assert len(curves.points("loss")) == 200


def test_the_machine_is_over_seconds(run: RunFolder) -> None:
    gpu = {"memory_used_bytes": 5, "memory_total_bytes": 10, "utilization": 0.5}
    append(run.hardware, json.dumps({"time": 100.0, "resident_bytes": 7, "gpus": []}) + "\n")
    append(run.hardware, json.dumps({"time": 102.5, "resident_bytes": 8, "gpus": [gpu]}) + "\n")
    append(run.hardware, '{"time": "soon"}\n{"time": 104, "gpus": "none"}\n')
    curves = Curves(run)
    curves.refresh()
    assert curves.points("resident_bytes") == [(0, 7), (2.5, 8)]
    assert curves.points("gpu0.utilization") == [(2.5, 0.5)] and curves.last("gpu0.memory_total_bytes") == 10
