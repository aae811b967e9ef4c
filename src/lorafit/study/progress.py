"""How far a study is, over all its runs: one live line, or a line a run when piped."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence

from rich.progress import BarColumn, Progress, TextColumn

from lorafit.errors import RunError
from lorafit.observe.console import Console
from lorafit.report.words import duration
from lorafit.run import RunFolder, read_json
from lorafit.study.axes import label
from lorafit.study.folder import Entry, Study


class StudyProgress:
    """Knows how long runs take from those that are done, and from the part of the present one."""

    def __init__(self, console: Console, study: Study, wanted: Sequence[Entry]) -> None:
        self._console, self._study, self._wanted = console, study, wanted
        self._done = 0
        self._began = 0.0
        self._bar: Progress | None = None

    @contextlib.contextmanager
    def shown(self) -> Iterator[None]:
        if self._console.quiet or not self._console.terminal.is_terminal:
            yield
            return
        columns = (BarColumn(20), TextColumn("{task.description}", markup=False))
        with Progress(*columns, console=self._console.terminal, transient=True) as self._bar:
            self._bar.add_task("", total=len(self._wanted))
            yield
        self._bar = None

    def begin(self) -> None:
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        """Of the present run so far."""
        return time.monotonic() - self._began

    def look(self, entry: Entry) -> None:
        """To be called while a run is trained."""
        if self._bar is None:
            return
        update, updates = _updates(RunFolder(self._study.run_of(entry)))
        part = update / updates if updates else 0.0
        words = [f"{self._done + 1}/{len(self._wanted)} {name_of(entry)}"]
        if updates:
            words.append(f"update {update}/{updates}")
        if left := self._left(part):
            words.append(left)
        self._bar.update(self._bar.task_ids[0], completed=self._done + part, description=" · ".join(words))

    def end(self, entry: Entry) -> None:
        """Say how a run ended."""
        self._done += 1
        words = f"{self._done}/{len(self._wanted)} {name_of(entry)}: {entry.state}"
        if entry.state == "failed":
            self._console.say(f"{words}: {entry.message.splitlines()[0]}", style="red")
            return
        loss = entry.figures.get("held_out_loss")
        measured = "" if loss is None else f", held-out loss {loss:.4f}"
        left = self._left(0.0) if self._done < len(self._wanted) else ""
        self._console.say(f"{words} in {duration(entry.seconds)}{measured}{f' ({left})' if left else ''}")

    def _left(self, part: float) -> str:
        """part: of the present run, 0 to 1."""
        known = [entry.seconds for entry in self._study.entries if entry.state == "finished"]
        one = sum(known) / len(known) if known else self.seconds / part if part > 0.1 else None
        if one is None:
            return ""
        return f"about {duration(max(0.0, (len(self._wanted) - self._done - part) * one))} left"


def name_of(entry: Entry) -> str:
    return f"{label(entry.settings)}, seed {entry.seed}"


def _updates(run: RunFolder) -> tuple[int, int]:
    try:
        status = read_json(run.status)
    except RunError:  # it has not begun
        return 0, 0
    return int(status.get("update", 0)), int(status.get("updates", 0))
