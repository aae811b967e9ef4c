"""The doctor at the bedside: reads a run's Events as they come and says each new finding once."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from types import TracebackType
from typing import Any

from lorafit.observe.rules.facts import Facts, Values
from lorafit.observe.rules.finding import Finding, to_json
from lorafit.observe.rules.table import examine
from lorafit.records import Event

LOOK_EVERY = 50
# Lines kept of each kind: beyond, every second one goes, so that the whole run stays in view.
LONGEST = 4096
HARDWARE_LINES = 64


class LiveDoctor:
    """A sink of Events. Looks after each held-out measurement, every `every` updates, and when its block ends.

    facts: what is known before, with the lines of a run that goes on. report: told each finding once. write: given the
    content of findings.json whenever it changes. known: symptoms that were said before the run, not to be said again.
    It raises what `report` and `write` raise.
    """

    def __init__(
        self,
        facts: Facts,
        report: Callable[[Finding], None],
        write: Callable[[dict[str, Any]], None] = lambda content: None,
        known: Collection[str] = (),
        every: int = LOOK_EVERY,
    ) -> None:
        self._facts, self._report, self._write, self._every = facts, report, write, every
        self._updates, self._held_out = _Thinned(facts.updates), _Thinned(facts.held_out)
        self._hardware = list(facts.hardware)[-HARDWARE_LINES:]
        self._said = set(known)
        self._found: list[Finding] | None = None

    def __enter__(self) -> LiveDoctor:
        return self

    def __call__(self, event: Event) -> None:
        if event.kind == "update":
            self._updates.add(event.values)
        elif event.kind == "held_out":
            self._held_out.add(event.values)
        elif event.kind == "hardware":
            self._hardware = [*self._hardware[1 - HARDWARE_LINES :], event.values]
        if event.kind == "held_out" or (event.kind == "update" and event.values["update"] % self._every == 0):
            self._look(ended=False)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._look(ended=True)

    def _look(self, ended: bool) -> None:
        # The status is of before; how a run ended is for who reads its folder.
        facts = replace(
            self._facts,
            updates=self._updates.lines,
            held_out=self._held_out.lines,
            hardware=self._hardware,
            status={},
            ended=ended,
        )
        found = examine(facts)
        if found != self._found:
            self._found = found
            self._write(to_json(found))
        for finding in found:
            if finding.symptom not in self._said:
                self._said.add(finding.symptom)
                self._report(finding)


class _Thinned:
    """At most `LONGEST` lines, evenly spread over all that came."""

    def __init__(self, lines: Collection[Values]) -> None:
        self.lines: list[Values] = []
        self._step, self._count = 1, 0
        for line in lines:
            self.add(line)

    def add(self, line: Values) -> None:
        if self._count % self._step == 0:
            self.lines.append(line)
        self._count += 1
        if len(self.lines) > LONGEST:
            self.lines, self._step = self.lines[::2], self._step * 2
