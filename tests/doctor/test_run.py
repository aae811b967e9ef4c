"""The doctor of a run folder, on runs that were really trained on the built-in model."""

from __future__ import annotations

import io
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console as Terminal

from lorafit import Recipe, builtin, finetune
from lorafit.doctor.run import diagnose, export_note, findings_text
from lorafit.observe.rules.finding import Finding
from lorafit.run import RunFolder

Train = Callable[..., RunFolder]


@pytest.fixture(scope="module")
def train(tmp_path_factory: pytest.TempPathFactory) -> Train:
    """train(name, train={...}): 40 short updates on the built-in model and data, eight rows held out."""
    folder = tmp_path_factory.mktemp("runs")
    held_out = folder / "held_out.json"
    held_out.write_text(json.dumps(json.loads(builtin.HELD_OUT.read_text(encoding="utf-8"))[:8]), encoding="utf-8")

    def make(name: str, **parts: dict[str, Any]) -> RunFolder:
        content: dict[str, Any] = {
            "name": name,
            "output": str(folder / "runs"),
            "model": {"name": "builtin", "device": "cpu", "dtype": "float32"},
            "data": {"train": "builtin", "held_out": str(held_out), "limit": 160},
            "adapter": {"rank": 8, "alpha": 16},
            "train": {"batch_size": 4, "learning_rate": 4e-3, "epochs": 1, "self_check": False, "validate_every": 5},
            "evaluate": {"prompts": 0},
            "observe": {"console": False},
        }
        for part, settings in parts.items():
            content[part] |= settings
        content["train"] |= {"checkpoint_every": "never"}
        return RunFolder(finetune(Recipe.model_validate(content)).folder)

    return make


@pytest.fixture(scope="module")
def healthy(train: Train) -> RunFolder:
    return train("healthy")


def shown(findings: list[Finding], run: RunFolder, width: int = 100) -> str:
    text = io.StringIO()
    Terminal(file=text, width=width).print(findings_text(findings, run))
    return text.getvalue()


def symptoms(run: RunFolder) -> list[str]:
    return [finding.symptom for finding in diagnose(run)]


def test_a_healthy_run_yields_no_finding(healthy: RunFolder) -> None:
    before = sorted(path.name for path in healthy.path.iterdir())
    assert diagnose(healthy) == []
    text = shown([], healthy)
    assert "No findings" in text and "40 updates, 9 held-out" in " ".join(text.split())
    assert sorted(path.name for path in healthy.path.iterdir()) == before, "the doctor only reads"


def test_a_rate_far_too_high(train: Train) -> None:
    run = train("hot", train={"learning_rate": 1.0})
    (finding,) = diagnose(run)
    assert (finding.symptom, finding.severity) == ("loss-diverging", "fault")
    assert finding.setting == "train.learning_rate=3e-2"
    text = shown([finding], run)
    assert "fault: The loss rises" in text and "train.learning_rate=3e-2" in text


def test_a_rate_far_too_low(train: Train) -> None:
    (finding,) = diagnose(train("cold", train={"learning_rate": 1e-7}))
    assert finding.symptom == "learning-rate-too-low" and finding.setting == "train.learning_rate=2e-3"


def test_few_rows_by_heart(train: Train) -> None:
    settings = {"epochs": 45, "batch_size": 5, "learning_rate": 1e-2, "schedule": "constant"}
    assert symptoms(train("by-heart", data={"limit": 10}, train=settings)) == ["over-fitting", "dropout-missing"]


def test_what_the_recipe_alone_tells(train: Train) -> None:
    run = train(
        "short",
        data={"max_length": 48, "cut_answers": 1.0},
        adapter={"targets": ["v_proj"]},
        train={"max_updates": 2, "weight_decay": 500},
    )
    assert symptoms(run) == ["answers-cut", "too-few-updates", "weight-decay-extreme", "targets-too-few"]


def test_a_run_that_broke_off_is_recognised(healthy: RunFolder, tmp_path: Path) -> None:
    run = RunFolder(shutil.copytree(healthy.path, tmp_path / "killed"))
    with run.metrics.open("a") as file:
        file.write('{"update": 41, "lo')
    status = json.loads(run.status.read_text()) | {"state": "running", "heartbeat": time.time() - 600}
    run.status.write_text(json.dumps(status))
    assert symptoms(run) == ["run-killed"]
    sample = {"time": status["heartbeat"], "resident_bytes": 9 * 2**30, "available_bytes": 2**28}
    (run.path / "hardware.jsonl").write_text(json.dumps(sample) + "\n{")
    assert symptoms(run) == ["killed-for-memory"]
    run.status.write_text(json.dumps(status | {"state": "failed", "message": "硬盘已满"}))
    assert symptoms(run) == ["run-failed"] and "硬盘已满" in shown(diagnose(run), run)


def test_the_worst_comes_first_and_an_empty_folder_is_no_fault(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    assert diagnose(run) == [] and "0 updates" in shown([], run)
    run.data.write_text('{"training": {"samples": 91}, "max_length": 64, "cut_within_answer": 50}')
    run.recipe.write_text("train: {epochs: 3.0, batch_size: 16}\nadapter: {dropout: 0.0}\n")
    run.write_status("running", updates=17)
    assert [finding.severity for finding in diagnose(run)] == ["fault", "warning", "note"]


def test_a_base_that_cannot_become_gguf_is_named(
    healthy: RunFolder, tmp_path: Path, bases: Callable[[str], Path]
) -> None:
    assert export_note(healthy) is None, "the built-in base can"
    other = RunFolder(tmp_path)
    other.recipe.write_text(f"model: {{name: {bases('phi3')}}}\ndata: {{train: none}}\n", encoding="utf-8")
    assert "does not know the architecture 'phi3'" in str(export_note(other))
    other.recipe.write_text("model: {name: some/base-of-a-hub}\ndata: {train: none}\n", encoding="utf-8")
    assert export_note(other) is None
