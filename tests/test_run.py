"""The run folder on good and bad days: nothing is ever half-written or overwritten."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from lorafit import run
from lorafit.errors import RunError
from lorafit.run import (
    RunFolder,
    Status,
    full_disk_is_said,
    git_revision,
    read_json,
    replace_folder,
    write_json,
    write_text,
)


def full_disk(*_: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "status.json"
    write_text(path, "before")
    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(RunError, match=r"Could not write .*status\.json: .*No space left.*MiB free.*\n.*output=FOLDER"):
        write_text(path, "after")
    assert path.read_text() == "before"
    assert names(tmp_path) == ["status.json"]


def test_a_text_that_cannot_be_encoded_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(UnicodeEncodeError):
        write_text(tmp_path / "rejected.jsonl", "half \ud83e")
    assert names(tmp_path) == []


def test_a_missing_folder_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="Could not write"):
        write_text(tmp_path / "file" / "status.json", "x")


def test_json_comes_back_with_its_schema(tmp_path: Path) -> None:
    write_json(tmp_path / "data.json", {"name": "小镇"})
    assert read_json(tmp_path / "data.json") == {"schema": 1, "name": "小镇"}
    assert "小镇" in (tmp_path / "data.json").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "is missing"),
        (b"{", "cannot be read"),
        (b"\xff", "cannot be read"),
        (b"[" * 100_000, "cannot be read"),
        (b"[]", "should hold a JSON object, found list"),
    ],
)
def test_broken_json_of_a_run_is_named(tmp_path: Path, content: bytes | None, said: str) -> None:
    path = tmp_path / "data.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RunError, match=said):
        read_json(path)


def fill_with(text: str) -> Any:
    return lambda folder: (folder / "weights").write_text(text)


def test_a_folder_is_replaced_whole(tmp_path: Path) -> None:
    target = tmp_path / "run" / "adapter"
    replace_folder(target, fill_with("first"))
    (target / "stale").touch()
    replace_folder(target, fill_with("second"))
    assert names(target) == ["weights"]
    assert (target / "weights").read_text() == "second"
    assert names(target.parent) == ["adapter"]
    # mkdtemp makes private folders; a run is as readable as what else the user makes.
    assert target.stat().st_mode & 0o777 == 0o755


class SafetensorError(Exception):
    """By this name safetensors reports what the operating system said."""


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), RunError),
        (SafetensorError("Error: I/O error: No space left on device (os error 28)"), RunError),
        (SafetensorError("a header that is too large"), SafetensorError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
)
def test_the_old_folder_stays_when_the_new_one_is_not_whole(
    tmp_path: Path, error: BaseException, raised: type[BaseException]
) -> None:
    target = tmp_path / "adapter"
    replace_folder(target, fill_with("old"))

    def half(folder: Path) -> None:
        (folder / "weights").write_text("ha")
        raise error

    with pytest.raises(raised):
        replace_folder(target, half)
    assert (target / "weights").read_text() == "old"
    assert names(tmp_path) == ["adapter"]


def test_the_old_folder_comes_back_when_the_new_one_cannot_take_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "adapter"
    replace_folder(target, fill_with("old"))
    rename = Path.rename

    def refuse(self: Path, other: Path) -> Path:
        if (self / "weights").read_text() == "new":
            full_disk()
        return rename(self, other)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(RunError):
        replace_folder(target, fill_with("new"))
    assert (target / "weights").read_text() == "old"
    assert names(tmp_path) == ["adapter"]


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.mkdtemp", lambda **_: full_disk())
    with pytest.raises(RunError, match="No space left"):
        replace_folder(tmp_path / "adapter", fill_with("x"))


def test_only_errors_of_writing_become_run_errors(tmp_path: Path) -> None:
    for error in (FileNotFoundError(errno.ENOENT, "gone"), ValueError("x"), RunError("said already")):
        with pytest.raises(type(error)) as caught, full_disk_is_said(tmp_path):
            raise error
        assert caught.value is error


def test_an_existing_name_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "runs" / "mine"
    assert RunFolder.create(path).path == path
    (path / "recipe.yaml").write_text("x")
    with pytest.raises(RunError, match=r"exists already.*\n.*name=NEW"):
        RunFolder.create(path)
    assert names(path) == ["recipe.yaml"]


def test_opening_what_is_no_run_lists_the_runs(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"No run folder .*there are no runs in"):
        RunFolder.open(tmp_path / "mine")
    RunFolder.create(tmp_path / "theirs").write_status("finished")
    with pytest.raises(RunError, match=r"No run folder .*runs in .*: theirs\."):
        RunFolder.open(tmp_path / "mine")
    with pytest.raises(RunError, match=r"theirs has no recipe\.yaml, so it is not a run folder"):
        RunFolder.open(tmp_path / "theirs")
    (tmp_path / "theirs" / "recipe.yaml").touch()
    assert RunFolder.open(str(tmp_path / "theirs")).path == tmp_path / "theirs"


def test_the_status_beats_and_carries_the_last_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "HEARTBEAT_SECONDS", 0.005)
    folder = RunFolder.create(tmp_path / "run")
    written, write = threading.Event(), RunFolder.write_status

    def noticed(self: RunFolder, state: Any, **values: Any) -> None:
        write(self, state, **values)
        if values["update"] == 7:
            written.set()

    monkeypatch.setattr(RunFolder, "write_status", noticed)
    with Status(folder) as status:
        first = read_json(folder.status)
        assert (first["state"], first["pid"]) == ("planning", os.getpid())
        status.set("running", updates=9)
        assert read_json(folder.status)["state"] == "running"
        status.set(update=7)  # not written by itself, but with the next heartbeat
        assert written.wait(5)
        beaten = read_json(folder.status)
        assert beaten["heartbeat"] > first["heartbeat"]
        assert (beaten["update"], beaten["updates"]) == (7, 9)
        status.end("finished", "all is well")
    last = read_json(folder.status)
    assert (last["state"], last["message"], last["update"]) == ("finished", "all is well", 7)
    assert names(folder.path) == ["status.json"]


def test_the_last_word_is_written_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Nothing can be written while the reserve is held: only giving it up makes room.
    folder = RunFolder.create(tmp_path / "run")
    reserve = folder.path / ".reserve"
    with Status(folder) as status:
        assert reserve.stat().st_size == run.RESERVE_BYTES
        monkeypatch.setattr(os, "fsync", lambda descriptor: full_disk() if reserve.exists() else None)
        with pytest.raises(RunError):
            status.set("running")
        status.end("failed", "the disk is full")
    last = json.loads(folder.status.read_text())
    assert (last["state"], last["message"]) == ("failed", "the disk is full")


def test_a_heartbeat_that_cannot_be_written_does_not_stop_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "HEARTBEAT_SECONDS", 0.001)
    folder = RunFolder.create(tmp_path / "run")
    with Status(folder) as status:
        failures = threading.Semaphore(0)

        def fail(self: RunFolder, state: Any, **values: Any) -> None:
            failures.release()
            raise RunError("no space")

        with monkeypatch.context() as patch:
            patch.setattr(RunFolder, "write_status", fail)
            # The thread goes on after the first failure.
            assert failures.acquire(timeout=5)
            assert failures.acquire(timeout=5)
        status.end("finished", "")
    assert read_json(folder.status)["state"] == "finished"


def test_the_git_revision_and_whether_there_are_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    assert git_revision() is None
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q"], [*identity, "commit", "-q", "--allow-empty", "-m", "x"]):
        subprocess.run(["git", *command], check=True, capture_output=True)
    revision = git_revision()
    assert revision is not None
    assert len(revision) == 40
    (tmp_path / "new").touch()
    assert git_revision() == f"{revision}+changes"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_revision() is None
