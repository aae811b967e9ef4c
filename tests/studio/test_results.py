"""What is read of runs, their evaluations and studies."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lorafit.errors import RunError
from lorafit.run import write_json
from lorafit.studio import results
from lorafit.studio.results import differing, evaluations_of, scores_of, settings_of, studies, trained
from lorafit.studio.runs import Runs
from lorafit.studio.workspace import Workspace
from tests.studio.outcomes import add_outcome, metric


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "w")


def test_scores_have_a_verdict_and_what_it_rests_on(workspace: Workspace) -> None:
    scores = scores_of(add_outcome(workspace, "one", {}))
    assert scores is not None
    (part,) = scores.view.parts
    (found,) = part.metrics
    assert part.questions == 4 and scores.view.speakers == ("base", "tuned")
    assert found.changes["tuned"].verdict == "good"
    bounds = scores.bound(0, found, "tuned")
    assert (bounds.low, bounds.high) == pytest.approx((0.15, 0.35))
    assert (bounds.samples, bounds.needed) == (40, 900)
    assert scores.bound(0, found, "another").low is None


def test_a_run_that_was_not_scored_has_none_and_a_broken_file_says_so(workspace: Workspace) -> None:
    run = add_outcome(workspace, "one", {})
    file = run.evaluation / "scores.json"
    file.write_bytes(b"\xff{")
    with pytest.raises(RunError, match=r"scores\.json cannot be read"):
        scores_of(run)
    file.unlink()
    assert scores_of(run) is None


def test_a_file_of_endless_size_is_not_read(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    run = add_outcome(workspace, "one", {})
    monkeypatch.setattr(results, "LARGEST", 100)
    with pytest.raises(RunError, match="up to 100"):
        scores_of(run)


def test_evaluations_come_newest_first_and_a_broken_one_hides_no_other(workspace: Workspace) -> None:
    run = add_outcome(workspace, "one", {})
    for name, made in (("old", 1.0), ("new", 2.0), ("broken", 0.0), ("begun", 0.0)):
        folder = run.evaluation / name
        folder.mkdir()
        part = {"name": "rows", "kind": "answers", "metrics": [metric("bleu", 0.5, 0.4, real=True)]}
        if name != "begun":
            write_json(folder / "evaluation.json", {"name": "x", "made": made, "parts": [part]})
    (run.evaluation / "broken/evaluation.json").write_text("{")
    found, faults = evaluations_of(run)
    assert [one.view.name for one in found] == ["new", "old"]
    assert found[0].view.parts[0].metrics[0].changes["tuned"].verdict == "bad"
    assert len(faults) == 1 and "broken" in faults[0]


@pytest.mark.parametrize(
    ("losses", "kept"),
    [
        ({0: 2.0, 1: 1.0, 3: 1.5}, (2.0, 1.0, 1)),  # the best
        ({0: 2.0, 1: 3.0, 3: 4.0}, (2.0, 4.0, 3)),  # nothing was better than the base: the last
        ({2: 1.5}, (None, 1.5, 2)),
        ({0: 2.0}, (2.0, None, None)),
        ({}, (None, None, None)),
    ],
)
def test_the_held_out_loss_is_that_of_the_weights_that_are_kept(
    workspace: Workspace, losses: dict[int, float], kept: tuple[Any, ...]
) -> None:
    found = trained(add_outcome(workspace, "one", losses), Runs(workspace).curves("one"))
    assert (found.base_loss, found.held_out_loss, found.best_update) == kept


def test_time_speed_memory_and_size(workspace: Workspace) -> None:
    run = add_outcome(workspace, "one", {})
    run.adapter.mkdir()
    (run.adapter / "adapter_model.safetensors").write_bytes(bytes(123))
    found = trained(run, Runs(workspace).curves("one"))
    # The first update, which is slow, does not count for the speed.
    assert (found.seconds, found.tokens_per_second, found.peak_memory, found.size) == (6.0, 200.0, 3000, 123)


def test_only_settings_that_differ_are_told(workspace: Workspace) -> None:
    runs = [
        add_outcome(workspace, "a", {}, rank=4, alpha=8.0),
        add_outcome(workspace, "b", {}, rank=8, alpha=8.0, dora=True),
    ]
    found = [settings_of(run) for run in runs]
    assert differing(found) == {"adapter.rank": [4, 8], "adapter.dora": [None, True]}
    assert differing(found[:1]) == {}
    runs[0].recipe.write_text("a: [")
    with pytest.raises(RunError, match="cannot be read"):
        settings_of(runs[0])


def add_study(folder: Path, axes: dict[str, list[Any]], states: list[str]) -> None:
    folder.mkdir(parents=True)
    runs = [{"name": f"r{n}", "settings": {}, "seed": n, "state": state} for n, state in enumerate(states)]
    write_json(folder / "study.json", {"recipe": {}, "files": {}, "axes": axes, "seeds": [0], "runs": runs})


def test_studies_are_found_wherever_the_command_may_have_put_them(workspace: Workspace) -> None:
    add_study(workspace.root / "studies/ranks", {"adapter.rank": [1, 2]}, ["finished", "failed"])
    add_study(workspace.runs / "methods", {"method": ["lora", "full"]}, ["finished", "running"])
    add_study(workspace.root / "top", {"adapter.rank": [1]}, [])
    (workspace.runs / "broken").mkdir()
    (workspace.runs / "broken/study.json").write_text("[]")
    add_study(workspace.root.with_name("outside"), {}, [])
    (workspace.runs / "led-out").symlink_to(workspace.root.with_name("outside"))
    os.utime(workspace.root / "studies/ranks/study.json", (4e9, 4e9))
    found = {study.name: study for study in studies(workspace)}
    assert next(iter(found)) == "ranks" and set(found) == {"ranks", "methods", "top"}
    assert (found["ranks"].kind, found["ranks"].finished, found["ranks"].ended) == ("sweep", 1, True)
    assert (found["methods"].kind, found["methods"].finished, found["methods"].ended) == ("compare", 1, False)


def test_a_study_that_has_changed_is_read_anew(workspace: Workspace) -> None:
    folder = workspace.root / "studies/ranks"
    add_study(folder, {"adapter.rank": [1]}, ["running"])
    assert [study.finished for study in studies(workspace)] == [0]
    content = json.loads((folder / "study.json").read_text())
    content["runs"][0]["state"] = "finished"
    write_json(folder / "study.json", content)
    os.utime(folder / "study.json", (4e9, 4e9))
    assert [study.finished for study in studies(workspace)] == [1]


def test_the_screens_bring_no_torch() -> None:
    code = (
        "import sys, lorafit.studio.pages.result, lorafit.studio.pages.compare, lorafit.studio.pages.study\n"
        "sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
