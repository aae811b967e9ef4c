"""Rows that stand there already: in earlier rows, or in the held-out set. Texts are kept as 128-bit hashes."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable

from lorafit.data.clean.rows import EachRow
from lorafit.data.split import normalised_prompt
from lorafit.records import Conversation, Source


def _digest(text: str) -> bytes:
    # Among a billion texts two of 128 bits are equal by chance with a probability of 1e-21.
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def _whole(row: Conversation) -> bytes:
    # A role and a length before each text: no two rows are written alike.
    texts = "".join(f"{message.role} {len(message.content)}\n{message.content}" for message in row.messages)
    others = [(message.thinking, message.tool_calls) for message in row.messages]
    return _digest(texts if not any(map(any, others)) and not row.tools else f"{texts}{others!r}{row.tools!r}")


class ExactDuplicates(EachRow):
    """Rows that equal an earlier one in every turn."""

    name = "exact_duplicates"

    def __init__(self) -> None:
        self.found: Counter[str] = Counter()
        self._first: dict[bytes, Source] = {}

    def _fault(self, row: Conversation) -> str | None:
        whole = _whole(row)
        if first := self._first.get(whole):
            return f"equals {first}"
        self._first[whole] = row.source
        return None


class SamePrompt(EachRow):
    """Rows that ask what an earlier row asks (case, width and spaces evened out) and answer something else."""

    name = "same_prompt"

    def __init__(self) -> None:
        self.found: Counter[str] = Counter()
        self._first: dict[bytes, tuple[Source, bytes]] = {}

    def _fault(self, row: Conversation) -> str | None:
        prompt = normalised_prompt(row)
        if not prompt:
            return None
        whole = _whole(row)
        first, first_whole = self._first.setdefault(_digest(prompt), (row.source, whole))
        return None if whole == first_whole else f"asks the same as {first} and answers something else"


class InHeldOut(EachRow):
    """Rows whose prompt also stands in the held-out set, compared as the split compares them."""

    name = "in_held_out"

    def __init__(self, held_out: Iterable[Conversation]) -> None:
        self.found: Counter[str] = Counter()
        self._held: dict[bytes, Source] = {}
        for row in held_out:
            if prompt := normalised_prompt(row):
                self._held.setdefault(_digest(prompt), row.source)

    def _fault(self, row: Conversation) -> str | None:
        held = self._held.get(_digest(normalised_prompt(row))) if self._held else None
        return f"the prompt is that of a held-out row ({held})" if held else None
