"""The rows of a run in their order: read, cleaned, each with the part of the run that it belongs to."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np

from lorafit.data.clean import Cleaner
from lorafit.data.convert import SHOWN_FAULTS, Rejected, faults_report
from lorafit.data.settings import DataSettings
from lorafit.data.sources import Progress, iterate_conversations
from lorafit.data.split import is_held_out
from lorafit.errors import DataError
from lorafit.records import Conversation

TRAINING, HELD_OUT = "training", "held_out"

# Called with a rejected row, its part and the reason.
Reject = Callable[[Rejected, str, str], None]


class Parts:
    """One pass over the rows, which `take` goes through bit by bit.

    rows: how many were read of data.train; forms: rows of each form, for each file; goes_on: whether `take` left any
    behind; reject: is told of rejected rows.
    """

    def __init__(self, settings: DataSettings, seed: int, progress: Progress | None = None) -> None:
        """progress: see `sources`, of training rows."""
        self._settings, self._seed, self._progress = settings, seed, progress
        self.reject: Reject = lambda row, part, reason: None
        self.rows = 0
        self.forms: dict[str, Counter[str]] = {}
        self.goes_on = True
        held: Iterator[Conversation] = iter(())
        if isinstance(settings.held_out, str):
            of_file = iterate_conversations(settings, held_out=True)
            held = (row for row in of_file if isinstance(row, Conversation))
        self.cleaner = Cleaner(settings.clean, held)
        self._left = self._drawn()

    def take(self, rows: int | None = None) -> Iterator[tuple[str, Conversation]]:
        """(part, row) of the next `rows` training rows (without: of all) and of the held-out ones up to the next.

        Raises DataError for rows that cannot be read, with `bad_rows: error`, or when none can be.
        """
        taken = 0
        for part, conversation in self._left:
            if part == TRAINING and taken == rows:
                self._left = itertools.chain([(part, conversation)], self._left)
                return
            taken += part == TRAINING
            yield part, conversation
        self.goes_on = False

    def held_out_file(self) -> Iterator[tuple[str, Conversation]]:
        """The same for the rows of the file data.held_out, where it is one."""
        if isinstance(self._settings.held_out, str):
            yield from ((HELD_OUT, conversation) for conversation in self._readable(held_out=True))

    def _drawn(self) -> Iterator[tuple[str, Conversation]]:
        """After cleaning and the split; of the training rows only those that `data.limit` draws."""
        share = None if isinstance(self._settings.held_out, str) else self._settings.held_out
        drawn: list[tuple[int, Conversation]] = []
        limit, seen = self._settings.limit, 0
        draw = np.random.default_rng(self._seed)
        for conversation in self._cleaned():
            if share and is_held_out(conversation, share):
                yield HELD_OUT, conversation
            elif limit is None:
                yield TRAINING, conversation
            else:  # a reservoir: each row seen so far stands in it with the same chance (Vitter 1985, algorithm R)
                place = seen if seen < limit else int(draw.integers(0, seen + 1))
                if place < limit:
                    drawn[place : place + 1] = [(seen, conversation)]
                seen += 1
        yield from ((TRAINING, conversation) for _, conversation in sorted(drawn, key=lambda pair: pair[0]))

    def _cleaned(self) -> Iterator[Conversation]:
        for row in self.cleaner.stream(self._readable(held_out=False)):
            if isinstance(row, Rejected):
                self.reject(row, TRAINING, row.field)
            else:
                yield row

    def _readable(self, held_out: bool) -> Iterator[Conversation]:
        """The rows that can be read; with `bad_rows: error` none after the first bad one, and an error at the end.

        A stream has no end to wait for: there, the first bad row is the error.
        """
        part, rows, readable = HELD_OUT if held_out else TRAINING, 0, 0
        faults: list[Rejected] = []
        strict = self._settings.bad_rows == "error"
        progress, forms = (None, None) if held_out else (self._progress, self.forms)
        for row in iterate_conversations(self._settings, held_out, progress, forms):
            rows += 1
            self.rows += not held_out
            if isinstance(row, Rejected):
                self.reject(row, part, "row")
                if row.fault or not strict:
                    # The report shows the first ones and counts the others: it needs no more of them.
                    faults.append(row if len(faults) < SHOWN_FAULTS else faults[0])
                if strict and faults and self._settings.streaming:
                    break
            else:
                readable += 1
                if not (strict and faults):
                    yield row
        if faults and (strict or not readable):
            raise DataError(faults_report(faults, rows))
