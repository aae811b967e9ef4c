"""A job of the queue: one `lorafit` command, its folder on the disk, and what is true of its process.

A folder holds `job.json` (what was asked; never changes), `state.json` (what became of it), `log.txt` (what it said)
and the files that it was given. State is one of queued, running, done, failed, cancelled.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import psutil

from lorafit.errors import RunError
from lorafit.run import RunFolder, read_json, write_json
from lorafit.serve.place import TOKEN
from lorafit.studio.refusal import StudioError

JOB, STATE, LOG = "job.json", "state.json", "log.txt"
AT_WORK = ("queued", "planning", "running")  # what a run's status may say then
ENDED = ("done", "failed", "cancelled")
INTERRUPTED = 130
# Names the job in the environment of its process.
MARK = "LORAFIT_JOB"
TAIL_BYTES = 64 * 1024
CLOCK_SECONDS = 1.0
T = TypeVar("T")

LOST = (
    "Its process is gone without a word: it was killed from outside, or by the system, "
    "as happens when memory runs out or the machine restarts."
)
UNSEEN = "Its process is gone and nobody saw how it ended: the queue's own process was gone by then. Look at its log."
INTERRUPTED_MESSAGE = "interrupted"
TAKEN_OUT = "taken out of the queue before it began"


@dataclass(frozen=True)
class Job:
    """run: the name of the run that it makes or works on. Times are Unix seconds; code: the exit code, negative for
    a signal, None while unknown. asked: when it was last asked to stop. message: why it ended as it did."""

    id: str
    kind: str
    arguments: tuple[str, ...]
    label: str
    run: str | None
    state: str
    pid: int | None
    made: float
    started: float | None
    ended: float | None
    code: int | None
    log: Path
    folder: Path
    process_started: float | None = None
    asked: float | None = None
    message: str = ""

    @property
    def trains(self) -> bool:
        return self.kind in ("train", "resume")


def write_job(folder: Path, kind: str, arguments: Sequence[str], label: str, run: str | None) -> None:
    """Fill the folder of a new job, which is queued."""
    asked = {"kind": kind, "arguments": list(arguments), "label": label, "run": run, "made": time.time()}
    write_json(folder / JOB, asked)
    write_json(folder / STATE, {"state": "queued"})


def read_job(folder: Path) -> Job:
    """As its files say. Raises RunError when they cannot be read."""
    asked, state = read_json(folder / JOB), read_json(folder / STATE)
    try:
        return Job(
            id=folder.name,
            kind=str(asked["kind"]),
            arguments=tuple(map(str, asked["arguments"])),
            label=str(asked["label"]),
            run=_maybe(str, asked["run"]),
            state=str(state["state"]),
            pid=_maybe(int, state.get("pid")),
            made=float(asked["made"]),
            started=_maybe(float, state.get("started")),
            ended=_maybe(float, state.get("ended")),
            code=_maybe(int, state.get("code")),
            log=folder / LOG,
            folder=folder,
            process_started=_maybe(float, state.get("process_started")),
            asked=_maybe(float, state.get("asked")),
            message=str(state.get("message", "")),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{folder} does not hold a whole job: {error!r}.") from error


def _maybe(kind: Callable[[Any], T], value: Any) -> T | None:
    return None if value is None else kind(value)


def change(job: Job, **values: Any) -> Job:
    """Write what has changed in `state.json`; only for who may change the queue."""
    content = read_json(job.folder / STATE)
    content.pop("schema", None)
    write_json(job.folder / STATE, {**content, **values})
    return read_job(job.folder)


def start(job: Job, command: Sequence[str], root: Path) -> subprocess.Popen[bytes]:
    """The job's process, in a session of its own, which outlives whoever started it. Raises OSError."""
    with job.log.open("ab") as log:
        return subprocess.Popen(
            [*command, *job.arguments],
            cwd=root,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**environment(), MARK: job.id, "PYTHONUNBUFFERED": "1"},
        )


def environment() -> dict[str, str]:
    """The studio's own, but not its token; and no module is taken from the folder that a command is started in."""
    return {name: value for name, value in os.environ.items() if name != TOKEN} | {"PYTHONSAFEPATH": "1"}


