"""What an evaluation is asked for, and the parts that it has."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from lorafit import builtin
from lorafit.evaluate.journal import Journal
from lorafit.evaluate.score import Scoring
from lorafit.records import Conversation

Kind = Literal["answers", "choices", "likelihood", "forgetting", "harness"]
NO_FORGETTING = "none"


@dataclass(frozen=True, slots=True)
class Wanted:
    """data: files of rows. tasks: YAML files or built-in names, with `records` and `examples` in place of their own.
    harness: tasks of lm-evaluation-harness. With none of these it is the run's own held-out rows.

    metrics: of the answers to data; empty takes those that fit. category: the column by which scores are broken down.
    forgetting: a text, `builtin`, or `none`. limit: of the questions, and of the rows, of each part.
    """

    data: Sequence[str] = ()
    tasks: Sequence[str] = ()
    records: str | None = None
    examples: str | None = None
    harness: Sequence[str] = ()
    harness_path: str | None = None
    metrics: Sequence[str] = ()
    schema: Path | None = None
    word_language: str = ""
    category: str = ""
    forgetting: str = builtin.NAME
    max_new_tokens: int | None = None
    shots: int | None = None
    limit: int | None = None
    seed: int = 0
    drop_bad_rows: bool = False


@dataclass(slots=True)
class Part:
    """One list of questions or rows, asked in one way.

    folder: its questions.jsonl and a journal for each speaker. count: of its questions or rows; digest: SHA-256 of
    them. read: the rows of what is not asked but read. tasks: of the harness.
    """

    name: str
    kind: Kind
    folder: Path
    count: int = 0
    rows: int = 0
    digest: str = ""
    scoring: Scoring = field(default_factory=lambda: Scoring(()))
    max_new_tokens: int = 0
    stop: tuple[str, ...] = ()
    read: Callable[[], Iterator[Conversation]] | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def questions(self) -> Path:
        return self.folder / "questions.jsonl"

    def journal(self, speaker: str) -> Journal:
        return Journal(self.folder / f"{speaker}.jsonl")
