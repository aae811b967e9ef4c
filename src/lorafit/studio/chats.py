"""The chat: a child `lorafit serve` for each base, found again after a restart; what it is asked."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import shutil
import subprocess
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

import psutil

from lorafit.studio.answering import End, Talks
from lorafit.studio.chat_server import Server, launch, read_server
from lorafit.studio.speakers import Speaker, Speakers, Weights
from lorafit.studio.workspace import Workspace

IDLE_SECONDS = 15 * 60
SWEEP_SECONDS = 30.0
NEW_SECONDS = 60.0  # a folder so young may be one that another studio is filling
Say = Callable[[str], None]


def _silent(line: str) -> None:
    pass


class Chats:
    """Starts, finds, asks and stops the servers of a workspace."""

    def __init__(self, workspace: Workspace) -> None:
        self.speakers = Speakers(workspace)
        self.talks = Talks(workspace, self.stream)
        self._workspace = workspace
        self._folder = workspace.hidden / "chat" / "servers"
        self._pages: dict[str, frozenset[Weights]] = {}
        self._last: dict[Path, float] = {}  # when each server was last of use
        self._children: list[subprocess.Popen[bytes]] = []
        self._starting, self._adding = asyncio.Lock(), asyncio.Lock()

    def servers(self) -> list[Server]:
        """Those that run, started by this studio or by one before it."""
        self._children = [child for child in self._children if child.poll() is None]
        return [server for server in map(read_server, sorted(self._folder.glob("*"))) if server is not None]

    def server_of(self, speaker: Speaker) -> Server | None:
        return next((server for server in self.servers() if server.weights == speaker.weights), None)

    def hold(self, page: str, speakers: Sequence[Speaker]) -> None:
        """An open page keeps what it has chosen from being stopped as idle. page: an id of its own."""
        self._pages[page] = frozenset(speaker.weights for speaker in speakers)

    def leave(self, page: str) -> None:
        """A page was closed."""
        held = self._pages.pop(page, frozenset())
        for server in self.servers():
            if server.weights in held:
                self._last[server.folder] = time.monotonic()

    async def stop(self, server: Server) -> None:
        """End a server and give its memory back; running answers have some seconds to end."""
        await asyncio.to_thread(server.end)
        self._last.pop(server.folder, None)

    async def tend(self) -> None:
        """Sweep for as long as the studio runs; first the run folders are read, so that no page has to wait for it."""
        with contextlib.suppress(OSError):  # the workspace is gone: the pages say so
            await asyncio.to_thread(self.speakers.all)
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            with contextlib.suppress(OSError):
                await self.sweep()

    def close(self) -> None:
        """End all servers, without waiting for it: after the studio nobody asks them, and they hold much memory."""
        for server in self.servers():
            if process := server.process():
                with contextlib.suppress(psutil.Error):  # it has ended meanwhile
                    process.terminate()

    async def sweep(self) -> None:
        """Stop what nobody has used for a quarter of an hour and no open page has chosen."""
        for server in await asyncio.to_thread(self.servers):
            last = self._last.setdefault(server.folder, time.monotonic())
            if not self._is_held(server) and time.monotonic() - last > IDLE_SECONDS:
                await self.stop(server)

    def _is_held(self, server: Server) -> bool:
        return any(server.weights in chosen for chosen in self._pages.values())

    async def ready(self, speaker: Speaker, say: Say = _silent) -> tuple[Server, str]:
        """The server that answers for a speaker, and the speaker's name there; started, or told of the adapter, when
        need be. say: is told the last line of the server's log whenever it changes while the model loads.

        Raises StudioError when the server does not start or refuses the adapter.
        """
        async with self._starting:
            server = await asyncio.to_thread(self.server_of, speaker) or await self._start(speaker)
        self._last[server.folder] = time.monotonic()
        if server.port is None:
            server = await server.loaded(say)
        if not speaker.is_adapter:
            return server, server.first
        async with self._adding:
            there = await asyncio.to_thread(read_server, server.folder)
            server = there or server
            if speaker.served not in server.models:
                await server.call("POST", "/v1/adapters", {"name": speaker.served, "path": str(speaker.run)})
                server = await asyncio.to_thread(server.with_changes, models=(*server.models, speaker.served))
        return server, speaker.served

    async def _start(self, speaker: Speaker) -> Server:
        """A child for a speaker's weights; those that no open page has chosen end before it, for their memory."""
        for other in await asyncio.to_thread(self.servers):
            if not self._is_held(other):
                await self.stop(other)
        await asyncio.to_thread(self._remove_ended)
        folder = self._folder / secrets.token_hex(8)
        server, child = await asyncio.to_thread(launch, folder, speaker, self._workspace.root)
        self._children.append(child)
        return server

    def _remove_ended(self) -> None:
        for folder in self._folder.glob("*"):
            with contextlib.suppress(OSError):  # gone meanwhile
                if time.time() - folder.stat().st_mtime > NEW_SECONDS and read_server(folder) is None:
                    shutil.rmtree(folder, ignore_errors=True)

    async def stream(
        self,
        speaker: Speaker,
        messages: Sequence[Mapping[str, str]],
        sampling: Mapping[str, Any],
        say: Say = _silent,
        end: End | None = None,
    ) -> AsyncGenerator[str]:
        """The pieces of an answer as they are decoded. Cancelled or closed, it closes the request, and decoding stops.

        sampling: temperature, top_p, max_tokens and seed, as in OpenAI's interface; say: as in `ready`; end: is filled
        when the answer is whole. Raises StudioError when there is none.
        """
        server, model = await self.ready(speaker, say)
        asked = {"model": model, "messages": list(messages), "stream": True, **sampling}
        events = server.events("/v1/chat/completions", asked | {"stream_options": {"include_usage": True}})
        end = end or End()
        try:
            async with aclosing(events):
                async for event in events:
                    for choice in event["choices"]:
                        end.reason = choice["finish_reason"] or ""
                        if piece := choice["delta"].get("content"):
                            yield piece
                    if event.get("usage"):
                        end.tokens = event["usage"]["completion_tokens"]
        finally:
            self._last[server.folder] = time.monotonic()