def process_of(pid: int | None, started: float | None, mark: str | None = None) -> psutil.Process | None:
    """The living process of that number which began then; None when it is gone or the number is another's by now.

    mark: the job's id: where the clock was set meanwhile, the process is known by it.
    """
    if pid is None or started is None:
        return None
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        same = abs(process.create_time() - started) < CLOCK_SECONDS
        return process if same or (mark is not None and process.environ().get(MARK) == mark) else None
    except (psutil.Error, TypeError, ValueError):  # by a file that says something else than numbers, too
        return None


def process_of_job(job: Job) -> psutil.Process | None:
    """The living process of a job, None when there is none."""
    if job.pid is not None or job.state != "running":
        return process_of(job.pid, job.process_started, job.id)
    # Whoever started it was killed before the number was written.
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == job.id and os.getsid(process.pid) == process.pid:
                return process
        except (psutil.Error, OSError):
            continue
    return None


def worker_of(name: str, folder: RunFolder) -> psutil.Process:
    """The process that works on a run, as its status names it, whoever started it.

    Raises StudioError when there is none, or when it is not one of lorafit's commands.
    """
    status = read_json(folder.status)
    if status.get("state") not in AT_WORK:
        raise nothing_works(name)
    try:
        process = psutil.Process(int(status["pid"]))
        # One that began after the last heartbeat only has the number of the one that wrote it.
        late = process.create_time() > float(status["heartbeat"]) + CLOCK_SECONDS
        words = process.cmdline()
    except (psutil.Error, KeyError, ValueError, TypeError):
        raise nothing_works(name) from None
    if late or not words:  # one that is ending has no words any more
        raise nothing_works(name)
    if not any("lorafit" in Path(word).name for word in words):
        raise StudioError(
            f"Process {process.pid} works on run {name}, but it is no command of lorafit's (a notebook, perhaps): "
            "stop it where it was started."
        )
    if process.pid == os.getpid():  # the studio itself, which works on no run
        raise nothing_works(name)
    return process


def nothing_works(name: str) -> StudioError:
    return StudioError(f"Nothing works on run {name} at the moment.")


def ending(job: Job, code: int, ended: float) -> dict[str, Any]:
    """What to write of a job whose process ended with `code` (minus the signal that ended it)."""
    by_request = job.asked is not None and -code in (signal.SIGINT, signal.SIGTERM)
    if code == 0:
        state, message = "done", ""
    elif code == INTERRUPTED or by_request:
        state, message = "cancelled", INTERRUPTED_MESSAGE
    else:
        state, message = "failed", _said(job.log) or _how(code)
    return {"state": state, "code": code, "ended": ended, "message": message}


def ending_unseen(job: Job, run: RunFolder | None) -> dict[str, Any]:
    """What to write of a job whose process is gone while nobody waited for it: as its run or its log tells."""
    told = _status(run, job.pid)
    state, code, message = "failed", None, LOST
    log = tail(job.log)
    if told.get("state") == "finished":
        state, code, message = "done", 0, ""
    elif told.get("state") == "interrupted" or log.rstrip().endswith("\ninterrupted") or job.asked is not None:
        state, message = "cancelled", INTERRUPTED_MESSAGE
    elif told.get("state") == "failed":
        message = str(told.get("message", "")) or LOST
    elif said := _said(job.log):
        message = said
    elif not told and log.strip():
        message = UNSEEN
    return {"state": state, "code": code, "ended": _last_sign(job), "message": message}


def _status(run: RunFolder | None, pid: int | None) -> Mapping[str, Any]:
    """status.json of the run, where this process wrote it."""
    if run is None or pid is None:
        return {}
    try:
        status = read_json(run.status)
    except RunError:
        return {}
    return status if status.get("pid") == pid else {}


def _last_sign(job: Job) -> float:
    try:
        return job.log.stat().st_mtime
    except OSError:
        return job.started or job.made


def tail(log: Path) -> str:
    """The end of a log, after a line break; empty where there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - TAIL_BYTES))
            return "\n" + file.read().decode("utf-8", "replace")
    except OSError:
        return ""


def _said(log: Path) -> str:
    """The error that a command printed last, or the last line of its traceback; empty where there is neither."""
    text = tail(log)
    _, said, error = text.rpartition("\nerror: ")
    if said:
        return error.strip()
    if "\nTraceback (most recent call last):" in text:
        return text.strip().splitlines()[-1]
    return ""


def _how(code: int) -> str:
    if code >= 0:
        return f"It ended with exit code {code}. Look at its log."
    if -code == getattr(signal, "SIGKILL", None):
        return LOST
    return f"It was ended by signal {-code} ({signal.strsignal(-code)})."
