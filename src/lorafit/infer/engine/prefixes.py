"""Shared beginnings: which requests begin alike, and what is kept for those that come later."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from lorafit.infer.engine.cache import Segment
from lorafit.infer.engine.request import Request

# A beginning is shared where that saves so many tokens. Where answers are generated each shared beginning also splits
# the work of every step; where they are scored it does not.
LEAST_GENERATED, LEAST_SCORED = 128, 16
LEAST_TOKENS = 8


@dataclass(eq=False, slots=True)
class Prefix:
    """A shared beginning: its parent's tokens and then its own.

    kept: it stays when the last request with it has ended. requests: those that have not ended; running: those of them
    that hold their keys. segment: its keys and values, once they were needed and as long as there was room.
    """

    token_ids: tuple[int, ...]
    adapter: str | None
    parent: Prefix | None = None
    kept: bool = False
    requests: int = 0
    running: int = 0
    segment: Segment | None = None

    @property
    def path(self) -> tuple[Prefix, ...]:
        """From the root to this one."""
        path = [self]
        while path[-1].parent is not None:
            path.append(path[-1].parent)
        return tuple(reversed(path))

    @property
    def length(self) -> int:
        return sum(len(each.token_ids) for each in self.path)

    def begins(self, token_ids: Sequence[int]) -> bool:
        place = 0
        for each in self.path:
            end = place + len(each.token_ids)
            if tuple(token_ids[place:end]) != each.token_ids:
                return False
            place = end
        return True


def plan(requests: Sequence[Request]) -> list[tuple[int, Prefix | None]]:
    """(number of the request, its beginning) in the order in which they are best answered: those with the same
    beginning one after another, of these the longest first, so that neighbours are of like length and end together."""
    planned: list[tuple[int, Prefix | None]] = []
    for adapter in sorted({request.adapter for request in requests}, key=str):
        numbers = [i for i, request in enumerate(requests) if request.adapter == adapter]
        # Of the last token of a prompt each request needs the logits.
        numbers.sort(key=lambda i: tuple(requests[i].prompt[:-1]))
        prefixes = _prefixes([requests[i] for i in numbers], adapter)
        groups: dict[int, list[int]] = {}
        for number, prefix in zip(numbers, prefixes, strict=True):
            groups.setdefault(id(prefix), []).append(number)
        by_number = dict(zip(numbers, prefixes, strict=True))
        for group in groups.values():
            group.sort(key=lambda i: -len(requests[i].token_ids))
            planned.extend((i, by_number[i]) for i in group)
    return planned


def _prefixes(requests: Sequence[Request], adapter: str | None) -> list[Prefix | None]:
    """The beginning of each of the requests, which stand in the order of their tokens and have one adapter."""
    ids = [tuple(request.prompt[:-1]) for request in requests]
    agree = [0, *(_common(one, other) for one, other in pairwise(ids))]
    found: list[Prefix | None] = [None] * len(ids)
    groups: list[tuple[int, int, Prefix | None]] = [(0, len(ids), None)]
    while groups:
        first, last, parent = groups.pop()
        common = min(agree[first + 1 : last]) if last - first > 1 else len(ids[first])
        start = parent.length if parent else 0
        least = LEAST_SCORED if all(r.continuation for r in requests[first:last]) else LEAST_GENERATED
        if common - start >= LEAST_TOKENS and (last - first - 1) * (common - start) >= least:
            parent = Prefix(ids[first][start:common], adapter, parent)
            found[first:last] = [parent] * (last - first)
        groups.extend((one, end, parent) for one, end in _forks(agree, first, last, common) if end - one > 1)
    return found


def _forks(agree: Sequence[int], first: int, last: int, common: int) -> Iterator[tuple[int, int]]:
    """The parts of a group that agree in more than all of it does."""
    starts = [first, *(i for i in range(first + 1, last) if agree[i] == common), last]
    if len(starts) > 2:
        yield from pairwise(starts)


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    length = min(len(one), len(other))
    if one[:length] == other[:length]:
        return length
    return next(i for i in range(length) if one[i] != other[i])
