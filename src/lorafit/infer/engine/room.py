"""Who has which part of the cache: room is promised before a request starts, so that none is stopped halfway."""

from __future__ import annotations

from collections.abc import Iterable

from lorafit.infer.engine.answer import Answer
from lorafit.infer.engine.cache import Segment, Slab, slot_size
from lorafit.infer.engine.prefixes import Prefix

FIRST_SLOTS = 4
SlabKey = tuple[str | None, Prefix | None, int]


class Room:
    """The cache, counted in tokens: `used` never passes `limit`."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        self.slabs: dict[SlabKey, Slab[Answer]] = {}
        # In the order of their last use.
        self.prefixes: dict[Prefix, None] = {}

    def needed(self, tokens: int, answer_tokens: int) -> int:
        """The most that a request alone can need."""
        return tokens + (slot_size(tokens + answer_tokens) if answer_tokens else 0)

    def admit(self, answer: Answer) -> list[Prefix] | None:
        """Promise room to a request: the beginnings that are still to be computed for it, None when it has to wait."""
        path = answer.prefix.path if answer.prefix else ()
        key = (answer.request.adapter, answer.prefix, slot_size(len(answer.own) + answer.grows))
        for _ in range(2):
            missing = [prefix for prefix in path if prefix.segment is None]
            slab = self.slabs.get(key)
            grown = key[2] if answer.grows and (slab is None or slab.taken == slab.slots) else 0
            needed = sum(len(prefix.token_ids) for prefix in missing) + len(answer.own) + grown
            if self.used + needed <= self.limit:
                break
            self._give_up(needed, path)
        else:
            return None
        for prefix in path:
            prefix.running += 1
            self.prefixes.pop(prefix, None)
            self.prefixes[prefix] = None
        for prefix in missing:
            prefix.segment = self._segment(len(prefix.token_ids))
        answer.segment = self._segment(len(answer.own))
        if answer.grows:
            answer.slab = self._promise(key)
        return missing

    def _promise(self, key: SlabKey) -> Slab[Answer]:
        slab = self.slabs.setdefault(key, Slab(key[2]))
        if slab.taken == slab.slots:
            # Twice as many, so that it is seldom copied, unless the room is becoming scarce.
            wanted = max(FIRST_SLOTS, slab.slots)
            more = wanted if self.used + wanted * slab.capacity <= self.limit // 2 else 1
            slab.resize(slab.slots + more)
            self.used += more * slab.capacity
        slab.promised += 1
        return slab

    def _segment(self, tokens: int) -> Segment:
        self.used += tokens
        return Segment(tokens)

    def settle(self, answer: Answer) -> None:
        """The prompt is whole: it moves to its slot."""
        if answer.slab is not None and answer.segment is not None:
            answer.slab.join(answer, answer.segment)
            self._drop(answer.segment)
            answer.segment = None

    def release(self, answer: Answer) -> None:
        """The request has ended, wherever it was."""
        if answer.slab is not None:
            if answer.segment is None:
                answer.slab.leave(answer)
            else:
                answer.slab.promised -= 1
            if not answer.slab.taken:
                self.used -= answer.slab.tokens
                self.slabs = {key: slab for key, slab in self.slabs.items() if slab is not answer.slab}
        if answer.segment is not None:
            self._drop(answer.segment)
        for prefix in answer.prefix.path if answer.prefix else ():
            prefix.running -= 1

    def forget(self, prefixes: Iterable[Prefix]) -> None:
        """Give up the keys of beginnings; they are computed again when they are needed."""
        for prefix in list(prefixes):
            self.prefixes.pop(prefix, None)
            if prefix.segment is not None:
                self._drop(prefix.segment)
                prefix.segment = None

    def _drop(self, segment: Segment) -> None:
        self.used -= segment.tokens
        segment.dropped = True

    def _give_up(self, needed: int, spared: tuple[Prefix, ...]) -> None:
        """Free slots that nobody has, then beginnings that nobody who runs has, the least recently used first."""
        for slab in self.slabs.values():
            self.used -= (slab.slots - slab.taken) * slab.capacity
            slab.resize(slab.taken)
        for prefix in [p for p in self.prefixes if not p.running and p not in spared]:
            if self.used + needed <= self.limit:
                return
            self.forget([prefix])
