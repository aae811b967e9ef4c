"""Requests to rows: answers come in any order, rows are made in the order of the requests.

The rows are a function of the requests and their answers alone. A run that goes on reads the answers from the progress
file, makes the same rows again and asks only what has no answer yet; so does a run with other checks.
"""

from __future__ import annotations

import contextlib
import json
import queue
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from lorafit.data.generate.answers import BadRow, Form, find_rows, to_row
from lorafit.data.generate.ask import Ask, Failure, Reply
from lorafit.data.generate.checks import Checks, Duplicates
from lorafit.data.generate.journal import Journal
from lorafit.data.generate.request import Request
from lorafit.errors import DataError
from lorafit.run import full_disk_is_said


@dataclass(frozen=True, slots=True)
class Target:
    """Where rows go: `path`, with `path`.rejected (refused rows with their reason) and `path`.progress beside it."""

    path: Path
    form: Form = "messages"
    model: str = ""

    @property
    def rejected(self) -> Path:
        # Not .jsonl: a folder of rows can be trained on as it is.
        return self.path.with_name(f"{self.path.name}.rejected")

    @property
    def progress(self) -> Path:
        return self.path.with_name(f"{self.path.name}.progress")


@dataclass(frozen=True, slots=True)
class Limits:
    """requests: how many are asked in all runs with one target (None: all there are); a request that is sent again
    after a fault counts once. rows: how many are made. at_once: requests in the air. failures: how many in a row
    may get no answer before the run stops."""

    requests: int | None = None
    rows: int | None = None
    at_once: int = 4
    failures: int = 5


@dataclass(slots=True)
class Counts:
    """What a run did so far. asked: requests settled, of which `kept` had their answer on disk already;
    repeated: left out, as the same was asked already. Tokens are of the answers used, of all runs; unmetered: answers
    of which the server counted no tokens."""

    asked: int = 0
    kept: int = 0
    rows: int = 0
    repeated: int = 0
    unmetered: int = 0
    tokens_read: int = 0
    tokens_written: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)


def generate(
    requests: Iterable[Request],
    ask: Ask,
    target: Target,
    limits: Limits,
    checks: Checks,
    duplicates: Duplicates,
    counts: Counts,
    group: int = 1,
    watch: Callable[[], None] = lambda: None,
    say: Callable[[str], None] = lambda text: None,
) -> None:
    """Ask what has no answer yet and write the rows of all answers, in the order of the requests.

    counts is kept up to date; watch is called after each request. group: how many requests `ask` is given at once. At
    the end, and after Ctrl-C, those that are in the air are waited for, as they cost already (a second Ctrl-C leaves
    them); say is told so.
    Raises DataError when the target exists without its progress file, when `limits.failures` requests in a row got no
    answer, and what `ask` raises. In each case, and after Ctrl-C, what is done is kept.
    """
    if target.path.exists() and not target.progress.exists():
        raise DataError(f"{target.path} exists already. Name another file with --out, or move that one away.")
    with full_disk_is_said(target.path):
        target.path.parent.mkdir(parents=True, exist_ok=True)
        with Journal.open(target.progress) as journal, _Rows(target, limits, checks, duplicates, counts) as rows:
            workers = _Workers(ask, journal, limits.at_once, group)
            asked = islice(_distinct(requests, counts), limits.requests)
            try:
                for request, outcome in _in_order(asked, journal, workers, limits, counts):
                    rows.add(request, outcome)
                    watch()
                    if rows.enough:
                        break
            finally:
                workers.stop()
                if workers.in_the_air:
                    say(f"waiting for {workers.in_the_air} requests that were sent already (Ctrl-C leaves them)")
                workers.wait()


def _distinct(requests: Iterable[Request], counts: Counts) -> Iterator[Request]:
    """The same passage may stand in several files: it is asked about once."""
    seen: set[str] = set()
    for request in requests:
        if request.key in seen:
            counts.repeated += 1
        else:
            seen.add(request.key)
            yield request


def _in_order(
    requests: Iterator[Request], journal: Journal, workers: _Workers, limits: Limits, counts: Counts
) -> Iterator[tuple[Request, Reply | Failure]]:
    """Each request with its answer; a few requests ahead are in the air meanwhile."""
    window = 2 * limits.at_once * workers.group
    waiting: deque[Request] = deque()
    sent: set[str] = set()
    failures: dict[str, Failure] = {}
    in_a_row = 0
    while True:
        for request in islice(requests, window - len(waiting)):
            waiting.append(request)
            if request.key not in journal:
                sent.add(request.key)
                workers.send(request)
        if not waiting:
            return
        first = waiting.popleft()
        while first.key not in journal and first.key not in failures:
            request, outcome = workers.receive()
            if isinstance(outcome, Reply):
                in_a_row = 0
                continue
            failures[request.key] = outcome
            in_a_row += 1
            if in_a_row >= limits.failures:
                raise DataError(
                    f"{in_a_row} requests in a row got no answer; the last: {outcome.reason}.\n"
                    "What was answered is kept: give the same command again once this is mended."
                )
        counts.kept += first.key not in sent
        sent.discard(first.key)
        yield first, failures.pop(first.key) if first.key in failures else journal[first.key]


