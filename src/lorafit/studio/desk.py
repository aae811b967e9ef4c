"""What the pages ask of models and data, answered by a process beside the web server, which never imports torch."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lorafit.run import disk_error
from lorafit.studio.jobs import environment
from lorafit.studio.recipes import recipe_of
from lorafit.studio.refusal import StudioError
from lorafit.studio.workspace import Workspace

LONGEST_LINE = 256 << 20  # bytes of an answer
WORKER = (sys.executable, "-m", "lorafit.studio.deskwork")
DOCTOR = (sys.executable, "-m", "lorafit.cli.main", "doctor", "--json", "-")


class Desk:
    """Two workers (deskwork.py), each started on first use and again when it has ended; they end with the studio.

    One answers what a reader waits for, one question after the other; the other makes advice meanwhile, which takes
    many plans. All raise StudioError: with the message and exit code of what the work refused, for paths outside the
    workspace, and when the worker was killed.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._front, self._adviser = _Worker(workspace, "desk.log"), _Worker(workspace, "adviser.log")
        self._machine_turn = asyncio.Lock()
        self._numbers = itertools.count(1)
        self._newest: dict[str, int] = {}
        self._advising: dict[str, asyncio.Task[dict[str, Any]]] = {}
        self._machine: dict[str, Any] | None = None

    async def model(self, name: str) -> dict[str, Any]:
        """What a base is (`deskwork.model`)."""
        await self._check({"model": {"name": name}})
        return await self._front.ask("model", name=name)

    async def data(self, model: str, train: str | list[Any], **settings: Any) -> dict[str, Any]:
        """The report of `lorafit data`, and the first rejected rows (`deskwork.data`). settings: of the `data` of a
        recipe, and `epochs` and `batch_size`."""
        await self._check({"model": {"name": model}, "data": {**settings, "train": train}})
        return await self._front.ask("data", model=model, train=train, **settings)

    async def advice(
        self, model: str, data: str | Sequence[str], gpu: str = "this", task: str | None = None
    ) -> dict[str, Any]:
        """`Advice.to_json()`. Asked again while it is being made, it is made once."""
        await self._check({"model": {"name": model}, "data": {"train": data}})
        given: dict[str, Any] = {"model": model, "data": data, "gpu": gpu, "task": task}
        key = json.dumps(given)
        made = self._advising.get(key)
        if made is None:
            made = self._advising[key] = asyncio.create_task(self._adviser.ask("advice", **given))
            made.add_done_callback(lambda _: self._advising.pop(key))
        return await asyncio.shield(made)

    async def expect_advice(self) -> None:
        """Have the adviser import what it needs while the reader still chooses."""
        await self._adviser.start()

    async def expect_questions(self) -> None:
        """Have the other worker do so: a first look at a model waits for it."""
        await self._front.start()

    async def plan(
        self, recipe: Mapping[str, Any], gpu: str = "this", changes: bool = True, of: str = ""
    ) -> dict[str, Any]:
        """plan.json, `fits` and more (`deskwork.plan`). changes: look for what would change it, too; the plan alone
        comes in half the time, and asked again with `changes` nothing is planned twice.

        of: whose plan it is. A newer question of the same takes the place of those that wait: they raise
        asyncio.CancelledError, so that the handlers behind them simply end.
        """
        number = self._newest[of] = next(self._numbers)
        await self._check(recipe)
        async with self._front.turn:
            if self._newest[of] != number:
                raise asyncio.CancelledError
            return await self._front.answer("plan", recipe=recipe, gpu=gpu, changes=changes)

    async def exportable(self, name: str) -> dict[str, Any]:
        """Which formats a run's model cannot have, and why (`deskwork.exportable`)."""
        run = self._workspace.run(name)
        await asyncio.to_thread(recipe_of, run.recipe)
        return await self._front.ask("exportable", run=str(run.path))

    async def machine(self, again: bool = False) -> dict[str, Any]:
        """What `lorafit doctor --json -` says of this machine, kept for the session. again: examine it anew."""
        async with self._machine_turn:
            if self._machine is None or again:
                self._machine = await self._examined()
            return self._machine

    def close(self) -> None:
        """End the workers, whatever they do; the next question would start another."""
        self._front.end()
        self._adviser.end()

    async def _check(self, content: Mapping[str, Any]) -> None:
        await asyncio.to_thread(self._workspace.check_recipe, content)

    async def _examined(self) -> dict[str, Any]:
        """The exit code says only whether there is a fault."""
        process = await _launched(DOCTOR, self._workspace.root, stdin=DEVNULL, stderr=DEVNULL)
        output, _ = await process.communicate()
        try:
            found: dict[str, Any] = json.loads(output)
        except ValueError:
            raise StudioError(f"`lorafit doctor` ended without an answer (exit code {process.returncode}).") from None
        return found


