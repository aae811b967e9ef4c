"""What passes between the stages: small frozen records, each with its shapes.

Letters of shapes, here and in every file: T tokens of a row, S supervised tokens of a row, D features, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np
    import torch


@dataclass(frozen=True, slots=True)
class Source:
    """Where a row came from: the file as the user named it, and the row's number counted from 1."""

    file: str
    row: int

    def __str__(self) -> str:
        return f"{self.file}, row {self.row}"


@dataclass(frozen=True, slots=True)
class Record:
    """One row of a data file as it was read."""

    fields: Mapping[str, Any]
    source: Source


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation.

    trained: whether an assistant's turn is trained on. thinking: what the assistant thinks before it answers.
    tool_calls: what it asks tools for, as OpenAI writes it ({"type": "function", "function": {"name", "arguments"}},
    the arguments an object); name: the tool whose answer a turn of role `tool` is.
    """

    role: Literal["system", "user", "assistant", "tool"]
    content: str
    trained: bool = True
    thinking: str = ""
    tool_calls: tuple[Mapping[str, Any], ...] = ()
    name: str = ""


@dataclass(frozen=True, slots=True)
class Conversation:
    """Turns in order; the last is the assistant's. tools: those it may call, as OpenAI's JSON schemas.

    Raw text (continued pre-training) is an assistant's turn alone: it is rendered without a template.
    """

    messages: tuple[Message, ...]
    source: Source
    tools: tuple[Mapping[str, Any], ...] = ()

    @property
    def is_text(self) -> bool:
        return len(self.messages) == 1

    @property
    def prompt(self) -> tuple[Message, ...]:
        """The turns before the last answer: what the model is given when that answer is asked for."""
        return self.messages[:-1]

    @property
    def answer(self) -> str:
        """The last answer, the reference that a generated one is compared with."""
        return self.messages[-1].content


@dataclass(frozen=True, slots=True)
class Sample:
    """A conversation after template and tokenizer.

    token_ids: int64 [T]; trained: bool [T], true where the token itself is a target (never at place 0).
    """

    token_ids: np.ndarray
    trained: np.ndarray
    source: Source

    def __len__(self) -> int:
        return len(self.token_ids)

    @property
    def supervised_tokens(self) -> int:
        return int(self.trained.sum())


@dataclass(frozen=True, slots=True)
class Siblings:
    """Runs of tokens that continue the same path: places `start` to `end` of a row, one run after another.

    A token attends to the places in `path` (ranges of the row, from the root down) and to its own run up to itself.
    runs: (length, count) in order, for `count` neighbours of equal length.
    """

    start: int
    end: int
    path: tuple[tuple[int, int], ...]
    runs: tuple[tuple[int, int], ...]

    @property
    def path_length(self) -> int:
        return sum(end - start for start, end in self.path)


# A row as a forest: documents that share nothing are the runs of one group without a path.
Layout = tuple[Siblings, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """One row of tokens for one pass of the model: documents that attend only to themselves, a shared beginning once.

    token_ids [T], position_ids [T] (places in their documents). predict [S]: places whose *next* token is trained;
    targets [S]: that next token; weights [S] float32: how many documents train it there. prefixes: uint64 [T], a number
    that stands for a token and all that precede it in its document; it names the token for dropout.
    """

    token_ids: torch.Tensor
    position_ids: torch.Tensor
    predict: torch.Tensor
    targets: torch.Tensor
    weights: torch.Tensor
    layout: Layout
    prefixes: np.ndarray

    def to(self, device: torch.device) -> Row:
        return Row(
            self.token_ids.to(device),
            self.position_ids.to(device),
            self.predict.to(device),
            self.targets.to(device),
            self.weights.to(device),
            self.layout,
            self.prefixes,
        )


@dataclass(frozen=True, slots=True)
class Batch:
    """The rows of one update, the supervised tokens that its loss is averaged over, and the tokens of its documents."""

    rows: tuple[Row, ...]
    supervised_tokens: int
    tokens: int

    @property
    def computed_tokens(self) -> int:
        """Tokens that go through the model: fewer than `tokens` when documents share their beginnings."""
        return sum(len(row.token_ids) for row in self.rows)


@dataclass(frozen=True, slots=True)
class Fit:
    """How the work is cut to fit the machine: it changes speed and memory, never the result."""

    tokens_per_pass: int
    recompute: str = "none"
    share_prefixes: bool = True


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened in a run, for whoever watches.

    values of `update` and `held_out` are the columns of metrics.jsonl, of `hardware` those of hardware.jsonl; of `note`
    and `warning`, one `message`.
    """

    kind: Literal["update", "held_out", "hardware", "note", "warning"]
    values: Mapping[str, Any] = field(default_factory=dict)


def note(message: str) -> Event:
    return Event("note", {"message": message})


def warning(message: str) -> Event:
    return Event("warning", {"message": message})
