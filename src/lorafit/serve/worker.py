"""The thread that decodes: requests of all clients, for all adapters, in one running batch."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from lorafit.errors import LorafitError
from lorafit.infer.engine import Completion, Engine, Handle, Request
from lorafit.serve.adapter import Adapter
from lorafit.serve.shelf import Shelf

LOG = logging.getLogger(__name__)
Result = TypeVar("Result")


@dataclass(eq=False, slots=True)
class Job:
    """One answer. finish is called once, from the worker's thread, with the completion or with what went wrong;
    so is the request's on_text. adapter: None for the base."""

    request: Request
    adapter: Adapter | None
    finish: Callable[[Completion | Exception], None]
    handle: Handle | None = None
    cancelled: bool = False

    def cancel(self) -> None:
        """From any thread: it ends at the next step."""
        self.cancelled = True
        if self.handle is not None:
            self.handle.cancel()


class QueueFull(Exception):
    """As many requests wait as may."""


class Stopped(Exception):
    """The server ends, and takes no more requests."""


@dataclass(eq=False)
class Worker:
    """Owns the engine while it runs. queue: how many jobs may wait beside those that run.

    A job waits for the jobs before it: an adapter that it needs is loaded as soon as there is a place, and nobody who
    came later takes that place.
    """

    make_engine: Callable[[Any], Engine]
    engine: Engine
    shelf: Shelf
    queue: int
    _waiting: deque[Job] = field(default_factory=deque)
    _running: dict[Handle, Job] = field(default_factory=dict)
    _calls: deque[Callable[[], None]] = field(default_factory=deque)
    _stopping: bool = False
    _condition: threading.Condition = field(default_factory=threading.Condition)

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=self._run, name="lorafit-engine", daemon=True)

    def start(self) -> None:
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive() and not self._stopping

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def running(self) -> int:
        return len(self._running)

    def submit(self, jobs: Sequence[Job]) -> None:
        """Let jobs join, all or none. Raises QueueFull or Stopped."""
        with self._condition:
            if self._stopping:
                raise Stopped
            if len(self._waiting) + len(self._running) + len(jobs) > self.engine.max_running + self.queue:
                raise QueueFull
            self._waiting.extend(jobs)
            self._condition.notify()

    def call(self, function: Callable[[], Result]) -> Future[Result]:
        """Run a function between two steps. Raises Stopped."""
        future: Future[Result] = Future()

        def run() -> None:
            try:
                future.set_result(function())
            except Exception as error:  # noqa: BLE001  it belongs to who asked, not to the thread
                future.set_exception(error)

        with self._condition:
            if self._stopping:
                raise Stopped
            self._calls.append(run)
            self._condition.notify()
        return future

    def stop(self) -> None:
        """End the thread; what still waits or runs is cancelled."""
        with self._condition:
            self._stopping = True
            for job in (*self._waiting, *self._running.values()):
                job.cancel()
            self._condition.notify()
        self._thread.join()

    def _run(self) -> None:
        try:
            self._work()
        finally:  # also when no engine can be made again
            with self._condition:
                self._stopping = True
                left = (*self._waiting, *self._running.values())
            for job in left:
                job.finish(Stopped())

    def _work(self) -> None:
        while self._wait():
            while self._calls:
                self._calls.popleft()()
            try:
                self._admit()
                if self._running:
                    for handle in self.engine.step():
                        self._end(self._running.pop(handle), handle)
            except Exception as error:
                LOG.exception("a step of the engine failed; what was running is lost, the server goes on")
                self._begin_anew(error)

    def _wait(self) -> bool:
        """Until there is something to do; False when there never will be."""
        with self._condition:
            while not (self._calls or self._waiting or self._running):
                if self._stopping:
                    return False
                self._condition.wait()
            return True

    def _admit(self) -> None:
        """Hand those who wait to the engine, in their order, as long as there is a place for them and their adapter."""
        for job in [job for job in self._waiting if job.cancelled]:
            self._waiting.remove(job)
            job.finish(Completion((), "", "cancelled"))
        while self._waiting and len(self._running) < self.engine.max_running:
            job = self._waiting[0]
            try:
                if job.adapter is not None and not self.shelf.take(job.adapter):
                    return
                job.handle = self._add(job)
            except LorafitError as error:
                self._waiting.popleft()
                job.finish(error)
                continue
            self._running[job.handle] = job
            self._waiting.popleft()

    def _add(self, job: Job) -> Handle:
        try:
            return self.engine.add(replace(job.request, adapter=job.adapter.key) if job.adapter else job.request)
        except LorafitError:
            if job.adapter is not None:
                self.shelf.give_back(job.adapter)
            raise

    def _end(self, job: Job, handle: Handle) -> None:
        if job.adapter is not None:
            self.shelf.give_back(job.adapter)
        done = handle.completion
        if done is not None and done.reason == "cancelled" and not job.cancelled:
            job.finish(RuntimeError("the engine gave the request up, which nobody asked for"))
        elif done is not None:
            job.finish(done)

    def _begin_anew(self, error: Exception) -> None:
        lost = [*self._running.values()]
        self._running.clear()
        for job in lost:
            job.finish(error)
        self.engine = self.shelf.engine = self.make_engine(self.shelf.clear())
