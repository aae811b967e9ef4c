"""The models that the chat has in memory: loaded on demand, and let go of."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from nicegui import ui

from lorafit.errors import LorafitError
from lorafit.studio.chat_server import Server
from lorafit.studio.frame import follow, notice
from lorafit.studio.speakers import Speaker, Weights
from lorafit.studio.studio import Studio
from lorafit.studio.words import t

LOOK_SECONDS = 2.0


class ServerList:
    """A line for each model that the chosen speakers need, and for others that are still in memory."""

    def __init__(self, studio: Studio) -> None:
        self._studio, self._chats = studio, studio.chats
        self._speakers: Sequence[Speaker] = ()
        self._shown: object = None
        self._fault = ui.element("div").classes("stacked")
        self._box = ui.element("div").classes("stacked")
        follow(self.refresh, LOOK_SECONDS)

    def of(self, speakers: Sequence[Speaker]) -> None:
        """Show what these need."""
        self._speakers = speakers
        self._show(*self._look())

    async def refresh(self) -> None:
        self._show(*await asyncio.to_thread(self._look))

    def _look(self) -> tuple[list[Server], bool]:
        """The servers that run, and whether a job of the queue does."""
        return self._chats.servers(), any(job.state == "running" for job in self._studio.queue.jobs())

    def _show(self, servers: list[Server], trains: bool) -> None:
        running = {server.weights: server for server in servers}
        needed = dict.fromkeys(speaker.weights for speaker in self._speakers)
        now = (list(running.values()), list(needed), trains)
        if now == self._shown:
            return
        self._shown = now
        self._box.clear()
        with self._box:
            for weights in dict.fromkeys([*needed, *running]):
                self._line(weights, running.get(weights))
            if trains:
                notice(t("Other work runs on this machine: a model that is loaded now shares its memory."), "warning")

    def _line(self, weights: Weights, server: Server | None) -> None:
        with ui.element("div").classes("inline"):
            ui.label(_name(weights))
            if server is None:
                ui.label(t("not loaded")).classes("state")
                ui.button(t("Load now"), on_click=lambda: self._load(weights)).props("flat dense no-caps")
                ui.label(t("The first question loads it too.")).classes("dim small")
                return
            if server.port is None:
                ui.label(t("loading")).classes("state one")
            else:
                ui.label(t("in memory")).classes("state good")
            free = ui.button(t("Free its memory")).props("flat dense no-caps")
            free.on_click(lambda: self._stop(server, free))

    async def _load(self, weights: Weights) -> None:
        """The line shows that it loads as soon as its process is there."""
        speaker = next(each for each in self._speakers if each.weights == weights)
        self._fault.clear()
        try:
            await self._chats.ready(speaker)
        except LorafitError as error:
            with self._fault:
                notice(str(error), "fault")
        await self.refresh()

    async def _stop(self, server: Server, free: ui.button) -> None:
        free.disable()  # it takes some seconds
        free.props("loading")
        await self._chats.stop(server)
        await self.refresh()


def _name(weights: Weights) -> str:
    if weights.alone is not None:
        return t("{name} (a model of its own)", name=_last(weights.alone[0]))
    as_it_is = weights.quantization == "none"
    return _last(weights.base) if as_it_is else f"{_last(weights.base)} ({weights.quantization})"


def _last(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2] or path
