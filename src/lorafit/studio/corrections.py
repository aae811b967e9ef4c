"""What a chat leaves behind: corrected answers as training data in uploads/, ratings in .studio/chat/ratings.jsonl."""

from __future__ import annotations

import errno
import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lorafit.run import InUseError, only_process
from lorafit.studio.refusal import StudioError
from lorafit.studio.workspace import Workspace, safe_name

PREFIX = "corrections-"
WAIT_SECONDS = 5.0


def corrections_file(workspace: Workspace, name: str) -> Path:
    """uploads/corrections-NAME.jsonl, of the letters and digits of `name`. Raises StudioError for an empty name, and
    where a link leads out of the workspace."""
    if not name.strip():
        raise StudioError("The data set needs a name.")
    return workspace.path(str(workspace.uploads / safe_name(f"{PREFIX}{name.strip()}.jsonl")))


def add_correction(workspace: Workspace, name: str, messages: Sequence[Mapping[str, str]]) -> Path:
    """Append a conversation as a row of a data set, and give its file. Raises StudioError when it cannot be written."""
    path = corrections_file(workspace, name)
    _append(workspace, path, {"messages": list(messages)})
    return path


def rate(workspace: Workspace, run: str, prompt: Sequence[Mapping[str, str]], answer: str, **more: Any) -> None:
    """Append a rating; of several of one answer the last is meant. more: rating and sampling.

    Raises StudioError where it cannot be written.
    """
    row = {"run": run, "prompt": list(prompt), "answer": answer, **more, "time": time.time()}
    _append(workspace, workspace.hidden / "chat" / "ratings.jsonl", row)


def count_rows(path: Path) -> int:
    """The rows of a data set; 0 where there is none."""
    try:
        with path.open("rb") as file:
            return sum(1 for line in file if line.strip())
    except OSError:
        return 0


def _append(workspace: Workspace, path: Path, row: Mapping[str, Any]) -> None:
    """Add a line, whole or not at all, while nobody else does."""
    line = json.dumps(row, ensure_ascii=False).encode() + b"\n"
    until = time.monotonic() + WAIT_SECONDS
    lock = workspace.hidden / "chat" / "append.lock"
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        while True:
            try:
                with only_process(lock):
                    _write(path, line)
                return
            except InUseError:
                if time.monotonic() > until:
                    raise StudioError(f"{path.name} is being written by another process. Try again.") from None
                time.sleep(0.02)
    except OSError as error:
        raise StudioError(f"{path} could not be written: {error}") from error


def _write(path: Path, line: bytes) -> None:
    with path.open("ab", buffering=0) as file:
        before = file.tell()
        whole = line if _ends_line(path, before) else b"\n" + line
        try:
            if file.write(whole) != len(whole):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(file.fileno())
        except OSError:
            file.truncate(before)
            raise


def _ends_line(path: Path, size: int) -> bool:
    """Whether what is there ends with a line feed: a person's editor may have left it out."""
    if not size:
        return True
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
