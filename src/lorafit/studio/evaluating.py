"""What a page asks of `lorafit evaluate`, as the arguments of its command line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from lorafit.evaluate.metrics import METRICS
from lorafit.evaluate.task import built_in
from lorafit.studio.recipes import recipe_of
from lorafit.studio.refusal import StudioError
from lorafit.studio.workspace import Workspace

MOST = 10_000_000
# A schema for it cannot be given here.
CHOICES = tuple(name for name in METRICS if name != "json_schema")


@dataclass(slots=True)
class Wanted:
    """questions: the run's own held-out rows, those of a file, or a task's. Paths are as a page names them; numbers are
    None, and texts empty, where nothing is asked. general: `builtin`, `none` or a file."""

    questions: Literal["own", "data", "task"] = "own"
    data: str = ""
    category: str = ""
    metrics: tuple[str, ...] = ()
    task: str = ""
    records: str = ""
    examples: str = ""
    shots: float | None = None
    general: str = "builtin"
    limit: float | None = None
    max_new_tokens: float | None = None
    name: str = ""

    def arguments(self, workspace: Workspace, run: str) -> list[str]:
        """The command, seen from the workspace. Raises StudioError for what is missing, wrong, or outside, and
        for a run whose recipe would run code; RecipeError where it cannot be read."""
        recipe_of(workspace.run(run).recipe)
        return ["evaluate", f"runs/{run}", *self._all(workspace)]

    def _all(self, workspace: Workspace) -> Iterator[str]:
        if self.questions == "data":
            yield f"--data={_file(workspace, self.data, 'a data file')}"
            if self.category:
                yield f"--category={self.category}"
            if unknown := [name for name in self.metrics if name not in CHOICES]:
                raise StudioError(f"There is no metric {unknown[0]!r}. The metrics are {', '.join(CHOICES)}.")
            if self.metrics:
                yield f"--metrics={','.join(self.metrics)}"
        if self.questions == "task":
            yield from self._of_task(workspace)
        if self.general != "builtin":
            general = self.general if self.general == "none" else _file(workspace, self.general, "the general text")
            yield f"--forgetting={general}"
        for option, number in (("--limit", self.limit), ("--max-new-tokens", self.max_new_tokens)):
            if number is not None:
                yield f"{option}={_whole(option, number, 1)}"
        if self.name:
            if not re.fullmatch(r"\w[\w.+ -]*", self.name):
                raise StudioError(
                    f"The name {self.name!r} has to be the name of a folder: letters, digits and - _ . +."
                )
            yield f"--name={self.name}"

    def _of_task(self, workspace: Workspace) -> Iterator[str]:
        if self.task not in built_in():
            raise StudioError(f"Choose a task: {', '.join(built_in())}.")
        yield f"--task={self.task}"
        yield f"--records={_file(workspace, self.records, 'where the questions of the task are')}"
        if self.examples:
            yield f"--examples={_file(workspace, self.examples, 'the examples')}"
        if self.shots is not None:
            yield f"--shots={_whole('--shots', self.shots, 0)}"


def _file(workspace: Workspace, text: str, what: str) -> str:
    """A file or folder that is there, as the command is given it."""
    if not text.strip():
        raise StudioError(f"Name {what}: a file or folder in {workspace.root}.")
    path = workspace.path(text)
    if not path.exists():
        raise StudioError(f"There is no {text!r} in {workspace.root}.")
    return workspace.shown(path)


def _whole(option: str, number: float, least: int) -> int:
    if not least <= number <= MOST or number != round(number):
        raise StudioError(f"{option}: a whole number from {least} to {MOST:,} is needed, not {number:g}.")
    return round(number)
