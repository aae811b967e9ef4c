"""The rows of a task to questions: templates rendered, shots drawn and put before, choices and the right one found."""

from __future__ import annotations

import hashlib
import re
from bisect import insort
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from operator import itemgetter
from pathlib import Path, PurePath
from typing import Any

import jinja2

from lorafit.data.forms.values import BadRow, near, unfolded
from lorafit.data.read import read_file
from lorafit.data.readers.hub import HubSet, read_hub_set
from lorafit.data.readers.opened import COMPRESSED, DataFile, open_file
from lorafit.data.settings import DataSettings
from lorafit.data.sources import resolve
from lorafit.errors import DataError
from lorafit.evaluate.metrics.tokens import spaced
from lorafit.evaluate.question import Question
from lorafit.evaluate.task import ENVIRONMENT, Task
from lorafit.records import Message, Record, Source

_SPLIT_ENDING = re.compile(r"[_-](test|dev|val)$")
_MISSING = re.compile(r"'(?P<name>[^']*)' is undefined|has no attribute '(?P<attribute>[^']*)'")
# What a template may meet in a row that it was not written for.
_UNRENDERED = (jinja2.TemplateError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


@dataclass(frozen=True, slots=True)
class _Row:
    """A row with all the names that templates know."""

    source: Source
    names: Mapping[str, Any]
    category: str


@dataclass(frozen=True, slots=True)
class _Shot:
    """An example as it is shown."""

    source: Source
    asked: str
    answer: str


def questions(task: Task, seed: int = 0, limit: int | None = None) -> Iterator[Question]:
    """The questions of a task in the order of its rows, streamed. limit: so many of each category.

    For plain tasks `text` holds description, shots and prompt; for chat tasks the description stands at the beginning
    of the first user's turn, because not every template has a system turn. Of choices, each is what the model would go
    on with, and the reference is the right one.
    Raises DataError, naming file and row, for rows that the templates do not fit; for files that are not there; and for
    a category with fewer examples than shots.
    """
    templates = _Templates(task)
    shots = _drawn(task, templates, seed)
    used = {(_whole(shot.source.file), shot.source.row) for of in shots.values() for shot in of}
    asked: Counter[str] = Counter()
    number = 0
    for row in _rows(task, templates, "records"):
        if limit is not None and asked[row.category] >= limit:
            if not task.category:
                return
            continue
        if used and (_whole(row.source.file), row.source.row) in used:
            continue
        asked[row.category] += 1
        number += 1
        yield _question(task, templates, number, row, _shots_of(task, shots, row))


def filtered(task: Task, text: str) -> str:
    """A generated answer after the steps of the task's filter."""
    for step in task.filter:
        text = step.apply(text)
    return text


class _Templates:
    """The compiled templates of a task; each is rendered for a row."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self._compiled: dict[str, jinja2.Template] = {}

    def render(self, field: str, text: str, source: Source, names: Mapping[str, Any]) -> str:
        """Raises DataError that names the row, the field and the column that is missing."""
        if "{" not in text:  # no template, such as the choices A to D
            return text
        template = self._compiled.get(text)
        if template is None:
            template = self._compiled[text] = ENVIRONMENT.from_string(text)
        try:
            return template.render(names)
        except _UNRENDERED as error:
            found = _MISSING.search(str(error)) if isinstance(error, jinja2.UndefinedError) else None
            if found:
                missing = found["name"] or found["attribute"]
                problem = f"there is no {missing!r}. {near(missing, map(str, names['row']))}"
            else:
                problem = f"{type(error).__name__}: {error}"
            raise DataError(f"{source}: {field} of the task {self.task.name} cannot be rendered: {problem}") from None

    def of(self, field: str, row: _Row) -> str:
        return self.render(field, getattr(self.task, field), row.source, row.names)

    def answers(self, field: str, text: str, row: _Row) -> list[str]:
        """A column that holds a list, by its name; or what the template gives, a list where that is JSON."""
        value = row.names.get(text)
        if not isinstance(value, list):
            try:
                value = unfolded(self.render(field, text, row.source, row.names) if value is None else value, field)
            except BadRow as bad:
                raise DataError(f"{row.source}: {field} of the task {self.task.name} {bad}") from None
        return [str(one) for one in value] if isinstance(value, list) else [str(value)]

    def choices(self, row: _Row) -> list[str]:
        """None for a task that generates."""
        if not isinstance(self.task.choices, str):
            return [self.render("choices", text, row.source, row.names) for text in self.task.choices]
        return self.answers("choices", self.task.choices, row)


def _question(task: Task, templates: _Templates, number: int, row: _Row, shots: Sequence[_Shot]) -> Question:
    prompt, choices = _asked(templates, row), templates.choices(row)
    between = "" if task.chat else _delimiter(task, prompt)
    offered = tuple(between + choice for choice in choices)
    references = (offered[_right(templates, row, choices)],) if choices else tuple(_references(templates, row))
    description = templates.of("description", row).rstrip()
    messages: tuple[Message, ...] = ()
    text = ""
    lead = description + task.separator if description else ""
    if task.chat:
        asked = [shot.asked for shot in shots] + [prompt]
        asked[0] = lead + asked[0]
        turns = [Message("user", asked[0])]
        for shot, following in zip(shots, asked[1:], strict=True):
            turns += [Message("assistant", shot.answer), Message("user", following)]
        messages = tuple(turns)
    else:
        shown = [shot.asked + _delimiter(task, shot.asked) + shot.answer + task.separator for shot in shots]
        text = lead + "".join(shown) + prompt
    return Question(number, row.source, messages, text, references, offered, row.category)


def _asked(templates: _Templates, row: _Row) -> str:
    prompt = templates.of("prompt", row)
    if not prompt.strip():
        raise DataError(f"{row.source}: the prompt of the task {templates.task.name} is empty.")
    return prompt


def _shown_answer(templates: _Templates, row: _Row) -> str:
    """The answer of a shot."""
    if templates.task.shot_answer:
        return templates.of("shot_answer", row)
    choices = templates.choices(row)
    return choices[_right(templates, row, choices)] if choices else _references(templates, row)[0]


def _references(templates: _Templates, row: _Row) -> list[str]:
    value = row.names.get(templates.task.answer)
    found = [str(one) for one in value] if isinstance(value, list) else [templates.of("answer", row)]
    if not any(one.strip() for one in found):
        raise DataError(f"{row.source}: the answer of the task {templates.task.name} is empty.")
    return found


def _right(templates: _Templates, row: _Row, choices: Sequence[str]) -> int:
    """The place of the right choice."""
    if len(choices) < 2:
        raise DataError(f"{row.source}: the task {templates.task.name} has {len(choices)} choices, and needs two.")
    answer = templates.of("answer", row).strip()
    for place, choice in enumerate(choices):
        if choice.strip() == answer:
            return place
    if answer.isdecimal() and int(answer) < len(choices):
        return int(answer)
    raise DataError(
        f"{row.source}: the answer {answer[:40]!r} of the task {templates.task.name} is none of the choices "
        f"({', '.join(choice[:40] for choice in choices)}) and no place among them (0 to {len(choices) - 1})."
    )


def _delimiter(task: Task, prompt: str) -> str:
    if task.delimiter is not None:
        return task.delimiter
    last = prompt[-1:]
    return " " if spaced(last) == last else ""


def _drawn(task: Task, templates: _Templates, seed: int) -> dict[str, list[_Shot]]:
    """The shots of each category; of the examples, only these are held."""
    if not task.shots:
        return {}
    kept: dict[str, list[tuple[int, _Row]]] = {}
    for number, row in enumerate(_rows(task, templates, "examples")):
        place = number if task.draw == "first" else _drawn_place(seed, row.source)
        best = kept.setdefault(row.category, [])
        insort(best, (place, row), key=itemgetter(0))
        del best[task.shots :]
    return {
        category: [_Shot(row.source, _asked(templates, row), _shown_answer(templates, row)) for _, row in best]
        for category, best in kept.items()
    }


def _drawn_place(seed: int, source: Source) -> int:
    # The file without its folder: a task repeated elsewhere draws the same rows.
    key = f"{seed}\n{PurePath(source.file).name}\n{source.row}"
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big")


def _shots_of(task: Task, shots: Mapping[str, list[_Shot]], row: _Row) -> list[_Shot]:
    found = shots.get(row.category, [])
    if len(found) < task.shots:
        of = f" of the category {row.category!r}" if task.category else ""
        raise DataError(
            f"{row.source}: the task {task.name} asks for {task.shots} shots, and {task.examples} holds {len(found)} "
            f"examples{of}. Ask for fewer shots, or name other examples."
        )
    return found


def _rows(task: Task, templates: _Templates, part: str) -> Iterator[_Row]:
    name = getattr(task, part)
    try:
        sources = resolve(DataSettings(train=name))
    except DataError as error:
        raise DataError(f"The {part} of the task {task.name}: {error}") from None
    for source in sources:
        for file in source.files:
            stem = _stem(file)
            for record in islice(_records(file, task.columns), source.limit):
                names = {"file": stem, "row": record.fields, **record.fields}
                category = templates.render("category", task.category, record.source, names)
                title = task.titles.get(category, category.replace("_", " "))
                yield _Row(record.source, {"category": category, "title": title, **names}, category)


def _records(file: DataFile | HubSet, columns: Sequence[str]) -> Iterator[Record]:
    if isinstance(file, HubSet):
        yield from read_hub_set(file)
        return
    with open_file(file) as opened:
        for row in read_file(opened, columns=columns).rows:
            if isinstance(row, Record):
                yield row
            elif row.fault:
                raise DataError(f"{row.record.source}: {row.problem}.")


def _stem(file: DataFile | HubSet) -> str:
    if isinstance(file, HubSet):
        return file.config or file.name.rpartition("/")[2]
    path = Path(file.member or file.path.name)
    stem = Path(path.stem).stem if path.suffix.lower() in COMPRESSED else path.stem
    return _SPLIT_ENDING.sub("", stem)


@lru_cache(maxsize=256)
def _whole(file: str) -> Path:
    return Path(file).resolve()
