from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lorafit.study.figures import read_figures


def write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    update = {"tokens": 100, "peak_memory_bytes": 10, "loss": 1.0}
    lines = [
        {"update": 0, "held_out_loss": 4.0},
        {"update": 1, "tokens_per_second": 1.0, **update},
        {"update": 2, "tokens_per_second": 50.0, **update},
        {"update": 2, "held_out_loss": 3.0},
        {"update": 3, "tokens_per_second": 200.0, **update, "peak_memory_bytes": 30},
        {"update": 3, "held_out_loss": 3.5},
    ]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return tmp_path


def test_what_the_run_measured(run: Path) -> None:
    figures = read_figures(run)
    assert figures["held_out_loss"] == 3.0 and figures["base_held_out_loss"] == 4.0
    assert figures["update_seconds"] == pytest.approx((2.0 + 0.5) / 2), (
        "without the first, which makes what others find"
    )
    assert figures["tokens_per_second"] == pytest.approx(200 / 2.5)
    assert figures["peak_memory"] == 30 and figures["updates"] == 3
    assert "inference" not in figures and "scores" not in figures and "disk" not in figures


def test_never_better_than_the_base_is_the_last(run: Path) -> None:
    losses = [{"update": 0, "held_out_loss": 1.0}, {"update": 3, "held_out_loss": 3.5}]
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in losses))
    assert read_figures(run)["held_out_loss"] == 3.5


def test_whatever_scores_there_are(run: Path) -> None:
    tuned = {"nist": {"mean": 5.1, "low": 4.9, "high": 5.2}, "stop_rate": 0.9}
    write(run / "evaluation" / "scores.json", {"scores": {"base": {"nist": {"mean": 1.0}}, "tuned": tuned}})
    figures = read_figures(run)
    assert figures["scores"] == {"nist": tuned["nist"], "stop_rate": {"mean": 0.9}}
    assert figures["base_scores"] == {"nist": {"mean": 1.0}}


def test_memory_planned_is_of_the_update_that_was_measured(run: Path) -> None:
    write(run / "plan.json", {"trained": 7, "parameters": 9, "peak": 100})
    assert read_figures(run)["memory_planned"] == 100
    write(run / "plan.json", {"trained": 7, "peak": 100, "measured": {"predicted": 80, "measured": 81}})
    figures = read_figures(run)
    assert (figures["memory_planned"], figures["memory_measured"], figures["trained"]) == (80, 81, 7)


def test_only_weights_count_on_the_disk(run: Path) -> None:
    for name, size in (("adapter/adapter_model.safetensors", 10), ("adapter/tokenizer.json", 99)):
        (run / name).parent.mkdir(exist_ok=True)
        (run / name).write_bytes(b"x" * size)
    assert read_figures(run)["disk"] == 10
