"""What there is to see of a run at one moment, whether it waits, works or has ended: for the screen that shows it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from lorafit.errors import RunError
from lorafit.report.read import json_lines
from lorafit.run import read_json
from lorafit.studio import jobs
from lorafit.studio.curves import Curves
from lorafit.studio.jobs import Job
from lorafit.studio.queue import Queue
from lorafit.studio.refusal import StudioError
from lorafit.studio.runs import Runs, Summary
from lorafit.studio.workspace import Workspace

LOG_LINES = 200
SAMPLES = 4
ANSWERS = 3  # of one prompt: before training, and the last two
SEVERITIES = ("fault", "warning", "note")
_COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@dataclass(frozen=True, slots=True)
class Sight:
    """A run as it is now.

    summary, curves: None before its folder is there. job: the newest that trains it, None where it was started in a
    terminal. state: as in Summary, `queued` and `planning` also while a job is about to begin or to go on with it, or
    as the job ended before there was a folder. log: the last lines of the job. findings: the worst first. samples: the
    first lines of evaluation/samples.jsonl. asked: {"prompt", "reference", "answers": {update: text}} of each prompt
    that is answered while it is trained. recipe: of the run or, before, of the job. report: whether it is written.
    """

    name: str
    summary: Summary | None
    curves: Curves | None
    job: Job | None
    state: str
    message: str
    log: tuple[str, ...]
    findings: tuple[dict[str, Any], ...]
    samples: tuple[dict[str, Any], ...]
    asked: tuple[dict[str, Any], ...]
    recipe: Path | None
    report: bool

    @property
    def is_working(self) -> bool:
        return self.state in jobs.AT_WORK


class Watch:
    """Looks at one run again and again. Every file but the growing ones is read when it has changed."""

    def __init__(self, workspace: Workspace, runs: Runs, queue: Queue, name: str) -> None:
        self._workspace, self._runs, self._queue, self.name = workspace, runs, queue, name
        self._read: dict[Path, tuple[tuple[int, int], Any]] = {}

    def look(self) -> Sight:
        """Raises StudioError when there is neither such a run nor a job for one."""
        job = self.job()
        log = self._log(job)
        recipe = job.folder / "recipe.yaml" if job else None
        try:
            run = self._workspace.run(self.name)
            summary, curves = self._runs.summary(self.name), self._runs.curves(self.name)
        except StudioError:
            if job is None:
                raise
            recipe = recipe if recipe and recipe.is_file() else None
            return Sight(self.name, None, None, job, *_of_job(job), log, (), (), (), recipe, False)
        state, message = _of_both(summary, job)
        return Sight(
            self.name,
            summary,
            curves,
            job,
            state,
            message,
            log,
            self._cached(run.findings, _findings),
            self._cached(run.evaluation / "samples.jsonl", lambda path: tuple(islice(json_lines(path), SAMPLES))),
            self._cached(run.progress, _asked),
            run.recipe,
            run.report.is_file(),
        )

    def job(self) -> Job | None:
        """The newest that trains the run: one may be queued while the one before still writes its report."""
        training = [job for job in self._queue.of_run(self.name) if job.trains]
        return max(training, key=lambda job: job.made, default=None)

    def _log(self, job: Job | None) -> tuple[str, ...]:
        return self._cached(job.log, log_lines) if job else ()

    def _cached(self, path: Path, read: Any) -> Any:
        """read: gives a tuple; an empty one stands for a file that is not there."""
        try:
            told = path.stat()
        except OSError:
            return ()
        look = (told.st_mtime_ns, told.st_size)
        if self._read.get(path, (None,))[0] != look:
            self._read[path] = (look, read(path))
        return self._read[path][1]


def log_lines(log: Path) -> tuple[str, ...]:
    """The last lines of a log as a terminal would show them: bars that were drawn over one another once, no colours."""
    lines = (line.rstrip("\r").rpartition("\r")[2] for line in _COLOURS.sub("", jobs.tail(log)).split("\n"))
    return tuple(line.rstrip() for line in lines if line.strip())[-LOG_LINES:]


def _asked(path: Path) -> tuple[dict[str, Any], ...]:
    """Of the first prompts, what was answered when: the first time and the last ones."""
    found: dict[str, dict[str, Any]] = {}
    for line in json_lines(path):
        key = json.dumps(line.get("prompt"))
        if key in found or len(found) < SAMPLES:
            told = found.setdefault(
                key, {"prompt": line.get("prompt"), "reference": line.get("reference"), "answers": {}}
            )
            answers = told["answers"]
            answers[line.get("update")] = line.get("text")
            if len(answers) > ANSWERS:
                del answers[list(answers)[1]]
    return tuple(found.values())


def _findings(path: Path) -> tuple[dict[str, Any], ...]:
    try:
        listed = read_json(path).get("findings")
    except RunError:  # being written by another hand, or broken
        return ()
    found = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    return tuple(sorted(found, key=_rank))


def _rank(finding: dict[str, Any]) -> int:
    severity = finding.get("severity")
    return SEVERITIES.index(severity) if severity in SEVERITIES else len(SEVERITIES)


def _of_job(job: Job) -> tuple[str, str]:
    """(state, message) of a run that has no folder yet."""
    return ("planning" if job.state == "running" else job.state), job.message


def _of_both(summary: Summary, job: Job | None) -> tuple[str, str]:
    if job and job.state == "queued":
        return "queued", ""
    # A resume reads data and base before it touches the folder, which says meanwhile how the run was left.
    if job and job.kind == "resume" and summary.changed < (job.started or 0):
        if job.state == "running":
            return "planning", ""
        if job.state == "failed":
            return summary.state, job.message
    return summary.state, summary.message
