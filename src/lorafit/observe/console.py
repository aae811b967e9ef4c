"""Events to the terminal: one live line with progress and time left, or plain lines when piped."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console as Terminal
from rich.console import RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from lorafit.records import Event

BLOCKS = "▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[float], width: int = 40) -> str:
    """The values as a row of blocks, averaged down to `width`; empty for no values."""
    finite = [v for v in values if math.isfinite(v)]
    if not finite:
        return ""
    cells = min(width, len(finite))
    edges = [round(i * len(finite) / cells) for i in range(cells + 1)]
    means = [sum(finite[a:b]) / (b - a) for a, b in itertools.pairwise(edges)]
    low, high = min(means), max(means)
    spread = (high - low) or 1.0
    return "".join(BLOCKS[min(7, int((mean - low) / spread * 8))] for mean in means)


class Console:
    """Shows a run. Every method works alike on a terminal and in a pipe; `quiet` shows nothing but warnings."""

    def __init__(self, print_every: int = 10, quiet: bool = False, terminal: Terminal | None = None) -> None:
        self.terminal = terminal or Terminal(stderr=False, highlight=False)
        self.quiet = quiet
        self._print_every = print_every
        self._progress: Progress | None = None
        self._updates = 0
        self._losses: list[float] = []
        self._held_out: list[float] = []
        self._last: Mapping[str, Any] = {}
        self._task: TaskID | None = None

    def say(self, text: str, style: str | None = None) -> None:
        """A line of its own; rich markup in `text` is not interpreted."""
        if not self.quiet:
            self.terminal.print(text, style=style, markup=False, emoji=False, soft_wrap=True)

    def show(self, figure: RenderableType) -> None:
        """A table or another rich figure."""
        if not self.quiet:
            self.terminal.print(figure)

    def warn(self, text: str) -> None:
        self.terminal.print(f"warning: {text}", style="yellow", markup=False, emoji=False, soft_wrap=True)

    @contextlib.contextmanager
    def working(self, what: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
        """Show a piece of long work; the caller is given a function that is told how much more was done."""
        if self.quiet:
            yield lambda done: None
            return
        if not self.terminal.is_terminal:
            self.say(f"{what} ...")
            yield lambda done: None
            return
        columns = [SpinnerColumn(), TextColumn("{task.description}", markup=False)]
        bar = [BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()] if total else []
        with Progress(*columns, *bar, console=self.terminal, transient=True) as progress:
            task = progress.add_task(what, total=total)
            yield lambda done: progress.advance(task, done)

    @contextlib.contextmanager
    def training(self, updates: int) -> Iterator[None]:
        """The time of the training loop: events of `update` move the live line."""
        self._updates = updates
        if self.quiet or not self.terminal.is_terminal:
            yield
            return
        columns = (
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self.terminal) as progress:
            self._progress = progress
            self._task = progress.add_task("training", total=updates, figures="")
            try:
                yield
            finally:
                self._progress = None

    def __call__(self, event: Event) -> None:
        if event.kind == "warning":
            self.warn(event.values["message"])
        elif event.kind == "note":
            self.say(event.values["message"])
        elif event.kind == "held_out":
            self._held_out.append(event.values["held_out_loss"])
            if not self._move():
                self.say(f"held-out loss after update {event.values['update']}: {self._held_out[-1]:.4f}")
        elif event.kind == "update":
            self._losses.append(event.values["loss"])
            self._last = event.values
            update = event.values["update"]
            if not self._move() and (update % self._print_every == 0 or update == self._updates):
                rate = event.values["learning_rate"]
                self.say(f"update {update}/{self._updates}  {self._figures()}  learning rate {rate:.2e}")

    def _figures(self) -> str:
        figures = []
        if self._losses:
            figures = [f"loss {self._losses[-1]:.3f}", f"{self._last['tokens_per_second']:,.0f} tokens/s"]
        if self._held_out and self._progress is not None:
            figures.insert(1, f"held-out {self._held_out[-1]:.3f}")
        return "  ".join(figures)

    def _move(self) -> bool:
        """Move the live line; False when there is none."""
        if self._progress is None or self._task is None:
            return False
        self._progress.update(self._task, completed=self._last.get("update", 0), figures=self._figures())
        return True

    def curve(self) -> str:
        """The loss over the run as a line of blocks, with its first and last value."""
        if len(self._losses) < 2:
            return ""
        return f"loss {self._losses[0]:.3f} {sparkline(self._losses)} {self._losses[-1]:.3f}"
