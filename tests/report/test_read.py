from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from lorafit.report.read import FIRST, json_lines, read_hardware, read_metrics, read_story
from lorafit.run import RunFolder


def test_only_whole_objects_are_read(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"update": 1}\n\n[1]\nnull\n\xff\xfe\n{"update": 2}\n{"update": 3, "lo')
    assert list(json_lines(path)) == [{"update": 1}, {"update": 2}]
    assert list(json_lines(tmp_path / "none.jsonl")) == []


def test_metrics_are_parted_and_in_order(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    lines = [
        {"update": 0, "held_out_loss": 4.0},
        {"update": 2, "loss": None, "learning_rate": 1e-3},
        {"update": 1, "loss": 3.5, "learning_rate": "much"},
        {"update": None, "loss": 9.0},
        {"update": 2, "held_out_loss": 3.0},
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    updates, held_out = read_metrics(path)
    assert updates.at.tolist() == [1, 2] and held_out.at.tolist() == [0, 2]
    assert updates["loss"][0] == 3.5 and np.isnan(updates["loss"][1])
    assert np.isnan(updates["learning_rate"][0])
    assert updates.most("loss") == 3.5 and updates.most("gradient_norm") is None


def test_gpus_may_come_late_and_tell_little(tmp_path: Path) -> None:
    path = tmp_path / "hardware.jsonl"
    lines = [
        {"time": 100.0, "resident_bytes": 5, "cpu_share": None},
        {"time": 105.0, "resident_bytes": 6, "gpus": [{"power_w": 300}, None]},
        {"time": "later", "resident_bytes": 7},
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    process, gpus = read_hardware(path)
    assert process.at.tolist() == [0, 5] and process["resident_bytes"].tolist() == [5, 6]
    assert len(gpus) == 2 and gpus[0].at.tolist() == [5] and gpus[0]["power_w"].tolist() == [300]
    assert np.isnan(gpus[1]["power_w"]).all()


def test_worst_answers_are_of_those_not_shown_already(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.evaluation.mkdir()
    scores = [0.0] * FIRST + [1.0, 0.5, 0.2, 0.9]
    lines = [json.dumps({"n": n, "tuned": {"text": "", "token_f1": score}}) for n, score in enumerate(scores)]
    (run.evaluation / "samples.jsonl").write_text("\n".join(lines))
    story = read_story(run)
    assert [line["n"] for line in story.samples] == list(range(FIRST))
    assert [line["tuned"]["token_f1"] for line in story.worst] == [0.2, 0.5, 0.9]
    assert story.sample_count == len(scores)


def test_broken_files_are_said_and_not_fatal(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.plan.write_text('{"half')
    run.data.write_bytes(b'"\xff"')
    run.environment.write_text("[]")
    run.recipe.write_text("a: [")
    story = read_story(run)
    assert story.plan is story.data is story.environment is story.status is None
    assert [Path(fault.split()[0]).name for fault in story.faults] == [
        "environment.json",
        "data.json",
        "plan.json",
        "recipe.yaml",
    ]
