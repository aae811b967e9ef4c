"""What one pass of the model computes: a row of tokens of many requests."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lorafit.infer.engine.answer import Answer
from lorafit.infer.engine.attention import Answers, Chunk, Pass
from lorafit.infer.engine.cache import Segment, Slab
from lorafit.infer.engine.prefixes import Prefix


@dataclass(eq=False, slots=True)
class Fill:
    """A segment on its way: its tokens, the beginning before it, and whose it is (None: a shared beginning's)."""

    segment: Segment
    token_ids: Sequence[int]
    adapter: str | None
    before: Prefix | None
    answer: Answer | None

    @property
    def missing(self) -> int:
        return self.segment.tokens - self.segment.filled


@dataclass(frozen=True, slots=True)
class Share:
    """What a step does for one adapter: the slabs that get a token each member, and the fills that get so many."""

    adapter: str | None
    slabs: Sequence[tuple[Prefix | None, Slab[Answer]]]
    fills: Sequence[tuple[Fill, int]]


class Row:
    """The shares of some adapters in one row."""

    def __init__(self, shares: Sequence[Share], device: torch.device) -> None:
        self.shares = shares
        self.device = device
        self.owners: list[tuple[str | None, int]] = []
        self._token_ids: list[int] = []
        self._positions: list[int] = []
        self._parts: list[Chunk | Answers] = []
        self._places: list[int] = []
        self._wants: list[tuple[Answer, int]] = []
        for share in shares:
            start = len(self)
            for prefix, slab in share.slabs:
                self._add_answers(slab, _segments(prefix))
            for fill, tokens in share.fills:
                self._add_chunk(fill, tokens)
            self.owners.append((share.adapter, len(self) - start))

    def __len__(self) -> int:
        return len(self._token_ids)

    def _add_answers(self, slab: Slab[Answer], path: tuple[Segment, ...]) -> None:
        part = Answers(len(self), slab, path, self.device)
        self._places += range(part.start, part.end)
        self._positions += part.positions
        self._token_ids += [answer.ids[-1] for answer in slab.members]
        self._wants += [(answer, 1) for answer in slab.members]
        self._parts.append(part)

    def _add_chunk(self, fill: Fill, tokens: int) -> None:
        start, seen = len(self), fill.segment.filled
        before = fill.before.length if fill.before else 0
        if fill.answer is not None:
            wanted = fill.answer.wanted(seen, seen + tokens)
            self._places += [start + place - seen for place in wanted]
            if wanted:
                self._wants.append((fill.answer, len(wanted)))
        self._positions += range(before + seen, before + seen + tokens)
        self._token_ids += fill.token_ids[seen : seen + tokens]
        self._parts.append(Chunk(start, len(self), fill.segment, _segments(fill.before)))

    def compute(self, model: Any) -> Tensor:
        """Write the cache; the logits [W, V] at the places that are wanted. The model attends by `ENGINE`."""
        known = inspect.signature(model.forward).parameters
        extra: dict[str, Any] = {"engine_pass": Pass(self._parts)}
        if "position_ids" in known:
            extra["position_ids"] = torch.tensor([self._positions], device=self.device)
        places_W = torch.tensor(self._places, device=self.device, dtype=torch.long)
        selects = "logits_to_keep" in known
        if selects:
            extra["logits_to_keep"] = places_W
        token_ids_1T = torch.tensor([self._token_ids], device=self.device)
        logits: Tensor = model(input_ids=token_ids_1T, use_cache=False, **extra).logits[0]
        return logits if selects else logits[places_W]

    def hand_out(self, logits_WV: Tensor) -> None:
        """Move the cache on, and give every request the logits that it wanted."""
        for share in self.shares:
            for _, slab in share.slabs:
                slab.lengths = [length + 1 for length in slab.lengths]
            for fill, tokens in share.fills:
                fill.segment.filled += tokens
        likeliest = logits_WV.argmax(-1).tolist()
        place = 0
        for answer, count in self._wants:
            answer.take(logits_WV[place : place + count], likeliest[place : place + count])
            place += count


def _segments(prefix: Prefix | None) -> tuple[Segment, ...]:
    return tuple(each.segment for each in prefix.path if each.segment is not None) if prefix else ()
