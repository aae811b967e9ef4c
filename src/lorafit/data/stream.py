"""A stream: training rows that are tokenised while training, window by window, for data that is too large for the disk.

A window is the next `data.stream_window` training rows in the order of the files; its samples are permuted by seed,
pass and window. When the files end they are read again: the next pass has the same windows, in other orders. So the
samples of an update follow from seed and update alone, whenever a run was stopped.
"""

from __future__ import annotations

import contextlib
import copy
import shutil
import tempfile
import threading
from collections import Counter
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lorafit.data.build import REJECTED, Build
from lorafit.data.length import bound_loss
from lorafit.data.parts import TRAINING, Parts
from lorafit.data.samples import Samples
from lorafit.data.settings import DataSettings
from lorafit.data.template import Renderer
from lorafit.data.tokenise import Processes, Tokeniser, packed
from lorafit.errors import DataError
from lorafit.records import Sample

# The first window, the one that is trained on and the one that is tokenised meanwhile are on the disk together.
WINDOWS_ON_DISK = 3
COUNTED = ("rows", "rejected", "cut", "cut_within_answer")


@dataclass(frozen=True, slots=True)
class Window:
    """The samples of a window; last: whether the pass ends with it.

    folder: what is removed after it; None for the first, which is kept.
    """

    number: int  # of the pass
    index: int
    samples: Samples
    summary: dict[str, Any]
    last: bool
    folder: Path | None


class _Stopped(Exception):
    """Nobody waits for the window any more."""


