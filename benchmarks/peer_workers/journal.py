"""What a worker and the driver say to one another: a job in, lines of JSON out. Standard library only, as it runs in
every peer's environment.

A job: `model` (folder), `work` (file of examples), `report` (file for the lines), `scratch` (folder), `updates` (with
the first, which warms up), `batch` (examples an update), `longest` (tokens), `settings` (the peer's own).
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any


class Journal:
    """One worker's job, and its report: a line an update, and one at the end."""

    def __init__(self) -> None:
        self.job: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text())
        self.settings: dict[str, Any] = self.job["settings"]
        self.examples: list[dict[str, list[int]]] = json.loads(Path(self.job["work"]).read_text())
        self._places = {tuple(example["input_ids"]): i for i, example in enumerate(self.examples)}
        self._report = Path(self.job["report"])

    def place(self, token_ids: Sequence[int]) -> int:
        """Which example a document is. Raises ValueError when it is none: the peer cut or changed it."""
        found = self._places.get(tuple(token_ids))
        if found is None:
            raise ValueError(f"a document of {len(token_ids)} tokens is none of the examples")
        return found

    def update(
        self, examples: Iterable[int], slots: int, loss: float, gradient_norm: float, at: float | None = None
    ) -> None:
        """An update has ended (`at`, of the system's monotonic clock; now): what was in it and what came out.

        slots: tokens with the padding. loss: as the peer itself averages it.
        """
        self._write(
            examples=list(examples),
            slots=slots,
            loss=loss,
            gradient_norm=gradient_norm,
            at=time.monotonic() if at is None else at,
        )

    def end(self) -> None:
        """The peak of resident memory, in bytes."""
        status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        self._write(peak=int(status["VmHWM"].split()[0]) * 1024)

    def _write(self, **line: Any) -> None:
        with self._report.open("a") as file:
            file.write(json.dumps(line) + "\n")
