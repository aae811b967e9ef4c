"""The queue of a workspace: jobs on the disk, carried out one at a time by a conductor (`conductor.py`).

Several studios and the conductor may change it at once: every change is made under a lock, and read anew from the disk.
"""

from __future__ import annotations

import contextlib
import re
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import psutil

from lorafit.errors import RunError
from lorafit.run import InUseError, RunFolder, disk_error, only_process, read_json, replace_folder, write_json
from lorafit.studio import jobs
from lorafit.studio.jobs import Job
from lorafit.studio.refusal import StudioError
from lorafit.studio.workspace import Workspace

LORAFIT = (sys.executable, "-m", "lorafit.cli.main")
CONDUCTOR = "lorafit.studio.conductor"
# After the first request a run finishes its update and saves; a second one before that is a double click.
PATIENCE_SECONDS = 10.0
CHANGE_SECONDS = 10.0
RESTART_SECONDS = 5.0
_ID = re.compile(r"[0-9a-f-]+")
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


class Queue:
    """The jobs of a workspace. command: the words before a job's arguments."""

    def __init__(self, workspace: Workspace) -> None:
        self.command: tuple[str, ...] = LORAFIT
        self._workspace = workspace
        self._folder = workspace.hidden / "jobs"
        self._folder.mkdir(parents=True, exist_ok=True)
        self.lock = workspace.hidden / "queue.lock"
        self._changes = workspace.hidden / "queue-changes.lock"
        self._order = workspace.hidden / "order.json"
        self._conductor = workspace.hidden / "conductor.json"
        self._read: dict[str, tuple[tuple[int, int], Job]] = {}
        self._interrupted: dict[int, float] = {}
        self._spawned = -RESTART_SECONDS

    def add(
        self,
        kind: str,
        arguments: Sequence[str],
        label: str,
        run: str | None = None,
        files: Mapping[str, str] | None = None,
    ) -> Job:
        """Put `lorafit ARGUMENTS` at the end of the queue, and see to it that the queue is carried out.

        files: plain name to content, written into the job's folder; `{folder}` in an argument becomes that folder.
        Raises StudioError for a name that is not plain, RunError when the folder cannot be written.
        """
        for name in files or {}:
            if not _PLAIN.fullmatch(name) or name in (jobs.JOB, jobs.STATE, jobs.LOG):
                raise StudioError(f"{name!r} cannot be the name of a job's file.")
        with self._changing():
            folder = self._folder / f"{datetime.now(UTC):%Y%m%d-%H%M%S-%f}-{secrets.token_hex(2)}"
            words = [word.replace("{folder}", str(folder)) for word in arguments]

            def fill(new: Path) -> None:
                for name, content in (files or {}).items():
                    (new / name).write_text(content, encoding="utf-8")
                jobs.write_job(new, kind, words, label, run)

            replace_folder(folder, fill)
        self._conduct()
        return self.job(folder.name)

    def jobs(self) -> list[Job]:
        """Running first, then queued in their order, then ended, the newest first."""
        found = self._all()
        order = {id: place for place, id in enumerate(self._wanted_order())}
        queued = [job for job in found if job.state == "queued"]
        queued.sort(key=lambda job: (order.get(job.id, len(order)), job.id))
        ended = [job for job in found if job.state in jobs.ENDED]
        ended.sort(key=lambda job: (job.ended or job.made, job.id), reverse=True)
        return [job for job in found if job.state == "running"] + queued + ended

    def job(self, id: str) -> Job:
        """Raises StudioError when there is none."""
        folder = self._folder / id
        if not _ID.fullmatch(id) or not folder.is_dir():
            raise StudioError(f"There is no job {id!r} in the queue.")
        return self._true(self._as_written(folder))

    def of_run(self, name: str) -> list[Job]:
        return [job for job in self.jobs() if job.run == name]

    def cancel(self, id: str) -> None:
        """Take a queued job out; ask a running one to stop: it saves what it has, and ends.

        A running one that is asked again after 10 seconds is told to end at once (SIGTERM); before that, and for a job
        that has ended, nothing is done.
        """
        with self._changing():
            job = self.job(id)
            if job.state == "queued":
                jobs.change(job, state="cancelled", ended=time.time(), message=jobs.TAKEN_OUT)
            process = jobs.process_of_job(job) if job.state == "running" else None
            if process is None or (job.asked is not None and time.time() - job.asked < PATIENCE_SECONDS):
                return
            jobs.change(job, asked=time.time())
            with contextlib.suppress(psutil.NoSuchProcess):  # it has ended since
                process.send_signal(signal.SIGINT if job.asked is None else signal.SIGTERM)

    def forget(self, id: str) -> None:
        """Remove the folder of a job that has ended. Raises StudioError for one that has not."""
        with self._changing():
            job = self.job(id)
            if job.state not in jobs.ENDED:
                raise StudioError(f"Job {id} has not ended: cancel it first.")
            shutil.rmtree(job.folder)
            self._read.pop(id, None)

    def move(self, id: str, by: int) -> None:
        """Change the place of a queued job; by: -1 is one place earlier. Nothing happens to one that has begun."""
        with self._changing():
            order = [job.id for job in self.jobs() if job.state == "queued"]
            if id in order:
                place = order.index(id)
                order.insert(min(max(place + by, 0), len(order) - 1), order.pop(place))
                write_json(self._order, {"queued": order})

    def stop_run(self, name: str) -> None:
        """Ask whatever works on a run to save and stop, also where it was started in a terminal.

        Asked again after 10 seconds, it stops at once. Raises StudioError when nothing works on the run, or when the
        process that its status.json names is not one of lorafit.
        """
        folder = self._workspace.run(name)
        ours = [job for job in self.of_run(name) if job.state == "running" and job.trains]
        if ours:
            self.cancel(ours[0].id)
            return
        process = jobs.worker_of(name, folder)
        if time.time() - self._interrupted.get(process.pid, 0.0) < PATIENCE_SECONDS:
            return
        self._interrupted[process.pid] = time.time()
        try:
            process.send_signal(signal.SIGINT)
        except psutil.NoSuchProcess:
            raise jobs.nothing_works(name) from None
        except psutil.AccessDenied:
            raise StudioError(f"Process {process.pid}, which works on run {name}, is another user's.") from None

    def carry_on(self) -> None:
        """Start a conductor where something is to be carried out and none is there: at the studio's start, and again
        and again while it runs, as a conductor may be killed. Quick where nothing is to do."""
        waiting = any(job.state in ("queued", "running") for job in self._stored())
        if waiting and time.monotonic() - self._spawned > RESTART_SECONDS:
            self._conduct()

    def _conduct(self) -> None:
        if self.is_conducted():
            return
        self._spawned = time.monotonic()
        log_file = self._workspace.hidden / "conductor.log"
        try:
            log = log_file.open("ab")
        except OSError as error:
            raise disk_error(error, log_file) from error
        with log:
            process = subprocess.Popen(
                [sys.executable, "-m", CONDUCTOR, str(self._workspace.root), *self.command],
                cwd=self._workspace.root,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=jobs.environment(),
            )
        # The thread only takes note of its end, so that no zombie stays.
        threading.Thread(target=process.wait, name="conductor", daemon=True).start()

    # What the conductor does.

    def is_conducted(self) -> bool:
        """Whether a conductor is at work, which will carry out whatever is queued."""
        try:
            content = read_json(self._conductor)
        except RunError:
            return False
        return jobs.process_of(content.get("pid"), content.get("process_started")) is not None

    def take_up(self) -> list[Job]:
        """The running jobs, from now on this process's to conduct."""
        with self._changing():
            own = psutil.Process()
            write_json(self._conductor, {"pid": own.pid, "process_started": own.create_time()})
        return [job for job in self._stored() if job.state == "running"]

    def begin(self) -> tuple[Job, subprocess.Popen[bytes] | None] | None:
        """Start the first queued job (no process where that failed, which is written down); None: nothing is queued.

        Then, under the same lock, this process is no conductor any more: whoever adds a job starts another.
        """
        with self._changing():
            job = next((job for job in self.jobs() if job.state == "queued"), None)
            if job is None:
                self._conductor.unlink(missing_ok=True)
                return None
            job = jobs.change(job, state="running", started=time.time())
            try:
                process = jobs.start(job, self.command, self._workspace.root)
            except (OSError, ValueError) as error:  # ValueError: a zero byte in a word
                message = f"It could not be started: {error}"
                return jobs.change(job, state="failed", ended=time.time(), message=message), None
            return jobs.change(job, pid=process.pid, process_started=_began(process.pid)), process

    def end(self, id: str, code: int | None) -> None:
        """Write down how a running job ended; code: None where nobody saw it."""
        with self._changing():
            job = jobs.read_job(self._folder / id)
            jobs.change(job, **(self._unseen(job) if code is None else jobs.ending(job, code, time.time())))

    def _unseen(self, job: Job) -> dict[str, object]:
        return jobs.ending_unseen(job, RunFolder(self._workspace.runs / job.run) if job.run else None)

    def _all(self) -> list[Job]:
        return [self._true(job) for job in self._stored()]

    def _stored(self) -> list[Job]:
        """As the files say, by id; what cannot be read (removed this moment, broken) is left out."""
        found = []
        for folder in sorted(self._folder.iterdir()):
            if _ID.fullmatch(folder.name):
                with contextlib.suppress(RunError):
                    found.append(self._as_written(folder))
        return found

    def _as_written(self, folder: Path) -> Job:
        try:
            seen = (folder / jobs.STATE).stat()
        except OSError as error:
            raise RunError(f"{folder} holds no job: {error}") from error
        stamp = (seen.st_mtime_ns, seen.st_ino)
        known = self._read.get(folder.name)
        if known is None or known[0] != stamp:
            known = self._read[folder.name] = (stamp, jobs.read_job(folder))
        return known[1]

    def _true(self, job: Job) -> Job:
        """A job that is said to run, and whose process is gone with nobody to write it down, has ended."""
        if job.state != "running" or self.is_conducted() or jobs.process_of_job(job) is not None:
            return job
        return replace(job, **self._unseen(job))  # type: ignore[arg-type]

    def _wanted_order(self) -> list[str]:
        try:
            return [str(id) for id in read_json(self._order)["queued"]]
        except (RunError, KeyError, TypeError):
            return []

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        """Within this block nobody else changes the queue. Raises StudioError where another does so for too long."""
        until = time.monotonic() + CHANGE_SECONDS
        with contextlib.ExitStack() as stack:
            while True:
                try:
                    stack.enter_context(only_process(self._changes))
                    break
                except InUseError:
                    if time.monotonic() > until:
                        raise StudioError(f"The queue is being changed by another process ({self._changes}).") from None
                    time.sleep(0.01)
            yield


def _began(pid: int) -> float | None:
    """When a process of this one's began; a zombie, which has ended already, still tells."""
    try:
        return psutil.Process(pid).create_time()
    except psutil.Error:
        return None
