"""The order of a study's runs, with children that take no time; `tests/cli/test_sweep.py` has real ones."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lorafit import Recipe
from lorafit.errors import RecipeError, RunError
from lorafit.observe.console import Console
from lorafit.run import RunFolder
from lorafit.study import conduct as room
from lorafit.study.folder import Entry, Study, open_study

QUIET = Console(quiet=True)
# Does what a run would leave; a rank of 3 fails with a message, one of 5 without, one of 6 waits to be stopped.
SCRIPT = """
import json, os, pathlib, signal, sys, time
run, rank = pathlib.Path(sys.argv[1]), int(sys.argv[2])
print("working")
if rank == 3:
    sys.exit("error: it needs 9 GB, and 8 GB are free\\nTake less.")
run.mkdir(exist_ok=True)
(run / "recipe.yaml").write_text("")
if rank == 5:
    os.kill(os.getpid(), signal.SIGKILL)
if rank == 6 and not (run / "again").exists():
    (run / "again").touch()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))
    (run / "ready").touch()
    time.sleep(30)
(run / "metrics.jsonl").write_text(json.dumps({"update": 0, "held_out_loss": 4.0}) + "\\n"
    + json.dumps({"update": 1, "held_out_loss": 1 / rank}) + "\\n")
(run / "status.json").write_text(json.dumps({"state": "finished"}))
"""


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    def steps(study: Study, entry: Entry) -> list[list[str]]:
        return [["-c", SCRIPT, str(study.run_of(entry)), str(entry.settings["adapter.rank"])]]

    monkeypatch.setattr(room, "_steps", steps)
    return tmp_path / "studies" / "one"


def states(path: Path) -> dict[int, str]:
    return {entry.settings["adapter.rank"]: entry.state for entry in open_study(path).entries}


def conduct(recipe: Recipe, ranks: list[int], path: Path, **more: Any) -> int:
    return room.conduct(recipe, {"adapter.rank": ranks}, 1, path, console=QUIET, **more)[1]


def test_a_run_that_fails_is_shown_and_the_others_go_on(recipe: Callable[..., Recipe], path: Path) -> None:
    assert conduct(recipe(), [2, 3, 4, 5], path) == 0
    assert states(path) == {2: "finished", 3: "failed", 4: "finished", 5: "failed"}
    entries = {entry.settings["adapter.rank"]: entry for entry in open_study(path).entries}
    assert entries[3].message == "it needs 9 GB, and 8 GB are free\nTake less."
    assert "signal 9 (Killed)" in entries[5].message and "working" in entries[5].message
    assert entries[4].figures["held_out_loss"] == 0.25
    page = (path / "report.html").read_text()
    assert "it needs 9 GB, and 8 GB are free" in page and "lowest held-out loss: rank 4" in page


def test_what_is_done_is_not_done_again(recipe: Callable[..., Recipe], path: Path) -> None:
    assert conduct(recipe(), [2, 3], path) == 0
    logs = {log.name: log.read_text() for log in (path / "logs").iterdir()}
    assert conduct(recipe(), [2, 3], path) == 0
    assert {log.name: log.read_text() for log in (path / "logs").iterdir()} == logs
    assert conduct(recipe(), [2, 3], path, retry=True) == 0
    assert (path / "logs" / "rank-3-seed-0.log").read_text() == 2 * logs["rank-3-seed-0.log"]
    assert (path / "logs" / "rank-2-seed-0.log").read_text() == logs["rank-2-seed-0.log"]


def test_when_every_run_fails_so_does_the_study(recipe: Callable[..., Recipe], path: Path) -> None:
    assert conduct(recipe(), [3], path) == 1
    assert conduct(recipe(), [3], path) != 0


def test_stopped_it_ends_with_its_run_and_goes_on(recipe: Callable[..., Recipe], path: Path) -> None:
    def stop() -> None:
        while not (path / "runs" / "rank-6-seed-0" / "ready").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=stop).start()
    assert conduct(recipe(), [2, 6, 8], path) == 130
    assert states(path) == {2: "finished", 6: "interrupted", 8: "queued"}
    assert conduct(recipe(), [2, 6, 8], path) == 0
    assert set(states(path).values()) == {"finished"}


def test_a_run_that_outlived_its_study_is_waited_for(recipe: Callable[..., Recipe], path: Path) -> None:
    run = path / "runs" / "rank-2-seed-0"
    conduct(recipe(), [4], path)
    run.mkdir()
    holder = f"import time\nfrom lorafit.run import RunFolder\nfrom pathlib import Path\nrun = Path({str(run)!r})\n"
    holder += (
        "with RunFolder(run).locked():\n    (run / 'held').touch()\n    time.sleep(0.7)\n    (run / 'held').unlink()"
    )
    process = subprocess.Popen([sys.executable, "-c", holder])
    while not (run / "held").exists():
        time.sleep(0.01)
    conduct(recipe(), [2], path)
    assert not (run / "held").exists()
    assert process.wait() == 0 and states(path)[2] == "finished"


def test_two_at_once_are_one_too_many(recipe: Callable[..., Recipe], path: Path) -> None:
    conduct(recipe(), [2], path)
    with RunFolder(path).locked(), pytest.raises(RunError, match="Another process works on the study"):
        conduct(recipe(), [2], path)


def test_hundreds_of_runs_are_asked_about(
    recipe: Callable[..., Recipe], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "planned_seconds", lambda *_: 10.0)
    with pytest.raises(RecipeError, match=r"1,800 runs \(about 5 h 0 min\).*--yes"):
        conduct(recipe(), list(range(1, 1801)), path)
    assert not path.exists()
    monkeypatch.setattr(room, "MANY", 1)
    with pytest.raises(RecipeError, match="2 runs"):
        conduct(recipe(), [2, 4], path)
    assert conduct(recipe(), [2, 4], path, yes=True) == 0
    assert json.loads((path / "study.json").read_text())["axes"] == {"adapter.rank": [2, 4]}


def test_steps_begin_go_on_or_measure(recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    entry = Entry("a", {}, 0)
    study = Study(tmp_path, {}, {}, {}, [0], [entry])
    run = study.run_of(entry)
    measure = ["-m", "lorafit.study.measure", str(run)]
    train = ["-m", "lorafit.cli.main", "train", str(tmp_path / "recipes" / "a.yaml")]
    run.mkdir(parents=True)  # stopped as it was made
    assert room._steps(study, entry) == [train, measure] and not run.exists()
    run.mkdir()
    (run / "recipe.yaml").touch()
    (run / "status.json").write_text('{"state": "running"}')
    assert room._steps(study, entry) == [["-m", "lorafit.cli.main", "resume", str(run)], measure]
    (run / "status.json").write_text('{"state": "finished"}')
    assert room._steps(study, entry) == [measure]
    (run / "inference.json").touch()
    assert room._steps(study, entry) == []