class _Workers:
    """Threads that ask and write down what they are answered: Ctrl-C, which only the main thread hears, cannot part
    an answer from the progress file. They end with the process, whatever they wait for."""

    def __init__(self, ask: Ask, journal: Journal, count: int, group: int) -> None:
        self.group = group
        self.in_the_air = 0
        self._ask, self._journal = ask, journal
        self._stopping = threading.Event()
        self._todo: queue.SimpleQueue[Request] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[tuple[Request, Reply | Failure | Exception]] = queue.SimpleQueue()
        for _ in range(count):
            threading.Thread(target=self._work, daemon=True).start()

    def send(self, request: Request) -> None:
        self.in_the_air += 1
        self._todo.put(request)

    def receive(self) -> tuple[Request, Reply | Failure]:
        """The next request that is done; raises what `ask` raised."""
        request, outcome = self._done.get()
        self.in_the_air -= 1
        if isinstance(outcome, Exception):
            raise outcome
        return request, outcome

    def stop(self) -> None:
        """Have nothing more sent; what is in the air already is still answered."""
        self._stopping.set()
        with contextlib.suppress(queue.Empty):
            while True:
                self._todo.get_nowait()
                self.in_the_air -= 1

    def wait(self) -> None:
        while self.in_the_air:
            self._done.get()
            self.in_the_air -= 1

    def _work(self) -> None:
        while not self._stopping.is_set():
            group = self._next()
            try:
                outcomes = list(self._ask([request.messages for request in group], self._stopping)) if group else []
                for outcome in outcomes:
                    if isinstance(outcome, Reply):
                        self._journal.write(group[0].key, outcome)
                    self._done.put((group.pop(0), outcome))
            except Exception as error:  # noqa: BLE001 - raised again by `receive`
                for request in group:
                    self._done.put((request, error))

    def _next(self) -> list[Request]:
        group: list[Request] = []
        with contextlib.suppress(queue.Empty):
            group.append(self._todo.get(timeout=0.1))
            while len(group) < self.group:
                group.append(self._todo.get_nowait())
        return group


class _Rows:
    """The files of rows, and what was counted on the way."""

    def __init__(self, target: Target, limits: Limits, checks: Checks, duplicates: Duplicates, counts: Counts) -> None:
        self.counts = counts
        self._target, self._wanted = target, limits.rows
        self._checks, self._duplicates = checks, duplicates
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> _Rows:
        self._rows = self._stack.enter_context(self._target.path.open("w", encoding="utf-8"))
        # A refused row may hold half a surrogate pair, which goes out as the escape that it came in as.
        self._rejected = self._stack.enter_context(
            self._target.rejected.open("w", encoding="utf-8", errors="backslashreplace")
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def enough(self) -> bool:
        return self._wanted is not None and self.counts.rows >= self._wanted

    def add(self, request: Request, outcome: Reply | Failure) -> None:
        """Write the rows of an answer, and those that are refused with the reason."""
        self.counts.asked += 1
        if isinstance(outcome, Failure):
            self.counts.failed[outcome.reason] += 1
            return
        self._count_tokens(outcome)
        found = find_rows(outcome.text)
        if outcome.cut:
            self._reject(request, "the answer was cut off at its longest", outcome.text[-200:])
        elif not found:
            self._reject(request, "the answer has no JSON", outcome.text)
        for value in found:
            if self.enough:
                break
            self._add_row(request, value)
        self._rows.flush()
        self._rejected.flush()

    def _add_row(self, request: Request, value: Any) -> None:
        try:
            row = to_row(value, request.passage if request.prompt.head.input == "passage" else "")
        except BadRow as bad:
            self._reject(request, str(bad), value)
            return
        # Duplicates come last: they remember what they let pass.
        fault = self._checks.fault(row, request.passage) or self._duplicates.fault(row.conversation(request.source))
        if fault:
            self._reject(request, fault, value)
            return
        source = {**request.place, "prompt": request.prompt.name, "model": self._target.model}
        self._rows.write(json.dumps({**row.fields(self._target.form), "source": source}, ensure_ascii=False) + "\n")
        self.counts.rows += 1

    def _reject(self, request: Request, reason: str, value: Any) -> None:
        self.counts.rejected[reason] += 1
        content = {"reason": reason, "source": request.place, "answer": value}
        self._rejected.write(json.dumps(content, ensure_ascii=False) + "\n")

    def _count_tokens(self, reply: Reply) -> None:
        if reply.tokens is None:
            self.counts.unmetered += 1
        else:
            self.counts.tokens_read += reply.tokens[0]
            self.counts.tokens_written += reply.tokens[1]
