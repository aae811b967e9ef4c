"""Files and tasks to the parts of an evaluation: all questions on the disk before a model is loaded."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from lorafit import builtin
from lorafit.assess.wanted import NO_FORGETTING, Kind, Part, Wanted
from lorafit.data.settings import DataSettings
from lorafit.errors import DataError, RecipeError
from lorafit.evaluate.metrics import METRICS, Metric, checked
from lorafit.evaluate.questions import (
    categories_of,
    conversations_of,
    questions_of,
    read_questions,
    write_questions,
)
from lorafit.evaluate.score import Scoring, fitting_metrics
from lorafit.evaluate.task import load_task
from lorafit.evaluate.task_rows import filtered, questions
from lorafit.observe.console import Console
from lorafit.records import Conversation

FITTING = 1000  # questions from which metrics are chosen
LONGEST_NAME = 60

Read = Callable[[], Iterator[Conversation]]


class Parts:
    """Makes the parts of one evaluation in its folder."""

    def __init__(self, folder: Path, wanted: Wanted, max_new_tokens: int, console: Console) -> None:
        self.folder, self.wanted, self.console = folder, wanted, console
        self.max_new_tokens = wanted.max_new_tokens or max_new_tokens
        self.made: list[Part] = []

    def of_rows(self, name: str, read: Read) -> None:
        """Of rows of data: how likely their answers are, and what is answered to their prompts.

        Raises DataError for rows that cannot be used, RecipeError for metrics that there are not.
        """
        schema = _schema(self.wanted.schema)
        metrics = checked(self.wanted.metrics, schema is not None)
        bounded = partial(_bounded, read, self.wanted.limit)
        with self.console.working(f"reading {name}"):
            likely = self._part(name, "likelihood")
            likely.read = bounded
            likely.count, likely.digest = _digest(bounded())
            likely.rows = likely.count
            if not likely.count:
                raise DataError(f"{name} holds no rows to evaluate on.")
            part = self._part(name, "answers")
            settings, column = rows_settings([name], self.wanted), self.wanted.category
            found = questions_of(bounded, partial(categories_of, settings, column) if column else None)
            part.count, part.digest = write_questions(found, part.questions)
        self.made.append(likely)
        if not part.count:
            likely.notes.append("texts without prompts: nothing is answered")
            return
        part.rows, part.max_new_tokens = likely.count, self.max_new_tokens
        if part.count < part.rows:
            part.notes.append(f"{part.rows:,} rows, {part.count:,} prompts: rows with one prompt are its references")
        first = list(islice(read_questions(part.questions), FITTING))
        metrics = metrics or list(self._fitting(fitting_metrics(first), part))
        part.scoring = Scoring(metrics, schema=schema, word_language=self.wanted.word_language)
        _check_references(part)
        self.made.append(part)

    def of_task(self, name: str) -> None:
        """Raises RecipeError for a faulty task, DataError for its rows."""
        task = load_task(name, self.wanted.records, self.wanted.examples, self.wanted.shots)
        metrics = checked(task.metrics) if not task.choices else []
        with self.console.working(f"reading {task.name}"):
            part = self._part(task.name, "choices" if task.choices else "answers")
            found = questions(task, self.wanted.seed, self.wanted.limit)
            part.count, part.digest = write_questions(found, part.questions)
        if not part.count:
            raise DataError(f"The task {task.name} found no rows in {task.records}.")
        part.rows = part.count
        part.max_new_tokens, part.stop = task.max_new_tokens, tuple(task.stop)
        part.scoring = Scoring(
            metrics or [METRICS["accuracy"]],
            partial(filtered, task),
            word_language=self.wanted.word_language,
            normalise=task.normalise,
        )
        _check_references(part)
        part.notes.append(f"{part.count:,} questions, {task.shots} shots, version {task.version}")
        self.made.append(part)

    def of_harness(self) -> None:
        """The tasks of lm-evaluation-harness, which reads its own questions."""
        part = self._part("lm-eval", "harness")
        content = [sorted(self.wanted.harness), self.wanted.harness_path, self.wanted.limit, self.wanted.shots]
        part.digest = json.dumps(content)
        self.made.append(part)

    def of_forgetting(self) -> None:
        """General text, which is read and not asked about."""
        if self.wanted.forgetting == NO_FORGETTING:
            return
        named = self.wanted.forgetting
        sources = [str(path) for path in builtin.GENERAL] if named == builtin.NAME else [named]
        read = partial(conversations_of, DataSettings(train=list(sources)))
        part = self._part("built-in general text" if named == builtin.NAME else named, "forgetting")
        part.read = partial(_bounded, read, self.wanted.limit)
        with self.console.working(f"reading {part.name}"):
            part.count, part.digest = _digest(part.read())
        part.rows = part.count
        self.made.append(part)

    def _part(self, name: str, kind: Kind) -> Part:
        number = len(self.made) + 1
        folder = self.folder / f"{number:02d}-{kind}-{folder_name(name)}"
        folder.mkdir(parents=True, exist_ok=True)
        return Part(Path(name).name or name, kind, folder)

    def _fitting(self, names: Iterable[str], part: Part) -> Iterator[Metric]:
        for name in names:
            try:
                yield from checked([name])
            except DataError as error:  # its package is not installed; it was not asked for by name
                part.notes.append(f"without {name}: {str(error).splitlines()[0]}")


def _check_references(part: Part) -> None:
    """Raises DataError for a question whose references a metric cannot take: now, and not when all is answered."""
    takes = {metric.takes: metric.name for metric in part.scoring.metrics if metric.takes in ("references", "labels")}
    if not takes:
        return
    for question in read_questions(part.questions):
        if not question.references:
            raise DataError(f"{question.source} has no reference, which {next(iter(takes.values()))} compares with.")
        if "labels" in takes and len(question.references) > 1:
            raise DataError(
                f"{question.source}: {takes['labels']} takes one reference for each prompt, and this prompt has "
                f"{len(question.references)} ({', '.join(map(repr, question.references[:3]))})."
            )


def rows_settings(files: Sequence[str], wanted: Wanted) -> DataSettings:
    return DataSettings(train=list(files), bad_rows="drop" if wanted.drop_bad_rows else "error")


def folder_name(text: str) -> str:
    """A name that any file system takes, made of the last part of a path."""
    stem = Path(text).name or text
    return re.sub(r"[^\w.-]+", "-", stem).strip("-.")[:LONGEST_NAME] or "data"


def _bounded(read: Read, limit: int | None) -> Iterator[Conversation]:
    return islice(read(), limit)


def _digest(conversations: Iterable[Conversation]) -> tuple[int, str]:
    """(how many, SHA-256 of what they say)."""
    count, digest = 0, hashlib.sha256()
    for conversation in conversations:
        count += 1
        content: list[Any] = [[asdict(message) for message in conversation.messages], conversation.tools]
        digest.update(json.dumps(content).encode())
    return count, digest.hexdigest()


def _schema(path: Path | None) -> dict[str, Any] | None:
    if path is None:
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RecipeError(f"The JSON Schema {path} cannot be read: {error}") from None
    if not isinstance(content, dict):
        raise RecipeError(f"The JSON Schema {path} should be an object, found {type(content).__name__}.")
    return content
