"""Conversations at work: asked by a page, answered in the background, kept in W/.studio/chat/conversations/ID.json.

A page only watches, so that one that is closed and opened again, or a second one, sees the same answers.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from lorafit.errors import LorafitError, RunError
from lorafit.run import read_json, write_json
from lorafit.studio.conversations import Answer, Conversation, Turn
from lorafit.studio.refusal import StudioError
from lorafit.studio.speakers import Speaker
from lorafit.studio.workspace import Workspace

KEPT = 200  # the newest conversations


@dataclass(slots=True)
class End:
    """How an answer ended. reason: `stop`, or `length` when it was cut; tokens: of the answer."""

    reason: str = ""
    tokens: int = 0


# (speaker, messages, sampling, what is told of loading, how it ended) to the pieces of an answer.
Stream = Callable[
    [Speaker, Sequence[Mapping[str, Any]], Mapping[str, Any], Callable[[str], None], End], AsyncGenerator[str]
]


class Talks:
    """The conversations of a workspace; one that is open somewhere is one object for all pages."""

    def __init__(self, workspace: Workspace, stream: Stream) -> None:
        self._folder = workspace.hidden / "chat" / "conversations"
        self._stream = stream
        self._open: WeakValueDictionary[str, Conversation] = WeakValueDictionary()
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def new(self, system: str = "") -> Conversation:
        """It is on the disk as soon as something was asked."""
        talk = Conversation(system=system)
        self._open[talk.id] = talk
        return talk

    def open(self, id: str) -> Conversation | None:
        """None where there is none of that id, or it cannot be read."""
        talk = self._open.get(id)
        if talk is None and re.fullmatch(r"[0-9a-f]{16}", id) and (talk := _read(self._path(id))) is not None:
            self._open[id] = talk
        return talk

    def is_busy(self, talk: Conversation) -> bool:
        return talk.id in self._tasks

    def ask(self, talk: Conversation, speakers: Sequence[Speaker], question: str, sampling: Mapping[str, Any]) -> Turn:
        """Put a question to each speaker; their answers grow in the turn that is given back.

        Raises StudioError while the last question is still being answered.
        """
        if self.is_busy(talk):
            raise StudioError("The last question is still being answered: wait for it, or stop it.")
        turn = Turn(question, {speaker.name: Answer(sampling=dict(sampling)) for speaker in speakers})
        talk.turns.append(turn)
        task = asyncio.get_running_loop().create_task(self._answer_all(talk, len(talk.turns) - 1, speakers))
        self._tasks[talk.id] = task
        task.add_done_callback(lambda _: self._tasks.pop(talk.id, None))
        return turn

    def stop(self, talk: Conversation) -> None:
        """Give up what is being answered; what is there of it stays."""
        if talk.id in self._tasks:
            self._tasks[talk.id].cancel()

    def save(self, talk: Conversation) -> None:
        """Raises RunError where it cannot be written."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"{self._folder} cannot be made: {error}") from error
        write_json(self._path(talk.id), asdict(talk))
        for old in sorted(self._folder.glob("*.json"), key=lambda path: path.stat().st_mtime)[:-KEPT]:
            old.unlink(missing_ok=True)

    async def _answer_all(self, talk: Conversation, number: int, speakers: Sequence[Speaker]) -> None:
        answers = talk.turns[number].answers
        try:
            await asyncio.to_thread(self.save, talk)
            await asyncio.gather(*(self._answer(talk, number, speaker) for speaker in speakers))
        except asyncio.CancelledError:
            pass  # by `stop`, as is noted below
        except RunError as error:
            _note(answers, error)
        finally:
            for answer in answers.values():
                answer.reason = answer.reason or ("" if answer.fault else "stopped")
        try:
            await asyncio.to_thread(self.save, talk)
        except RunError as error:
            _note(answers, error)

    async def _answer(self, talk: Conversation, number: int, speaker: Speaker) -> None:
        answer, end = talk.turns[number].answers[speaker.name], End()

        def say(line: str) -> None:
            answer.loading = line

        began = time.monotonic()
        prompt = talk.prompt(speaker.name, number)
        try:
            async with aclosing(self._stream(speaker, prompt, answer.sampling, say, end)) as pieces:
                async for piece in pieces:
                    if not answer.text:
                        answer.loading, began = None, time.monotonic()
                    answer.text += piece
            answer.tokens, answer.reason = end.tokens, end.reason or "stop"
        except LorafitError as error:
            answer.fault = str(error)
        finally:
            answer.seconds, answer.loading = time.monotonic() - began, None

    def _path(self, id: str) -> Path:
        return self._folder / f"{id}.json"


def _note(answers: Mapping[str, Answer], error: RunError) -> None:
    for answer in answers.values():
        answer.fault = answer.fault or str(error)


def _read(path: Path) -> Conversation | None:
    try:
        content = read_json(path)
        turns = [
            Turn(turn["question"], {name: Answer(**answer) for name, answer in turn["answers"].items()})
            for turn in content["turns"]
        ]
        talk = Conversation(path.stem, content["system"], turns)
    except (RunError, KeyError, TypeError, AttributeError):
        return None
    for answer in (answer for turn in talk.turns for answer in turn.answers.values()):
        if not answer.is_over:  # the studio was ended while it was being answered
            answer.reason = "stopped"
    return talk
