from __future__ import annotations

from pathlib import Path

import pytest
from tests.study.made import made_entry, made_study

from lorafit.study.plots import study_plots


def test_values_that_double_stand_evenly(tmp_path: Path) -> None:
    ranks = [1, 2, 4, 64]
    entries = [made_entry({"adapter.rank": r}, s, 2 / r + s) for r in ranks for s in range(2)]
    loss, f1 = study_plots(made_study(tmp_path, {"adapter.rank": ranks}, entries, 2))
    assert [(round(tick.at, 1), tick.label) for tick in loss.x_ticks] == [
        (0, "1"),
        (16.7, "2"),
        (33.3, "4"),
        (100, "64"),
    ]
    assert loss.x_label == "rank" and "2 seeds" in loss.unit and f1.title == "token F1"
    assert [at for at, _ in loss.reading] == [0.0, 16.67, 33.33, 100.0]
    assert "rank 64 0.5" in loss.reading[-1][1]


def test_values_that_do_not_double_stand_as_they_are(tmp_path: Path) -> None:
    entries = [made_entry({"train.epochs": e}, 0, 1 / e) for e in (1, 2, 3)]
    loss = study_plots(made_study(tmp_path, {"train.epochs": [1, 2, 3]}, entries))[0]
    assert [tick.at for tick in loss.x_ticks] == pytest.approx([0, 50, 100])


def test_names_are_not_joined_by_lines(tmp_path: Path) -> None:
    entries = [made_entry({"method": m}, 0, 1.0 + n) for n, m in enumerate(("full", "lora", "qlora"))]
    loss, f1 = study_plots(made_study(tmp_path, {"method": ["full", "lora", "qlora"]}, entries))
    means = next(stroke.path for stroke in loss.strokes)
    assert means.count("M") == 3 and "L" not in means
    assert "95 %" in f1.unit and not loss.unit


def test_a_line_for_each_value_of_the_other_key_and_none_for_what_failed(tmp_path: Path) -> None:
    axes = {"adapter.rank": [1, 2, 4], "method": ["lora", "qlora"]}
    entries = [made_entry({"adapter.rank": r, "method": m}, 0, 1 / r) for r in (1, 2) for m in axes["method"]]
    entries += [made_entry({"adapter.rank": 4, "method": m}, 0, 0, state="failed") for m in axes["method"]]
    loss = study_plots(made_study(tmp_path, axes, entries))[0]
    assert [name for name, _ in loss.legend] == ["lora", "qlora"]
    assert [tick.label for tick in loss.x_ticks] == ["1", "2"]


def test_nothing_to_draw(tmp_path: Path) -> None:
    assert study_plots(made_study(tmp_path, {"adapter.rank": [4]}, [made_entry({"adapter.rank": 4}, 0, 1)])) == []
    assert study_plots(made_study(tmp_path, {}, [made_entry({}, 0, 1)])) == []
    waiting = [made_entry({"adapter.rank": r}, 0, 1, state="queued") for r in (1, 2)]
    assert study_plots(made_study(tmp_path, {"adapter.rank": [1, 2]}, waiting)) == []
