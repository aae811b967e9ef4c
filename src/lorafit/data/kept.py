"""What a build keeps beside the samples: the rejected rows, and the first conversations of each part."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, overload

from lorafit.data.convert import Rejected
from lorafit.records import Conversation, Message, Record, Source


class RejectedRows(Sequence[Rejected]):
    """Rejected rows in the file that a build wrote; each is read when it is asked for."""

    def __init__(self, file: Path, count: int) -> None:
        self.file, self._count = file, count

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> Rejected: ...

    @overload
    def __getitem__(self, index: slice) -> list[Rejected]: ...

    def __getitem__(self, index: int | slice) -> Rejected | list[Rejected]:
        wanted = range(self._count)[index]
        if isinstance(wanted, int):
            return next(row for place, row in enumerate(self) if place == wanted)
        last = max(wanted, default=-1)
        found = {place: row for place, row in zip(range(last + 1), self, strict=False) if place in wanted}
        return [found[place] for place in wanted]

    def __iter__(self) -> Iterator[Rejected]:
        with self.file.open(encoding="utf-8", newline="\n") as lines:
            for line in lines:
                row = json.loads(line)
                yield Rejected(Record(row["fields"], Source(row["file"], row["row"])), row["field"], row["reason"])


def read_conversations(folder: Path, part: str) -> tuple[Conversation, ...]:
    """The first conversations of a part, as a build kept them."""
    with (folder / f"{part}.jsonl").open(encoding="utf-8", newline="\n") as lines:
        return tuple(_conversation(json.loads(line)) for line in lines)


def _conversation(row: dict[str, Any]) -> Conversation:
    return Conversation(tuple(map(message_of, row["messages"])), Source(**row["source"]), tuple(row["tools"]))


def message_of(fields: dict[str, Any]) -> Message:
    """A message from its JSON object."""
    return Message(**{**fields, "tool_calls": tuple(fields["tool_calls"])})
