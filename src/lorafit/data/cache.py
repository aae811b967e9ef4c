"""Tokenised data kept on the disk: made once, found again by what it was made from."""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lorafit.errors import DataError, RunError
from lorafit.run import replace_folder, write_json

HEADER = "header.json"
VARIABLE = "LORAFIT_CACHE"
STALE_SECONDS = 86400.0


def cache_folder() -> Path:
    """Where tokenised data is kept: LORAFIT_CACHE, or ~/.cache/lorafit/data."""
    named = os.environ.get(VARIABLE)
    return Path(named).expanduser() if named else Path.home() / ".cache" / "lorafit" / "data"


def key_of(made_from: dict[str, Any]) -> str:
    """A name for what can be written as JSON, the same for the same content."""
    return hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()[:32]


class Cache:
    """Folders named by key, each whole or not there. An entry holds files and a header with their sizes.

    Processes may use it side by side: an entry is never changed, only renamed into place, and a removed one stays
    readable to whoever has it mapped.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        """limit: bytes that all entries together may take; with 0, entries are temporary and end with the process."""
        self.limit = limit
        self.notes: list[str] = []
        """What there is to say about damaged entries."""
        if not limit:
            folder = Path(tempfile.mkdtemp(prefix="lorafit-"))
            atexit.register(shutil.rmtree, folder, ignore_errors=True)
        self.folder = folder

    def find(self, key: str) -> Path | None:
        """The entry of a key, None where there is no whole one."""
        entry = self.folder / key
        if not entry.is_dir():
            return None
        try:
            sizes = read_header(entry)["sizes"]
            wrong = next((name for name, size in sizes.items() if (entry / name).stat().st_size != size), None)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            wrong = HEADER
        if wrong is not None:
            self.notes.append(f"The tokenised data in {entry} was damaged ({wrong}); it is made anew.")
            return None
        with contextlib.suppress(OSError):  # read-only: then nothing is removed either
            os.utime(entry / HEADER)
        return entry

    def store(self, key: str, fill: Callable[[Path], dict[str, Any]]) -> Path:
        """Have `fill(empty folder)` make an entry and give the content of its header; the oldest make way for it.

        Raises DataError when the disk is full.
        """

        def make(temporary: Path) -> None:
            header = fill(temporary)
            files = [path for path in temporary.rglob("*") if path.is_file()]
            sizes = {path.relative_to(temporary).as_posix(): path.stat().st_size for path in files}
            write_json(temporary / HEADER, {**header, "sizes": sizes})

        entry = self.folder / key
        try:
            replace_folder(entry, make)
        except OSError as error:
            # Another process may have made the same entry meanwhile, and hold it open where that forbids to replace it.
            if found := self.find(key):
                return found
            if not isinstance(error, RunError):
                raise
            raise DataError(
                f"The tokenised data could not be kept in {self.folder}: {error.__cause__}.\nFree some space, or "
                f"name another folder by the variable {VARIABLE}, or set data.cache_gb=0 (a temporary folder)."
            ) from error
        self._make_room(entry)
        return entry

    def _make_room(self, newest: Path) -> None:
        """Remove the entries that were used longest ago, and what killed processes left behind."""
        now = time.time()
        for path in self.folder.glob(".*"):
            with contextlib.suppress(OSError):
                if now - _newest_change(path) > STALE_SECONDS:
                    shutil.rmtree(path, ignore_errors=True)
        if not self.limit:
            return
        used: list[tuple[float, int, Path]] = []
        for header in self.folder.glob(f"*/{HEADER}"):
            with contextlib.suppress(OSError):  # another process removes too
                size = sum(path.stat().st_size for path in header.parent.rglob("*") if path.is_file())
                used.append((header.stat().st_mtime, size, header.parent))
        total = sum(size for _, size, _ in used)
        for _, size, entry in sorted(used):
            if total <= self.limit or entry == newest:
                continue
            remove(entry)
            total -= size


def read_header(entry: Path) -> dict[str, Any]:
    """Raises OSError or ValueError for one that cannot be read."""
    header: dict[str, Any] = json.loads((entry / HEADER).read_text(encoding="utf-8"))
    return header


def remove(entry: Path) -> None:
    """Whole or not at all, as far as others can see: renamed first, which fails where another process needs it."""
    aside = entry.with_name(f".{entry.name}-{os.getpid()}-removed")
    with contextlib.suppress(OSError):
        entry.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)


def _newest_change(folder: Path) -> float:
    return max(path.stat().st_mtime for path in (folder, *folder.rglob("*")))