class _Worker:
    """A process that answers. turn: held by who asks; log: the name of the file of its last words."""

    def __init__(self, workspace: Workspace, log: str) -> None:
        self._folder, self._log = workspace.root, workspace.hidden / log
        self.turn = asyncio.Lock()
        self._process: Process | None = None
        self._numbers = itertools.count(1)

    async def ask(self, work: str, **given: Any) -> dict[str, Any]:
        async with self.turn:
            return await self.answer(work, **given)

    async def start(self) -> None:
        if not self.turn.locked():  # else it is there, or being started
            async with self.turn:
                await self._started()

    async def answer(self, work: str, **given: Any) -> dict[str, Any]:
        """Only for who has the turn."""
        number = next(self._numbers)
        line = b"%d %s\n" % (number, json.dumps({"work": work, "given": given}).encode())
        reply = await self._reply_of_one(number, line)
        if "answer" in reply:
            found: dict[str, Any] = reply["answer"]
            return found
        if "refused" in reply:
            error = StudioError(reply["refused"])
            error.exit_code = reply["code"]
            raise error
        raise StudioError(f"lorafit made a mistake: {reply['broken']}. More is in {self._log}.")

    def end(self) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            self._process = None

    async def _reply_of_one(self, number: int, line: bytes) -> dict[str, Any]:
        """A process that has ended by itself, as it had nothing to do, is followed by another at once."""
        for _ in range(2):
            process = await self._started()
            reply = await self._reply(process, number, line)
            if reply is not None:
                return reply
            code = await process.wait()
            self._process = None
            if code != 0:
                break
        raise StudioError(
            f"The process that reads models and data ended (exit code {code}), perhaps for want of memory: "
            f"try again. Its last words are in {self._log}."
        )

    async def _reply(self, process: Process, number: int, line: bytes) -> dict[str, Any] | None:
        """None when the process has ended."""
        assert process.stdin is not None and process.stdout is not None
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            process.stdin.write(line)
            await process.stdin.drain()
        while reply := await process.stdout.readline():
            of, _, content = reply.partition(b" ")
            if of == b"%d" % number:  # else of a question whose page has gone, or a library's words
                answer: dict[str, Any] = json.loads(content)
                return answer
        return None

    async def _started(self) -> Process:
        if self._process is None or self._process.returncode is not None:
            try:
                log = self._log.open("wb")
            except OSError as error:
                raise disk_error(error, self._log) from error
            with log:
                self._process = await _launched(WORKER, self._folder, stdin=PIPE, stderr=log, limit=LONGEST_LINE)
        return self._process


async def _launched(words: Sequence[str], folder: Path, **options: Any) -> Process:
    """A process of its own session: Ctrl-C is for the studio, which then ends it. Raises StudioError."""
    try:
        return await asyncio.create_subprocess_exec(
            *words, cwd=folder, env=environment(), stdout=PIPE, start_new_session=True, **options
        )
    except OSError as error:
        raise StudioError(f"`{' '.join(words[2:])}` could not be started: {error}") from error
