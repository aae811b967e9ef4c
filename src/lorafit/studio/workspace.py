"""The folder that the studio works in, and the border around it: what comes from a page never leaves the folder."""

from __future__ import annotations

import asyncio
import contextlib
import glob
import os
import re
import shutil
import tempfile
import time
import unicodedata
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path, PureWindowsPath
from typing import Any, BinaryIO
from urllib.parse import unquote

from lorafit.data.readers.dataset_info import find_entry
from lorafit.data.readers.find import ROW_ENDINGS, natural
from lorafit.data.readers.opened import COMPRESSED, DataFile
from lorafit.errors import DataError, RunError
from lorafit.run import RunFolder
from lorafit.studio.refusal import StudioError

UPLOAD_BYTES = 2 << 30
# Documents that lorafit reads as text, without source code: nothing that is uploaded can be run.
DOCUMENTS = frozenset({
    ".pdf", ".docx", ".html", ".htm", ".xhtml", ".epub", ".md", ".markdown", ".mdx", ".ipynb", ".txt", ".text",
    ".rst", ".adoc",
})  # fmt: skip
_ROWS = ROW_ENDINGS | {".txt"}  # which may be compressed too
_PART = ".part"
_STALE_SECONDS = 86_400  # an upload that began so long ago: its studio was killed
_NAME_BYTES = 120
_WITH_SPLIT = re.compile(r"(.+)\[\w+\]")  # as data.train names a split
_CODE_FILE = re.compile(r"\.pyw?\s*:", re.IGNORECASE)
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(?=\.|$)", re.IGNORECASE)  # devices, on Windows


class Workspace:
    """`root` with runs/, uploads/, exports/ and .studio/."""

    def __init__(self, root: Path, allowed: Sequence[Path] = (), upload_bytes: int = UPLOAD_BYTES) -> None:
        """allowed: folders outside that may be read too. Raises StudioError where the folders cannot be made."""
        self.root = root.expanduser().resolve()
        self._inside = (self.root, *(folder.expanduser().resolve() for folder in allowed))
        self._upload_bytes = upload_bytes
        self.runs, self.uploads, self.exports = (self.root / name for name in ("runs", "uploads", "exports"))
        self.hidden = self.root / ".studio"
        try:
            for folder in (self.runs, self.uploads, self.exports, self.hidden):
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StudioError(f"{error.filename} cannot be made: {error.strerror}. Choose another folder.") from error
        _remove_stale(self.uploads)

    def path(self, text: str) -> Path:
        """The path that a page names, absolute, all links followed; relative ones are of `root`.

        Raises StudioError for a path outside, also where percent signs or Windows' ways of writing hide it.
        """
        below = text.removeprefix(f"{self.root}{os.sep}")  # the workspace itself may be called 100%25
        for written in (text, below, unquote(below), unquote(below).replace("\\", "/")):
            foreign = os.name != "nt" and PureWindowsPath(written).drive
            if foreign or not text.strip() or not self._is_inside(written):
                raise self._outside(text)
        return self._resolved(text)

    def shown(self, path: Path) -> str:
        """A path for people: relative to the workspace where it is in it."""
        return path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else str(path)

    def run(self, name: str) -> RunFolder:
        """The run folder of a plain name. Raises StudioError where there is none."""
        if not is_plain(name):
            raise StudioError(f"{name!r} is not the name of a run: it has to be the name of a folder in runs/.")
        try:
            return RunFolder.open(self.path(str(self.runs / name)))
        except RunError:
            raise StudioError(f"There is no run {name!r} in {self.runs}.") from None

    def check_recipe(self, content: Mapping[str, Any]) -> None:
        """Look at every text of a recipe before it is parsed.

        Raises StudioError for a path outside the workspace, and for what would run code.
        """
        refuse_code(content)
        for key, text in _texts(content, ""):
            for one in self._meant(key, text):
                if not self._is_inside(one):
                    raise StudioError(f"{key}: {self._outside(text)}")

    def data_files(self) -> list[Path]:
        """The files that can be chosen as data: in uploads/ and at the top of the workspace, the newest first."""
        files = [path for folder in (self.uploads, self.root) for path in folder.iterdir() if self._is_data(path)]
        return sorted(files, key=lambda path: (-path.stat().st_mtime, natural(path.name)))

    async def save_upload(self, name: str, chunks: AsyncIterator[bytes]) -> Path:
        """Write an uploaded file to uploads/, under a name that is harmless and not taken; whole or not there.

        Raises StudioError for a file that lorafit does not read, that is empty or too large, and for a full disk.
        """
        safe = safe_name(name)
        if not is_data_name(safe):
            raise StudioError(
                f"{name!r} is not a file that lorafit trains on. It reads {', '.join(sorted(_ROWS | DOCUMENTS))} "
                f"and .zip; rows also compressed ({', '.join(COMPRESSED)})."
            )
        try:
            with tempfile.TemporaryDirectory(_PART, ".", self.uploads) as beside:
                part = Path(beside) / safe
                with part.open("wb") as file:
                    await self._fill(file, name, chunks)
                return _put(part, self.uploads / safe)
        except OSError as error:
            raise StudioError(f"{name!r} could not be written to {self.uploads}: {error.strerror}.") from error

    async def _fill(self, file: BinaryIO, name: str, chunks: AsyncIterator[bytes]) -> None:
        size = 0
        async for chunk in chunks:
            size += len(chunk)
            if size > self._upload_bytes:
                raise StudioError(
                    f"{name!r} is larger than the {self._upload_bytes:,} bytes that can be uploaded. "
                    f"Copy it into {self.root} instead, and choose it there."
                )
            await asyncio.to_thread(file.write, chunk)
        if not size:
            raise StudioError(f"{name!r} is empty.")
        file.flush()
        await asyncio.to_thread(os.fsync, file.fileno())

    def _meant(self, key: str, text: str) -> Iterator[str]:
        """The paths that a text of a recipe can stand for: itself, without its split, what it matches or registers."""
        names = [text, *(found[1] for found in [_WITH_SPLIT.fullmatch(text)] if found)]
        for name in names:
            yield name
            if key.startswith(("data.train", "data.held_out")):
                yield from self._registered(name)
            if glob.has_magic(name) and self._is_inside(name):
                yield from glob.iglob(name, root_dir=self.root, recursive=True)  # noqa: PTH207 - absolute ones too

    def _registered(self, name: str) -> Iterator[str]:
        """Where a dataset_info.json sends a name."""
        if not self._is_inside(name):
            return  # refused by who asks
        for folder in (self.root, self.root / "data"):
            # Nothing can be read through a registry that is broken, or by a name that is too long.
            with contextlib.suppress(DataError, OSError):
                entry = find_entry(str(folder / name))
                if entry:
                    yield entry.source

    def _is_data(self, path: Path) -> bool:
        with contextlib.suppress(OSError):  # gone meanwhile
            named = is_data_name(path.name) and not path.name.startswith(".")
            return named and self._is_inside(str(path)) and path.is_file() and path.stat().st_size > 0
        return False

    def _is_inside(self, text: str) -> bool:
        try:
            path = self._resolved(text)
        except (OSError, RuntimeError, ValueError):  # too long, links in a circle, NUL
            return False
        return any(path.is_relative_to(folder) for folder in self._inside)

    def _resolved(self, text: str) -> Path:
        return (self.root / os.path.expanduser(text)).resolve()  # noqa: PTH111 - Path.expanduser raises for an unknown user

    def _outside(self, text: str) -> StudioError:
        return StudioError(
            f"{text!r} is not a path within {self.root}, and the studio stays in there. "
            "Copy what you need into that folder, or upload it."
        )


