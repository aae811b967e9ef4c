"""Rows of data to questions: rows with the same prompt are one question with several references."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path

from lorafit.data.convert import Rejected, faults_report
from lorafit.data.forms.values import near
from lorafit.data.settings import DataSettings
from lorafit.data.sources import iterate_conversations, iterate_rows
from lorafit.errors import DataError
from lorafit.evaluate.question import Question
from lorafit.records import Conversation, Record, Source

SHOWN_FAULTS = 1000  # so many are looked for before they are told


def conversations_of(settings: DataSettings) -> Iterator[Conversation]:
    """The rows of files to be evaluated on, streamed.

    Raises DataError at the end for rows that cannot be used, unless `bad_rows` says to drop them.
    """
    faults: list[Rejected] = []
    rows = 0
    for rows, row in enumerate(iterate_conversations(settings), start=1):  # noqa: B007 - the last one counts
        if isinstance(row, Conversation):
            yield row
        elif row.fault and settings.bad_rows == "error":
            faults.append(row)
            if len(faults) == SHOWN_FAULTS:
                break
    if faults:
        raise DataError(faults_report(faults, rows))


def categories_of(settings: DataSettings, column: str) -> Iterator[tuple[Source, str]]:
    """(row, what stands in this column). Raises DataError where no row so far has the column."""
    for row in iterate_rows(settings):
        if isinstance(row, Record):
            if column not in row.fields:
                raise DataError(f"{row.source} has no column {column!r} (--category). {near(column, row.fields)}")
            yield row.source, str(row.fields[column])


def questions_of(
    read: Callable[[], Iterable[Conversation]],
    categories: Callable[[], Iterable[tuple[Source, str]]] | None = None,
) -> Iterator[Question]:
    """The questions of conversations, in the order of their first rows; texts without a prompt ask nothing.

    read: gives the conversations; called twice, so that of all of them only 64 bits each, and the references beyond the
    first, are held in memory. categories: of the rows, in the same order; rows in between may be missing.
    """
    first: dict[int, int] = {}
    more: dict[int, dict[str, None]] = {}
    for place, conversation in enumerate(read()):
        at = first.setdefault(_prompt_number(conversation), place)
        if at != place:
            more.setdefault(at, {})[conversation.answer] = None
    firsts = set(first.values())
    number = 0
    rows = iter(categories()) if categories else None
    for place, conversation in enumerate(read()):
        if place not in firsts or conversation.is_text:
            continue
        number += 1
        category = next((name for source, name in rows if source == conversation.source), "") if rows else ""
        references = dict.fromkeys((conversation.answer, *more.get(place, ())))
        yield Question(
            number,
            conversation.source,
            conversation.prompt,
            references=tuple(references),
            category=category,
            tools=conversation.tools,
        )


def write_questions(questions: Iterable[Question], path: Path) -> tuple[int, str]:
    """Write questions.jsonl; (how many, SHA-256 of the file)."""
    count, digest = 0, hashlib.sha256()
    with path.open("wb") as file:
        for count, question in enumerate(questions, start=1):  # noqa: B007 - the last one counts
            line = question.to_json().encode() + b"\n"
            file.write(line)
            digest.update(line)
    return count, digest.hexdigest()


def read_questions(path: Path) -> Iterator[Question]:
    with path.open(encoding="utf-8", newline="\n") as file:
        for line in file:
            yield Question.from_json(line)


def _prompt_number(conversation: Conversation) -> int:
    """64 bits of a hash of all that is asked; of a text itself."""
    asked = conversation.messages if conversation.is_text else conversation.prompt
    content = json.dumps([[asdict(message) for message in asked], conversation.tools])
    return int.from_bytes(hashlib.sha256(content.encode()).digest()[:8], "big")
