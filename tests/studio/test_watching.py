"""What there is to see of a run: before its folder, with it, and as jobs come and go."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lorafit.run import RunFolder, write_json
from lorafit.studio.jobs import Job
from lorafit.studio.refusal import StudioError
from lorafit.studio.runs import Runs
from lorafit.studio.watching import LOG_LINES, SAMPLES, Watch, log_lines
from lorafit.studio.workspace import Workspace


class Jobs:
    """Stands for the queue: only what is asked of it here."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []

    def of_run(self, name: str) -> list[Job]:
        return [job for job in self.jobs if job.run == name]


@pytest.fixture
def jobs() -> Jobs:
    return Jobs()


@pytest.fixture
def watch(tmp_path: Path, jobs: Jobs) -> Watch:
    workspace = Workspace(tmp_path)
    queue: Any = jobs
    return Watch(workspace, Runs(workspace), queue, "mine")


@pytest.fixture
def add_job(tmp_path: Path, jobs: Jobs) -> Callable[..., Job]:
    def add(kind: str, state: str, made: float = 1.0, log: str = "", **values: Any) -> Job:
        folder = tmp_path / ".studio" / "jobs" / f"{kind}-{made}"
        folder.mkdir(parents=True)
        (folder / "log.txt").write_text(log)
        told = {"pid": None, "started": None, "ended": None, "code": None} | values
        job = Job(
            folder.name, kind, (), "mine", "mine", state, made=made, log=folder / "log.txt", folder=folder, **told
        )
        jobs.jobs.append(job)
        return job

    return add


def make_run(tmp_path: Path, state: str = "running", **status: Any) -> RunFolder:
    run = RunFolder.create(tmp_path / "runs" / "mine")
    run.recipe.write_text("model: {name: builtin}\n")
    write_json(
        run.status, {"state": state, "heartbeat": time.time(), "update": 1, "updates": 10, "message": "", **status}
    )
    return run


def test_neither_a_run_nor_a_job(watch: Watch) -> None:
    with pytest.raises(StudioError, match="no run 'mine'"):
        watch.look()


@pytest.mark.parametrize(
    ("state", "seen", "works"),
    [
        ("queued", "queued", True),
        ("running", "planning", True),
        ("failed", "failed", False),
        ("cancelled", "cancelled", False),
    ],
)
def test_a_job_before_its_folder(watch: Watch, add_job: Callable[..., Job], state: str, seen: str, works: bool) -> None:
    job = add_job("train", state, log="reading data\nplanning\n", message="why")
    sight = watch.look()
    assert (sight.state, sight.is_working, sight.message) == (seen, works, "why")
    assert sight.log == ("reading data", "planning") and sight.summary is None and sight.recipe is None
    (job.folder / "recipe.yaml").write_text("")
    assert watch.look().recipe == job.folder / "recipe.yaml"


def test_a_run_with_all_it_has(watch: Watch, tmp_path: Path) -> None:
    run = make_run(tmp_path)
    sight = watch.look()
    assert sight.state == "running" and sight.job is None and sight.findings == () and not sight.report
    found = [{"severity": "note"}, {"severity": "fault"}, "no finding", {"severity": "odd"}, {"severity": "warning"}]
    write_json(run.findings, {"findings": found})
    run.evaluation.mkdir()
    lines = [json.dumps({"prompt": [], "reference": str(n)}) for n in range(SAMPLES + 5)]
    (run.evaluation / "samples.jsonl").write_text("\n".join(lines) + "\n")
    run.metrics.write_text('{"update": 1, "loss": 2.5}\n')
    run.report.write_text("")
    sight = watch.look()
    assert [finding["severity"] for finding in sight.findings] == ["fault", "warning", "note", "odd"]
    assert [sample["reference"] for sample in sight.samples] == [str(n) for n in range(SAMPLES)]
    assert sight.report and sight.recipe == run.recipe
    assert sight.curves is not None and sight.curves.last("loss") == 2.5
    run.findings.write_text("{")
    assert watch.look().findings == ()


def test_a_resume_from_its_queue_to_its_end(
    watch: Watch, tmp_path: Path, jobs: Jobs, add_job: Callable[..., Job]
) -> None:
    make_run(tmp_path, "interrupted", message="5 of 10 updates")
    now = time.time()
    add_job("train", "running", made=1.0, started=1.0)  # still writes its report
    assert watch.look().state == "interrupted"
    for state, started, seen, message in (
        ("queued", None, "queued", ""),
        ("running", now + 5, "planning", ""),  # the folder is as it was left
        ("running", now - 5, "interrupted", "5 of 10 updates"),
        ("failed", now + 5, "interrupted", "the data changed"),
    ):
        job = add_job("resume", state, made=2.0 + len(jobs.jobs), started=started, message="the data changed")
        sight = watch.look()
        assert (sight.state, sight.message, sight.job) == (seen, message, job)


def test_a_log_as_a_terminal_shows_it(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    log.write_bytes(
        b"\x1b[33mwarning\x1b[0m\r\n 1 %\r 50 %\r100 %\r\n\n" + b"line\n" * (LOG_LINES + 50) + "半".encode()[:2]
    )
    lines = log_lines(log)
    assert len(lines) == LOG_LINES and set(lines[:-1]) == {"line"}
    log.write_bytes(b"\x1b[33mwarning\x1b[0m\r\n 1 %\r 50 %\r100 %\r\n\n")
    assert log_lines(log) == ("warning", "100 %")


def test_what_is_answered_while_it_is_trained_is_the_first_and_the_last_of_it(watch: Watch, tmp_path: Path) -> None:
    run = make_run(tmp_path)
    run.progress.parent.mkdir(parents=True, exist_ok=True)
    asked = [{"role": "user", "content": "?"}]
    lines = [
        json.dumps({"update": u, "prompt": [*asked, p], "reference": f"{p}", "text": f"{u}{p}"})
        for u in (0, 5, 10, 15)
        for p in range(SAMPLES + 1)
    ]
    run.progress.write_text("\n".join(lines) + '\n{"update": 20, "pro')
    found = watch.look().asked
    assert [one["reference"] for one in found] == [str(p) for p in range(SAMPLES)]
    assert found[1]["answers"] == {0: "01", 10: "101", 15: "151"}
