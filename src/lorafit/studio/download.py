"""What can be taken away: exports, a run's report, recipe and adapter, corrected answers. Folders come as ZIP."""

from __future__ import annotations

import asyncio
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, cast
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from lorafit.run import RunFolder
from lorafit.studio.corrections import PREFIX
from lorafit.studio.exports import exported, files_in
from lorafit.studio.refusal import StudioError
from lorafit.studio.workspace import Workspace, is_plain

CHUNK = 1 << 20


def routes(workspace: Workspace) -> list[Route]:
    """The addresses below /download. What is not there, or is not given away, is answered with 404."""

    async def export(request: Request) -> Response:
        run, name = request.path_params["run"], request.path_params["name"]
        return await _sent(request, lambda: exported(workspace, run, name), f"{run}-{name}")

    async def export_file(request: Request) -> Response:
        run, name, file = (request.path_params[part] for part in ("run", "name", "file"))
        return await _sent(request, lambda: _child(workspace, exported(workspace, run, name), file), file)

    async def of_run(request: Request) -> Response:
        run, name = request.path_params["run"], request.path_params["name"]
        return await _sent(request, lambda: _of_run(workspace, run, name), f"{run}-{name}")

    async def corrections(request: Request) -> Response:
        name = request.path_params["name"]
        return await _sent(request, lambda: _corrections(workspace, name), name)

    return [
        Route("/download/export/{run}/{name}", export),
        Route("/download/export/{run}/{name}/{file}", export_file),
        Route("/download/run/{run}/{name}", of_run),
        Route("/download/corrections/{name}", corrections),
    ]


def _of_run(workspace: Workspace, run: str, name: str) -> Path:
    folder: RunFolder = workspace.run(run)
    given = {path.name: path for path in (folder.report, folder.recipe, folder.adapter)}
    if name not in given:
        raise StudioError(f"{name!r} of a run is not given away: {', '.join(given)} are.")
    return _child(workspace, folder.path, name)


def _corrections(workspace: Workspace, name: str) -> Path:
    if not (name.startswith(PREFIX) and name.endswith(".jsonl")):
        raise StudioError(f"{name!r} is no file of corrected answers.")
    return _child(workspace, workspace.uploads, name)


def _child(workspace: Workspace, folder: Path, name: str) -> Path:
    """What a folder holds under a plain name. Raises StudioError for what is not there, and for a link out of it."""
    path = workspace.path(str(folder / name))
    if not is_plain(name) or not path.is_relative_to(folder) or not path.exists():
        raise StudioError(f"There is no {name!r} in {workspace.shown(folder)}.")
    return path


async def _sent(request: Request, find: Callable[[], Path], name: str) -> Response:
    try:
        path = await asyncio.to_thread(find)
        if path.is_file():
            return FileResponse(path, filename=name)
        files = await asyncio.to_thread(_checked, path)
    except (StudioError, OSError) as error:
        return PlainTextResponse(str(error), 404)
    headers = {"Content-Disposition": f"attachment; filename*=utf-8''{quote(name, safe='')}.zip"}
    body = iter(()) if request.method == "HEAD" else zipped(path, files, name)
    return StreamingResponse(body, media_type="application/zip", headers=headers)


def _checked(folder: Path) -> list[Path]:
    """The files of a folder. Raises StudioError where one is a link out of it."""
    files = list(files_in(folder))
    for file in files:
        if not file.resolve().is_relative_to(folder):
            raise StudioError(f"{file} is a link out of the folder, which is not given away.")
    return files


def zipped(folder: Path, files: list[Path], name: str) -> Iterator[bytes]:
    """A ZIP archive of the files below `folder`, under `name`/, piece by piece as it is read: weights do not shrink, so
    nothing is compressed, and any size is possible (ZIP64)."""
    made = _Pieces()
    with zipfile.ZipFile(cast(IO[bytes], made), "w", zipfile.ZIP_STORED) as archive:
        for file in files:
            entry = zipfile.ZipInfo.from_file(
                file, f"{name}/{file.relative_to(folder).as_posix()}", strict_timestamps=False
            )
            with file.open("rb") as source, archive.open(entry, "w", force_zip64=True) as target:
                while chunk := source.read(CHUNK):
                    target.write(chunk)
                    yield from made.taken()
    yield from made.taken()


class _Pieces:
    """What zipfile writes to, and is taken from there; without `tell` and `seek`, so that nothing is changed later."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._pieces.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Nothing is held back."""

    def taken(self) -> Iterator[bytes]:
        pieces, self._pieces = self._pieces, []
        yield from pieces