class Stream:
    """The training samples of a run that streams; `updates` goes through them."""

    def __init__(
        self,
        renderer: Renderer,
        settings: DataSettings,
        seed: int,
        first: Samples,
        summary: dict[str, Any],
        rejected: Path,
        folder: Path,
        limit_bytes: int,
        digest: str,
    ) -> None:
        """first, summary, rejected: of the first window, tokenised already, and the file of its rejected rows.

        folder: where windows are kept as long as they are used, each up to limit_bytes (0: as large as it likes).
        digest: stands for the files and for what is made of them.
        """
        self._renderer, self._settings, self._seed = renderer, settings, seed
        self._first = Window(0, 0, first, summary, last=False, folder=None)
        self._folder, self._limit_bytes, self._digest = folder, limit_bytes, digest
        self._rejected: Path | None = None
        self._rejected_bytes = rejected.stat().st_size
        # Of the windows of a pass that were seen: how many samples each has, and whether these are all.
        self._lengths = [len(first)]
        self._whole = False
        self.figures: Counter[str] = Counter()
        """Of these windows: the figures COUNTED, as in data.json, and `conversations`."""
        self._count(summary)

    def digest(self) -> str:
        return self._digest

    def state(self) -> dict[str, Any]:
        """What `begin` needs to skip windows without tokenising them, as JSON has it."""
        return {
            "digest": self._digest,
            "lengths": self._lengths,
            "whole": self._whole,
            "rejected_bytes": self._rejected_bytes,
            "figures": self.figures,
        }

    def begin(self, rejected: Path, state: dict[str, Any] | None = None) -> None:
        """rejected: a run's rejected.jsonl, which holds those of the first window; rows rejected later are appended.

        state: of the run when it was stopped; that of other files is left aside. What was appended since then comes
        again.
        """
        if state is not None and state["digest"] == self._digest:
            self._lengths, self._whole = list(state["lengths"]), state["whole"]
            self._rejected_bytes, self.figures = state["rejected_bytes"], Counter(state["figures"])
        self._rejected = rejected
        if rejected.is_file() and rejected.stat().st_size > self._rejected_bytes:
            with rejected.open("r+b") as file:
                file.truncate(self._rejected_bytes)

    def updates(
        self, batch_size: int, updates: int, seed: int, first: int = 0
    ) -> Generator[tuple[float, list[Sample]]]:
        """(passes ended before its last sample, its samples) for each of `updates` updates, from update `first` on.

        The next window is tokenised meanwhile. Raises DataError for it as `prepare_data` does, once it is needed.
        """
        number, index, place = self._find(first * batch_size)
        left = (updates - first) * batch_size
        if left <= 0:
            return
        stop = threading.Event()
        chosen: list[Sample] = []
        with tempfile.TemporaryDirectory(prefix=".stream-", dir=self._folder, ignore_cleanup_errors=True) as folder:
            # A tokenizer must not be used by two threads at a time.
            windows = self._windows(number, index, Path(folder), copy.deepcopy(self._renderer), stop)
            background = ThreadPoolExecutor(1, thread_name_prefix="stream")
            try:
                coming = background.submit(next, windows)
                while left:
                    window = coming.result()
                    self._learn(window)
                    samples = window.samples
                    order = np.random.default_rng((seed, window.number, window.index)).permutation(len(samples))
                    order, place = order[place : place + left], max(0, place - len(samples))
                    left -= len(order)
                    if left:
                        coming = background.submit(next, windows)
                    for i in order.tolist():
                        chosen.append(samples[i])
                        if len(chosen) == batch_size:
                            yield float(window.number), chosen
                            chosen = []
                    used = window.folder
                    del window, samples  # a file that is mapped cannot be removed everywhere
                    if used:
                        shutil.rmtree(used, ignore_errors=True)
            finally:
                stop.set()
                background.shutdown(cancel_futures=True)
                windows.close()

    def _find(self, sample: int) -> tuple[int, int, int]:
        """Pass, window and place in it of a sample of the whole stream; the place may lie beyond an unknown window."""
        number = 0
        if self._whole:
            number, sample = divmod(sample, sum(self._lengths))
        for index, length in enumerate(self._lengths):
            if sample < length:
                return number, index, sample
            sample -= length
        return number, len(self._lengths), sample

    def _windows(
        self, number: int, index: int, folder: Path, renderer: Renderer, stop: threading.Event
    ) -> Generator[Window]:
        """All windows from one on, without end; those before it are read but not tokenised."""
        rows = self._settings.stream_window

        def unless_stopped(*_: object) -> None:
            if stop.is_set():
                raise _Stopped

        with self._processes(renderer) as processes:
            while True:
                parts = Parts(self._settings, self._seed, unless_stopped)
                for _ in parts.take(index * rows):
                    pass
                while parts.goes_on:
                    if (number, index) == (0, 0):
                        for _ in parts.take(rows):
                            pass
                        yield self._first
                    else:
                        yield self._tokenised(number, index, folder, renderer, parts, processes)
                    index += 1
                number, index = number + 1, 0

    def _tokenised(
        self,
        number: int,
        index: int,
        folder: Path,
        renderer: Renderer,
        parts: Parts,
        processes: Processes | int,
    ) -> Window:
        folder /= f"{number}-{index}"
        folder.mkdir(parents=True)
        build = Build(renderer, self._settings, self._seed, folder, self._limit_bytes, parts, processes, later=True)
        header = build.run()
        samples = Samples(folder / TRAINING, header["token_type"], header["files"])
        return Window(number, index, samples, header["summary"], not parts.goes_on, folder)

    @contextlib.contextmanager
    def _processes(self, renderer: Renderer) -> Iterator[Processes | int]:
        """Those that tokenise, for the whole stream; 0 for none. One is faster than training, and leaves it alone."""
        settings = self._settings
        count = 1 if settings.processes is None else settings.processes
        sent = packed(Tokeniser(renderer, settings.max_length, settings.too_long)) if count else None
        if sent is None:
            yield 0
            return
        with Processes(sent, count) as processes:
            yield processes

    def _learn(self, window: Window) -> None:
        """Take down what is found in a window that was not seen before, once it is trained on.

        Raises DataError when too many rows have lost the end of their answer, and for one that has changed.
        """
        known = self._lengths[window.index] if window.index < len(self._lengths) else None
        if known is None and not self._whole:
            assert window.folder is not None
            self._lengths.append(len(window.samples))
            self._whole = window.last
            self._count(window.summary)
            bound_loss(self._settings, self.figures["cut_within_answer"], self.figures["conversations"])
            if self._rejected and window.summary["rejected"]:
                with self._rejected.open("ab") as file:
                    file.write((window.folder / REJECTED).read_bytes())
                    self._rejected_bytes = file.tell()
        elif known != len(window.samples) or (self._whole and window.last != (window.index == len(self._lengths) - 1)):
            raise DataError(
                f"The files of data.train have changed while they were trained on: window {window.index + 1} has "
                f"{len(window.samples)} samples and had {known or 'none'}.\nPut back what was, and resume the run."
            )

    def _count(self, summary: dict[str, Any]) -> None:
        self.figures.update({name: summary[name] for name in COUNTED})
        self.figures["conversations"] += sum(summary["conversations"].values())
