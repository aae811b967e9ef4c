"""The run folder: paths, status with a heartbeat, and files that are never half-written."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

from lorafit.errors import RunError

SCHEMA = 1
HEARTBEAT_SECONDS = 5.0
RESERVE_BYTES = 64 * 1024
LOCK = ".lock"

State = Literal["queued", "planning", "running", "interrupted", "failed", "finished"]


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all: a temporary file beside it, synced, then renamed over it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise disk_error(error, path) from error
        raise


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write `content` as JSON with the schema number first, whole or not at all."""
    write_text(path, json.dumps({"schema": SCHEMA, **content}, ensure_ascii=False, indent=2) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object of a run folder. Raises RunError when it is missing or broken."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunError(f"{path} is missing: {path.parent} is not a whole run folder.") from None
    except (OSError, ValueError, RecursionError) as error:  # no JSON, no UTF-8, or lists within lists without end
        raise RunError(f"{path} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise RunError(f"{path} should hold a JSON object, found {type(content).__name__}.")
    return content


def replace_folder(target: Path, fill: Callable[[Path], None]) -> None:
    """Make the folder `target` anew through `fill(temporary folder)`; the old one stays until the new one is whole."""
    with full_disk_is_said(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
        old = temporary.with_name(f"{temporary.name}-old")
        try:
            fill(temporary)
            temporary.chmod(0o755)
            _sync(temporary)
            if target.exists():
                target.rename(old)
            temporary.rename(target)
            _sync_folder(target.parent)
        except BaseException:
            if old.exists() and not target.exists():
                old.rename(target)
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        shutil.rmtree(old, ignore_errors=True)


def _sync(folder: Path) -> None:
    """Have the system write out every file below `folder`, and the folder, before it goes on."""
    for path in folder.rglob("*"):
        if path.is_dir():
            _sync_folder(path)
        else:
            with path.open("r+b") as file:
                os.fsync(file.fileno())
    _sync_folder(folder)


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # no handle of a folder can be had there
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def link_or_copy(source: Path, target: Path) -> None:
    """Have the files of one folder in another, new one, without using their space twice where the disk can do so.

    What lorafit writes is never changed in place, so that a link keeps what it linked.
    """

    def link(one: str, other: str) -> None:
        try:
            os.link(one, other)
        except OSError:
            shutil.copyfile(one, other)

    shutil.copytree(source, target, copy_function=link, dirs_exist_ok=True)


def is_disk_fault(error: BaseException) -> bool:
    """Whether an exception says that nothing more can be written.

    safetensors raises its own error type, with the operating system's words in the message.
    """
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES):
        return True
    return type(error).__name__ == "SafetensorError" and "os error" in str(error)


def disk_error(error: BaseException, path: Path) -> RunError:
    try:
        free = f"{shutil.disk_usage(path.parent).free / 2**20:.1f} MiB free there"
    except OSError:
        free = "the folder cannot be looked at"
    return RunError(
        f"Could not write {path}: {error} ({free}).\n"
        "What was saved before is untouched. Free some space or choose another folder with `output=FOLDER`."
    )


def check_free(path: Path) -> None:
    """Raises RunError when a run of that name exists: nothing is ever overwritten."""
    if path.exists():
        raise _taken(path)


def _taken(path: Path) -> RunError:
    return RunError(
        f"The run folder {path} exists already, and a run never overwrites another.\n"
        f"Choose another name with `name=NEW` (or --name NEW), or remove {path} yourself."
    )


class RunFolder:
    """`runs/<name>/`: where one run keeps everything. Reading needs only the path; nothing lives elsewhere."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.recipe = path / "recipe.yaml"
        self.environment = path / "environment.json"
        self.data = path / "data.json"
        self.plan = path / "plan.json"
        self.template = path / "template.jinja"
        self.rejected = path / "rejected.jsonl"
        self.metrics = path / "metrics.jsonl"
        self.status = path / "status.json"
        self.checkpoints = path / "checkpoints"
        self.adapter = path / "adapter"
        self.model = path / "model"
        self.evaluation = path / "evaluation"
        self.progress = self.evaluation / "progress.jsonl"
        self.self_check = path / "self_check"
        self.evidence = path / "evidence"
        self.hardware = path / "hardware.jsonl"
        self.findings = path / "findings.json"
        self.report = path / "report.html"
        self.tensorboard = path / "tensorboard"
        self.wandb = path / "wandb"

    @classmethod
    def create(cls, path: Path) -> RunFolder:
        """Make a new run folder. Raises RunError when the name is taken: nothing is ever overwritten."""
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            raise _taken(path) from None
        except OSError as error:
            raise disk_error(error, path) from error
        return cls(path)

    @classmethod
    def open(cls, path: str | Path) -> RunFolder:
        """Open an existing run folder. Raises RunError when it is not one."""
        folder = cls(Path(path))
        if not folder.path.is_dir():
            raise RunError(f"No run folder {folder.path}: {_near_runs(folder.path)}")
        if not folder.recipe.is_file():
            raise RunError(f"{folder.path} has no recipe.yaml, so it is not a run folder. {_near_runs(folder.path)}")
        return folder

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Within this block no other process works in this folder; the system lets go when the process dies.

        Raises RunError when another one does.
        """
        try:
            with only_process(self.path / LOCK):
                yield
        except InUseError:
            raise RunError(
                f"Another process works in {self.path}. Wait for it or stop it (its number is in status.json)."
            ) from None

    def sweep(self) -> None:
        """Remove what a killed process left half-written; only for who holds the lock."""
        for folder in (self.path, self.checkpoints):
            for path in folder.glob(".*"):
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                elif path.name != LOCK:
                    path.unlink()

    def write_status(self, state: State, **values: Any) -> None:
        write_json(self.status, {"state": state, "pid": os.getpid(), "heartbeat": time.time(), **values})


class InUseError(Exception):
    """Another process has the lock."""


@contextlib.contextmanager
def only_process(lock: Path) -> Iterator[None]:
    """Within this block no other process is in one with the same lock; the system lets go when the process dies.

    lock: a file that is made, and stays. Raises InUseError at once where another process is, RunError where the file
    cannot be made.
    """
    try:
        file = lock.open("a")
    except OSError as error:
        raise disk_error(error, lock) from error
    with file:
        try:
            _lock(file.fileno())
        except OSError:
            raise InUseError from None
        yield


def _lock(descriptor: int) -> None:
    """Raises OSError when another process has the lock."""
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _near_runs(path: Path) -> str:
    runs = sorted(status.parent.name for status in path.parent.glob("*/status.json"))
    return f"runs in {path.parent}: {', '.join(runs)}." if runs else f"there are no runs in {path.parent}."


class Status:
    """Keeps status.json up to date: a thread rewrites it every few seconds, so a dead process shows.

    A small reserve file is held beside it and given up when the disk is full, so that the last word can be written.
    """

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self._values: dict[str, Any] = {"update": 0, "updates": 0, "message": ""}
        self._state: State = "planning"
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._reserve = folder.path / ".reserve"

    def __enter__(self) -> Status:
        try:
            self._write()
        except RunError:  # not even this fits: leave no empty run behind
            with contextlib.suppress(OSError):
                (self.folder.path / LOCK).unlink(missing_ok=True)
                self.folder.path.rmdir()
            raise
        with contextlib.suppress(OSError):
            self._reserve.write_bytes(b"\0" * RESERVE_BYTES)
        threading.Thread(target=self._beat, name="heartbeat", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        with contextlib.suppress(OSError):
            self._reserve.unlink(missing_ok=True)

    def set(self, state: State | None = None, **values: Any) -> None:
        """Change state or values; a change of state is written at once, values with the next heartbeat."""
        with self._lock:
            self._values.update(values)
            changed = state is not None and state != self._state
            self._state = state or self._state
        if changed:
            self._write()

    def end(self, state: State, message: str) -> None:
        """The last word of a run. Writes even on a full disk, by giving up the reserve."""
        self._ended.set()
        with contextlib.suppress(OSError):
            self._reserve.unlink(missing_ok=True)
        self.set(message=message)
        self._state = state
        self._write()

    def _write(self) -> None:
        with self._lock:
            self.folder.write_status(self._state, **self._values)

    def _beat(self) -> None:
        while not self._ended.wait(HEARTBEAT_SECONDS):
            # A full disk is reported by the write that matters (metrics, adapter), not by the heartbeat.
            with contextlib.suppress(RunError):
                self._write()


def git_revision() -> str | None:
    """The git revision of the working folder, with `+changes` when it is not clean; None outside a checkout."""
    try:
        head = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10)
        if head.returncode:
            return None
        changes = subprocess.run(["git", "status", "--porcelain"], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return head.stdout.strip() + ("+changes" if changes.stdout.strip() else "")


@contextlib.contextmanager
def full_disk_is_said(path: Path) -> Iterator[None]:
    """Turn an error that says that nothing can be written under `path` into a RunError with the free space in it."""
    try:
        yield
    except Exception as error:
        if not is_disk_fault(error):
            raise
        raise disk_error(error, path) from error