def refuse_code(content: Mapping[str, Any]) -> None:
    """Raises StudioError where a text of a recipe names code, which would be run as soon as the recipe is parsed."""
    for key, text in _texts(content, ""):
        if _CODE_FILE.search(text) or ("metrics" in key.split(".") and ":" in text):
            raise StudioError(
                f"{key}: {text!r} would run code of its own, which the studio does not. "
                "Name a built-in metric, or run the recipe with `lorafit train` in a terminal."
            )


def is_data_name(name: str) -> bool:
    """Whether lorafit reads files of this name as rows or documents."""
    suffix, ending = Path(name).suffix.lower(), DataFile(Path(name)).ending
    return ending in _ROWS if suffix in COMPRESSED else suffix in _ROWS | DOCUMENTS | {".zip"}


def safe_name(name: str) -> str:
    """A file name of letters and digits of any script, combining marks, and `-_.() `; its endings are kept.

    What has a meaning in a path, a pattern or a terminal becomes `_`; the folders before it are left out.
    """
    last = re.split(r"[\\/]", unicodedata.normalize("NFC", name))[-1]
    kept = "".join(c if unicodedata.category(c)[0] in "LMN" or c in "-_.() " else "_" for c in last)
    kept = kept.strip(" .-")  # neither hidden nor like an option
    stem, endings = _stem_and_endings(f"_{kept}" if _RESERVED.match(kept) else kept)
    return stem.encode()[:_NAME_BYTES].decode(errors="ignore") + endings


def _stem_and_endings(name: str) -> tuple[str, str]:
    path = Path(name)
    inner = Path(path.stem).suffix if path.suffix.lower() in COMPRESSED else ""
    endings = f"{inner}{path.suffix}"
    return (name.removesuffix(endings), endings) if endings else (name, "")


def _put(part: Path, wanted: Path) -> Path:
    """Rename a whole file to the first free one of name.json, name-2.json, ..."""
    stem, endings = _stem_and_endings(wanted.name)
    for number in count(1):
        target = wanted.with_name(f"{stem}{f'-{number}' if number > 1 else ''}{endings}")
        try:
            target.open("x").close()  # takes the name, or fails, whoever else wants it
        except FileExistsError:
            continue
        part.replace(target)
        return target
    raise AssertionError("there is always a next number")


def is_plain(name: str) -> bool:
    """Whether it names something in a folder, and nothing elsewhere."""
    return bool(name.strip(". ")) and not re.search(r"[/\\\x00-\x1f]", name)


def _remove_stale(folder: Path) -> None:
    for part in folder.glob(f".*{_PART}"):
        with contextlib.suppress(OSError):  # another studio was faster
            if time.time() - part.stat().st_mtime > _STALE_SECONDS:
                shutil.rmtree(part)


def _texts(value: Any, key: str) -> Iterator[tuple[str, str]]:
    """(dotted key, text) of every text in nested mappings and lists."""
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _texts(inner, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list | tuple | set | frozenset):
        for inner in value:
            yield from _texts(inner, key)
