"""Conversations to samples, batch by batch: here at first, in several processes where there are many.

The processes are started as programs of their own and are sent what they need. A fork would copy locks and threads that
torch and the tokenizers hold, and Python's own way to start processes runs the user's script again in each.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import pickle
import queue
import subprocess
import sys
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence, Set
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np

from lorafit.data.counting import count_rows, endless
from lorafit.data.length import Fitted, TooLong, fit_length
from lorafit.data.samples import Block
from lorafit.data.template import Renderer
from lorafit.errors import DataError
from lorafit.records import Conversation, Message, Sample, Source

BATCH = 512
# A process takes seconds to import what it needs: on two processors, fewer rows than these are done here before.
ROWS_DONE_HERE = 128 * BATCH
MOST_PROCESSES = 8  # of about 350 MB each


class Batch(NamedTuple):
    """Conversations of one part of a run."""

    part: str
    conversations: list[Conversation]


@dataclass(frozen=True, slots=True)
class Tokenised:
    """A batch of conversations as samples. owners: the place in the batch of each sample's conversation.

    refused, unfit: (place, problem) of conversations that the template refuses, and of which nothing is left within the
    length; left_out: samples dropped of others; longest: tokens of each conversation's longest sample as rendered; cut,
    lost_end: how many conversations were cut, and lost the end of an answer or a text; rendered: [samples, 2], tokens
    and trained tokens of each sample before it was fitted; counted: of the conversations, for the report.
    """

    block: Block
    owners: list[int]
    refused: list[tuple[int, str]]
    unfit: list[tuple[int, str]]
    left_out: int
    longest: list[int]
    cut: int
    lost_end: int
    rendered: np.ndarray
    counted: Counter[str]


@dataclass(frozen=True, slots=True)
class Tokeniser:
    """Renders, tokenises and fits batches."""

    renderer: Renderer
    max_length: int
    too_long: TooLong

    def __call__(self, conversations: Sequence[Conversation]) -> Tokenised:
        ends = frozenset(self.renderer.stop_ids)
        fitted: list[Fitted] = []
        refused: list[tuple[int, str]] = []
        lengths: list[tuple[int, int]] = []
        for place, rendered in enumerate(self.renderer.samples_of(conversations)):
            try:
                if isinstance(rendered, DataError):
                    raise rendered
                lengths += [(len(sample), sample.supervised_tokens) for sample in rendered]
                fitted.append(self._fit(conversations[place], rendered, ends))
            except DataError as error:
                refused.append((place, str(error)))
                fitted.append(Fitted())
        unused = {place for place, _ in refused}
        block = Block.of([sample for one in fitted for sample in one.samples])
        owners = [place for place, one in enumerate(fitted) for _ in one.samples]
        counted = count_rows(conversations, self.renderer.facts())
        unended = {owners[sample] for sample in endless(block, ends).tolist()}
        counted["end_not_trained"] = sum(not conversations[place].is_text for place in unended)
        return Tokenised(
            block,
            owners,
            refused,
            [(place, one.problem) for place, one in enumerate(fitted) if not one.samples and place not in unused],
            sum(one.left_out for one in fitted if one.samples),
            [one.longest for one in fitted],
            sum(one.cut > 0 for one in fitted),
            sum(one.lost_end > 0 for one in fitted),
            np.array(lengths, dtype=np.uint32).reshape(-1, 2),
            counted,
        )

    def _fit(self, conversation: Conversation, rendered: Sequence[Sample], ends: Set[int]) -> Fitted:
        return fit_length(conversation, rendered, self.renderer.samples, self.max_length, self.too_long, ends)


def tokenised(
    tokeniser: Tokeniser, batches: Iterable[Batch], processes: int | Processes | None = None
) -> Iterator[tuple[Batch, Tokenised]]:
    """Each batch with its samples, in order.

    processes: as many as there are processors; 0 does it all here; or some that run already. Raises DataError when a
    process dies.
    """
    if isinstance(processes, Processes):
        yield from processes.tokenised(batches)
        return
    remaining = iter(batches)
    count = min(_processors(), MOST_PROCESSES) if processes is None else processes
    sent = packed(tokeniser) if count else None
    rows = 0
    while sent is None or rows < ROWS_DONE_HERE:
        batch = next(remaining, None)
        if batch is None:
            return
        rows += len(batch.conversations)
        yield batch, tokeniser(batch.conversations)
    if (first := next(remaining, None)) is None:
        return
    with Processes(sent, count) as workers:
        yield from workers.tokenised(itertools.chain([first], remaining))


class Processes:
    """Processes that tokenise, each fed by a thread of its own through its standard input."""

    def __init__(self, sent: bytes, count: int) -> None:
        """sent: the tokeniser, as `packed` makes it."""
        environment = {**os.environ, "TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "lorafit.data.worker"]
        self._all = [
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
            for _ in range(count)
        ]
        self._idle: queue.SimpleQueue[subprocess.Popen[bytes]] = queue.SimpleQueue()
        for process in self._all:
            self._idle.put(process)
        self._sent = sent
        self._greeted: set[int] = set()
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="tokenise")

    def tokenised(self, batches: Iterable[Batch]) -> Iterator[tuple[Batch, Tokenised]]:
        """Each batch with its samples, in order. Raises DataError when a process dies."""
        waiting: deque[tuple[Batch, Future[Tokenised]]] = deque()
        for batch in batches:
            waiting.append((batch, self._threads.submit(self._ask, batch.conversations)))
            if len(waiting) > 2 * len(self._all):
                done, future = waiting.popleft()
                yield done, future.result()
        for done, future in waiting:
            yield done, future.result()

    def _ask(self, batch: list[Conversation]) -> Tokenised:
        process = self._idle.get()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            if process.pid not in self._greeted:
                process.stdin.write(self._sent)
                self._greeted.add(process.pid)
            pickle.dump(list(map(_unmade, batch)), process.stdin, pickle.HIGHEST_PROTOCOL)
            process.stdin.flush()
            reply = pickle.load(process.stdout)
        except (OSError, EOFError, pickle.UnpicklingError) as error:
            raise DataError(
                f"A process that tokenises rows ended before its time (exit code {process.poll()}). The system may "
                "have stopped it for want of memory.\nRun again with fewer, by data.processes=1 (or 0 for none)."
            ) from error
        finally:
            self._idle.put(process)
        found: Tokenised = reply
        return found

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._all:
            process.kill()
        self._threads.shutdown(cancel_futures=True)
        for process in self._all:
            with contextlib.suppress(OSError):  # what could not be sent any more
                process.communicate()


# Plain tuples go from process to process several times as fast as records.
_of_conversation, _of_message, _of_source = (
    attrgetter(*(field.name for field in fields(record))) for record in (Conversation, Message, Source)
)


def _unmade(conversation: Conversation) -> tuple[Any, ...]:
    messages, source, *rest = _of_conversation(conversation)
    return tuple(map(_of_message, messages)), _of_source(source), *rest


def made(values: tuple[Any, ...]) -> Conversation:
    """A conversation from what a process is sent of it."""
    messages, source, *rest = values
    return Conversation(tuple(Message(*one) for one in messages), Source(*source), *rest)


def packed(tokeniser: Tokeniser) -> bytes | None:
    """The tokeniser as a process is sent it; None where it cannot be, as its class comes from the model's own code."""
    if type(tokeniser.renderer.tokenizer).__module__.startswith("transformers_modules"):
        return None
    try:
        return pickle.dumps(tokeniser, pickle.HIGHEST_PROTOCOL)
    except (pickle.PicklingError, AttributeError, TypeError):
        return None


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
