"""Lines about runs, from whole, half and wrong folders."""

from __future__ import annotations

import json
import os
import shutil
import time
import weakref
from pathlib import Path
from typing import Any

import pytest

from lorafit.run import RunFolder
from lorafit.studio.refusal import StudioError
from lorafit.studio.runs import DEAD_AFTER, Runs
from lorafit.studio.workspace import Workspace

RECIPE = "model:\n  name: builtin\n  quantization: nf4\nadapter:\n  method: lora\n"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


def make(workspace: Workspace, name: str, recipe: str = RECIPE, **status: Any) -> RunFolder:
    run = RunFolder.create(workspace.runs / name)
    run.recipe.write_text(recipe)
    run.write_status("running", **({"update": 0, "updates": 100, "message": ""} | status))
    return run


def train(run: RunFolder, updates: range, seconds: float = 2.0) -> None:
    with run.metrics.open("a") as file:
        for n in updates:
            file.write(json.dumps({"update": n, "loss": 10.0 / n, "elapsed_seconds": n * seconds}) + "\n")
            if n % 10 == 0:
                file.write(json.dumps({"update": n, "held_out_loss": abs(n - 20) + 1}) + "\n")


def test_a_run_that_works(workspace: Workspace) -> None:
    run = make(workspace, "中文", update=40)
    train(run, range(1, 41))
    found = Runs(workspace).summary("中文")
    assert (found.name, found.state, found.update, found.updates) == ("中文", "running", 40, 100)
    assert (found.method, found.model) == ("QLoRA (nf4)", "builtin")
    assert found.loss == 0.25 and found.held_out_loss == 1
    assert found.seconds_left == pytest.approx(120)
    assert len(found.sparkline) == 40 and found.sparkline[0] == 10 and found.sparkline[-1] == 0.25
    assert abs(found.changed - time.time()) < 60 and found.score is None


def test_what_is_new_is_seen_and_the_rest_is_not_read_again(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = make(workspace, "a"), make(workspace, "b")
    train(first, range(1, 10))
    runs = Runs(workspace)
    runs.summaries()
    train(first, range(10, 12))
    read: list[str] = []
    monkeypatch.setattr(
        "lorafit.studio.runs._sampled", lambda path: read.append(path.parent.name) or [{"update": 1, "loss": 5.0}]
    )
    losses = {summary.name: summary.loss for summary in runs.summaries()}
    assert read == ["a"] and losses == {"a": 5.0, "b": None}
    second.write_status("finished", update=100, updates=100, message="done")
    assert runs.summary("b").state == "finished"


def test_a_run_without_a_heartbeat_is_dead(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    make(workspace, "quiet", heartbeat=time.time() - DEAD_AFTER - 5)
    ended = make(workspace, "ended")
    ended.write_status("failed", heartbeat=0, message="no room")
    runs = Runs(workspace)
    assert runs.summary("quiet").state == "dead"
    assert runs.summary("ended").state == "failed" and runs.summary("ended").message == "no room"
    make(workspace, "later")
    assert runs.summary("later").state == "running"
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + DEAD_AFTER + 1)
    assert runs.summary("later").state == "dead"  # though none of its files changed


def test_the_newest_comes_first_and_what_is_no_run_does_not_come(workspace: Workspace, tmp_path: Path) -> None:
    for age, name in ((300, "old"), (100, "new"), (200, "middle")):
        run = make(workspace, name)
        for path in run.path.iterdir():
            os.utime(path, (time.time() - age,) * 2)
    (workspace.runs / "a study").mkdir()
    (workspace.runs / "file").write_text("")
    outside = tmp_path.parent / f"{tmp_path.name}-outside"
    outside.mkdir()
    (outside / "recipe.yaml").write_text(RECIPE)
    (workspace.runs / "link").symlink_to(outside)
    runs = Runs(workspace)
    assert [summary.name for summary in runs.summaries()] == ["new", "middle", "old"]
    for name in ("absent", "../x", "link", ""):
        with pytest.raises(StudioError):
            runs.summary(name)
        with pytest.raises(StudioError):
            runs.curves(name)


def test_scores_before_and_after(workspace: Workspace) -> None:
    run = make(workspace, "scored")
    run.evaluation.mkdir()
    scores = {"base": {"token_f1": {"mean": 0.2}}, "tuned": {"token_f1": {"mean": 0.5}, "other": {"mean": 1}}}
    (run.evaluation / "scores.json").write_text(json.dumps({"scores": scores}))
    assert Runs(workspace).summary("scored").score == ("token_f1", 0.2, 0.5)


@pytest.mark.parametrize(
    "broken",
    ["", "[1]", "[" * 100_000, "- " * 9_999, "\x00\xff", '{"state": 3, "update": "x", "scores": [], "model": 1}'],
)
def test_broken_files_break_no_list(workspace: Workspace, broken: str) -> None:
    run = make(workspace, "broken")
    run.evaluation.mkdir()
    for path in (run.recipe, run.status, run.metrics, run.evaluation / "scores.json"):
        path.write_text(broken)
    found = Runs(workspace).summary("broken")
    assert (found.update, found.loss, found.sparkline, found.score) == (0, None, (), None)


def test_the_sparkline_of_a_long_run_is_short(workspace: Workspace) -> None:
    run = make(workspace, "long", recipe="adapter:\n  method: none\n", update=20_000, updates=20_000)
    train(run, range(1, 20_001))
    found = Runs(workspace).summary("long")
    assert len(found.sparkline) == 60 and found.loss == 10 / 20_000 and found.method == "full fine-tuning"
    assert sorted(found.sparkline, reverse=True) == list(found.sparkline)


def test_the_pace_after_a_resume_is_that_of_the_new_clock(workspace: Workspace) -> None:
    run = make(workspace, "resumed", update=60)
    train(run, range(1, 51), seconds=9)
    with run.metrics.open("a") as file:
        for n in range(51, 61):
            file.write(json.dumps({"update": n, "loss": 1.0, "elapsed_seconds": n - 50}) + "\n")
    assert Runs(workspace).summary("resumed").seconds_left == pytest.approx(40)


def test_curves_are_kept(workspace: Workspace) -> None:
    run = make(workspace, "kept")
    train(run, range(1, 4))
    runs = Runs(workspace)
    curves = runs.curves("kept")
    train(run, range(4, 6))
    assert runs.curves("kept") is curves and len(curves.points("loss")) == 5


def test_of_a_run_that_is_gone_nothing_is_kept(workspace: Workspace) -> None:
    run = make(workspace, "gone")
    runs = Runs(workspace)
    curves = weakref.ref(runs.curves("gone"))
    assert [summary.name for summary in runs.summaries()] == ["gone"]
    shutil.rmtree(run.path)
    assert runs.summaries() == [] and curves() is None
