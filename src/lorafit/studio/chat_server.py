"""One child `lorafit serve`: how it is started, found again, asked and ended.

Its folder has server.json (which process, port, models), `token` (for this user alone; the child has it from its
environment) and log.txt.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import httpx2
import psutil

from lorafit.errors import RunError
from lorafit.run import read_json, write_json
from lorafit.serve.place import TOKEN
from lorafit.studio.jobs import environment, process_of, tail
from lorafit.studio.refusal import StudioError
from lorafit.studio.speakers import Speaker, Weights

POLL_SECONDS = 0.2
# As long as `lorafit serve` lets running answers end, and some more.
STOP_SECONDS = 15.0
LOG_LINES = 12
STATE = "server.json"
SERVE = (sys.executable, "-m", "lorafit.cli.main", "serve")
_SERVING = re.compile(r"^serving on http://127\.0\.0\.1:(\d+)/v1 ", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Server:
    """One child. started: the process's start, in seconds since the epoch, which tells it from a later process with the
    same number. port: None until it answers. first: the model that it was started with, a base or a run by itself.
    models: the adapters that it knows, by their names there."""

    folder: Path
    weights: Weights
    pid: int
    started: float
    port: int | None = None
    first: str = ""
    models: tuple[str, ...] = ()

    def process(self) -> psutil.Process | None:
        """The running process; None when it has ended."""
        return process_of(self.pid, self.started)

    def log(self) -> str:
        """The end of it."""
        return tail(self.folder / "log.txt").replace("\r", "\n")

    def last_lines(self, count: int = LOG_LINES) -> list[str]:
        return [line.rstrip() for line in self.log().splitlines() if line.strip()][-count:]

    def with_changes(self, **changes: Any) -> Server:
        """The server as it is on disk now, with changes that are written there."""
        changed = replace(read_server(self.folder) or self, **changes)
        changed.save()
        return changed

    def save(self) -> None:
        content = asdict(self)
        write_json(self.folder / STATE, {name: content[name] for name in content if name != "folder"})

    async def loaded(self, say: Callable[[str], None]) -> Server:
        """Wait until it answers. say: is told the last line of the log whenever that changes,
        the empty one before there is any.

        Raises StudioError with the end of its log when it ends instead.
        """
        shown = None
        while (found := _SERVING.search(await asyncio.to_thread(self.log))) is None:
            if self.process() is None:
                raise StudioError(f"The chat's server did not start. The end of its log:\n{self._said()}")
            line = "".join(self.last_lines(1)).strip()
            if line != shown:
                say(shown := line)
            await asyncio.sleep(POLL_SECONDS)
        ready = replace(self, port=int(found[1]))
        content = await ready.call("GET", "/v1/models")
        return ready.with_changes(port=ready.port, first=str(content["data"][0]["id"]))

    async def call(self, method: str, path: str, content: Mapping[str, Any] | None = None) -> Any:
        """The JSON that it replies with. Raises StudioError with its reason for a refusal."""
        async with self._asking() as client:
            response = await client.request(method, path, json=content)
            if response.status_code != 200:
                raise StudioError(_refusal(response.content))
            return response.json()

    async def events(self, path: str, content: Mapping[str, Any]) -> AsyncGenerator[dict[str, Any]]:
        """What it streams in reply; closing this closes the request. Raises StudioError as `call` does."""
        async with self._asking() as client, client.stream("POST", path, json=content) as response:
            if response.status_code != 200:
                raise StudioError(_refusal(await response.aread()))
            async for each in _events(response):
                if "error" in each:
                    raise StudioError(str(each["error"]["message"]))
                yield each

    @contextlib.asynccontextmanager
    async def _asking(self) -> AsyncIterator[httpx2.AsyncClient]:
        """A client that never goes through a proxy. The server limits how long an answer takes."""
        try:
            token = (self.folder / "token").read_text(encoding="ascii")
            async with httpx2.AsyncClient(
                base_url=f"http://127.0.0.1:{self.port}",
                headers={"Authorization": f"Bearer {token}"},
                timeout=httpx2.Timeout(None, connect=10.0),
                trust_env=False,
            ) as client:
                yield client
        except (OSError, httpx2.HTTPError) as error:
            if self.process() is not None:
                raise StudioError(f"The chat's server does not answer: {error or type(error).__name__}.") from error
            raise StudioError(f"The chat's server has ended. The end of its log:\n{self._said()}") from error

    def _said(self) -> str:
        return "\n".join(self.last_lines()) or "There is none: it was stopped."

    def end(self) -> None:
        """Stop the process, which lets running answers end for some seconds; its folder goes too."""
        process = self.process()
        if process is not None:
            with contextlib.suppress(psutil.Error):
                process.terminate()
                try:
                    process.wait(STOP_SECONDS)
                except psutil.TimeoutExpired:
                    process.kill()
                    process.wait(STOP_SECONDS)
        shutil.rmtree(self.folder, ignore_errors=True)


def read_server(folder: Path) -> Server | None:
    """The server of a folder, when it runs."""
    try:
        content = read_json(folder / STATE)
        weights = content["weights"]
        alone = (str(weights["alone"][0]), int(weights["alone"][1])) if weights["alone"] else None
        server = Server(
            folder,
            Weights(weights["base"], weights["revision"], weights["quantization"], alone),
            int(content["pid"]),
            float(content["started"]),
            content["port"],
            content["first"],
            tuple(content["models"]),
        )
    except (RunError, KeyError, TypeError, ValueError):  # gone, or of another version
        return None
    return server if server.process() is not None else None


def launch(folder: Path, speaker: Speaker, root: Path) -> tuple[Server, subprocess.Popen[bytes]]:
    """Start a child that serves a speaker. folder: a new one of its own; root: where the run's paths start.

    Raises StudioError when it cannot be started at all.
    """
    arguments = _arguments(speaker)
    try:
        folder.mkdir(parents=True, mode=0o700)
        token = secrets.token_urlsafe(32)
        _write_secret(folder / "token", token)
        with (folder / "log.txt").open("wb") as log:
            child = subprocess.Popen(
                [*SERVE, *arguments, "--port", "0"],
                cwd=root,
                env={**environment(), TOKEN: token},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
    except OSError as error:
        raise StudioError(f"The chat's server could not be started: {error}") from error
    try:
        started = psutil.Process(child.pid).create_time()
    except psutil.Error:  # it has ended already, and its log says why
        started = 0.0
    models = (speaker.served,) if speaker.weights.alone is None and speaker.run is not None else ()
    server = Server(folder, speaker.weights, child.pid, started, models=models)
    server.save()
    return server, child


def _arguments(speaker: Speaker) -> list[str]:
    """What to serve. A base with an adapter on it takes its settings from the adapter's recipe."""
    weights = speaker.weights
    if weights.alone is not None:
        return [weights.alone[0]]
    if speaker.run is not None:
        return ["--adapter", f"{speaker.served}={speaker.run}"]
    if weights.revision:
        raise StudioError(
            f"Revision {weights.revision} of {weights.base} cannot be chatted with by itself: choose a run with an "
            "adapter on it too."
        )
    return [f"--base={weights.base}", "--quantization", weights.quantization]


def _write_secret(path: Path, text: str) -> None:
    """A new file that only this user can read."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
        file.write(text)


async def _events(response: httpx2.Response) -> AsyncIterator[dict[str, Any]]:
    """Server-sent events, up to [DONE]. Lines end at a line feed alone: an answer may hold other line separators."""
    rest = b""
    async for chunk in response.aiter_bytes():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            data = line.removeprefix(b"data:").strip()
            if data == b"[DONE]":
                return
            if line.startswith(b"data:"):
                yield json.loads(data)


def _refusal(body: bytes) -> str:
    try:
        return str(json.loads(body)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return body.decode(errors="replace")[:500] or "The chat's server gave no reason."
