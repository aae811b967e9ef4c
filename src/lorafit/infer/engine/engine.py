"""One decoding engine for evaluation, chat and serving: requests join and leave a running batch.

A step is one row through the model: the newest token of every request that answers, and chunks of the prompts of those
that have just come (continuous batching and chunked prompts: Orca, OSDI 2022; Sarathi, arXiv 2308.16369). Nothing is
padded in the row. The slow, obvious reference is `infer/generate.py`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import torch

from lorafit.errors import DataError, DoesNotFit
from lorafit.infer.engine.adapters import Adapters
from lorafit.infer.engine.answer import Answer
from lorafit.infer.engine.attention import attending
from lorafit.infer.engine.fallback import Fallback
from lorafit.infer.engine.prefixes import Prefix, plan
from lorafit.infer.engine.probe import probe
from lorafit.infer.engine.request import Completion, Handle, Reason, Request
from lorafit.infer.engine.room import Room
from lorafit.infer.engine.row import Fill, Row, Share
from lorafit.model.load import longest_sequence

# How many requests are looked at together for what they share, and sorted by length.
WINDOW = 2048
LEAST_CHUNK = 64


class Engine:
    """Decodes for many requests at once, each with its own adapter, sampling and end.

    model: a transformers model or PEFT's around it; between steps it is as it was, in evaluation mode. decode: ids to
    text without special tokens; without it there is neither text nor stop texts. max_running: requests at once.
    tokens_per_step: prompt tokens computed beside the answers in a step. cache_bytes: for keys and values. Only `add`
    and a handle's `cancel` may be called from another thread. `fallback` says why the model is decoded by transformers
    instead, a request at a time; None when it is not.
    """

    def __init__(
        self,
        model: Any,
        decode: Callable[[Sequence[int]], str] | None = None,
        *,
        max_running: int = 64,
        tokens_per_step: int = 512,
        cache_bytes: int = 1 << 30,
        warn: Callable[[str], None] = lambda message: None,
    ) -> None:
        self.adapters = Adapters(model)
        self.adapters.refresh()
        self.model = model.get_base_model() if hasattr(model, "peft_config") else model
        self.decode, self.max_running, self.tokens_per_step = decode, max_running, tokens_per_step
        self.device = next(self.model.parameters()).device
        self.longest = longest_sequence(self.model)
        self.room = Room(1 << 40)
        self.steps = 0
        self._waiting: deque[Answer] = deque()
        self._running: list[Answer] = []
        self._fills: list[Fill] = []
        self._kept: list[Prefix] = []
        self._fallback: Fallback | None = None
        token_bytes, self.fallback = probe(self)
        if self.fallback is None:
            self.room = Room(max(1, cache_bytes // token_bytes))
        else:
            self._fallback = Fallback(self.model, self.adapters)
            warn(f"Answers come one at a time, through transformers' generate: {self.fallback}.")

    # ------------------------------------------------------------------------------------------------ requests

    def add(self, request: Request) -> Handle:
        """Let a request join; it is answered by the steps to come.

        Raises DataError for an empty or too long one, one for an unknown adapter, or one that asks for text without
        a `decode`; DoesNotFit when it alone needs more than the cache.
        """
        kept = [p for p in self._kept if p.adapter == request.adapter and p.length < len(request.prompt)]
        fitting = [p for p in kept if p.begins(request.prompt)]
        return self._add(request, max(fitting, key=lambda p: p.length, default=None))

    def share(self, token_ids: Sequence[int], adapter: str | None = None) -> None:
        """Keep a beginning (a system prompt, examples) that requests to come will have: it is computed once, with the
        first of them, and given up only when the cache is full of what runs."""
        if token_ids:
            self._kept.append(Prefix(tuple(token_ids), adapter, kept=True))

    def unshare(self, token_ids: Sequence[int], adapter: str | None = None) -> None:
        """Keep a beginning no longer than the requests that have it."""
        for prefix in [p for p in self._kept if (p.token_ids, p.adapter) == (tuple(token_ids), adapter)]:
            self._kept.remove(prefix)
            prefix.kept = False
            if not prefix.requests:
                self.room.forget([prefix])

    def run(self, requests: Iterable[Request], advance: Callable[[int], None] = lambda done: None) -> list[Completion]:
        """The completions of requests, in their order. `advance` is told how many more have ended."""
        found: dict[int, Completion] = {}
        for number, completion in self.stream(requests):
            found[number] = completion
            advance(1)
        return [found[number] for number in range(len(found))]

    def stream(self, requests: Iterable[Request]) -> Iterator[tuple[int, Completion]]:
        """(number, completion) as they end. Requests are taken from the iterable a window at a time, so that a million
        of them need no more memory than a window; within it what they share is found, and neighbours are alike."""
        coming, taken = iter(requests), 0
        numbers: dict[Handle, int] = {}
        while True:
            if len(self._waiting) < self.max_running:
                window = list(islice(coming, WINDOW))
                for number, prefix in plan(window):
                    numbers[self._add(window[number], prefix)] = taken + number
                taken += len(window)
            if not numbers:
                return
            for handle in self.step():
                if handle in numbers and handle.completion is not None:
                    yield numbers.pop(handle), handle.completion

    def score(
        self, prompt: Sequence[int], continuations: Sequence[Sequence[int]], adapter: str | None = None
    ) -> list[Completion]:
        """Each continuation's log-probabilities, the prompt computed once; `likeliest` where it would be the answer."""
        return self.run(Request(prompt, adapter=adapter, continuation=tuple(each)) for each in continuations)

    @property
    def pending(self) -> int:
        """How many requests have not ended."""
        return len(self._waiting) + len(self._running)

    def _add(self, request: Request, prefix: Prefix | None) -> Handle:
        limit = request.max_new_tokens
        if self.longest is not None:
            limit = min(limit, self.longest - len(request.prompt))
        self._check(request, limit)
        handle = Handle(request)
        answer = Answer(handle, prefix, limit, self.decode)
        for each in prefix.path if prefix else ():
            each.requests += 1
        self._waiting.append(answer)
        return handle

    def _check(self, request: Request, limit: int) -> None:
        if not request.prompt:
            raise DataError("A request has an empty prompt: there is nothing to go on from.")
        if request.adapter is not None and request.adapter not in self.adapters.names:
            known = ", ".join(sorted(self.adapters.names)) or "none"
            raise DataError(f"A request asks for the adapter {request.adapter!r}; this model has: {known}.")
        if self.decode is None and (request.stop or request.on_text):
            raise DataError(
                "A request asks for text or stop texts, but this engine was made without a decode function."
            )
        tokens = len(request.token_ids)
        if self.longest is not None and tokens > self.longest and request.continuation:
            raise DataError(f"A prompt and its continuation have {tokens} tokens; this model takes {self.longest}.")
        needed = self.room.needed(tokens, 0 if request.continuation else max(0, limit - 1))
        if needed > self.room.limit:
            raise DoesNotFit(
                f"A request of {tokens} tokens, answer of up to {limit}, needs room for {needed} in the cache, which "
                f"has {self.room.limit}. Allow a shorter answer, or give the engine more cache_bytes."
            )

    # ---------------------------------------------------------------------------------------------------- steps

    @torch.no_grad()
    def step(self) -> list[Handle]:
        """Take every request a step on; returns those that have ended."""
        self._forget_gone()
        ended = self._cancelled()
        if self._fallback is not None:
            return ended + self._answer_one(self._fallback)
        ended += self._admit()
        shares = self._shares()
        together = [share for share in shares if not self.adapters.needs_own_pass(share.adapter)]
        alone = [share for share in shares if self.adapters.needs_own_pass(share.adapter)]
        if self.model.training:
            self.model.eval()
        with attending(self.model):
            if together:
                row = Row(together, self.device)
                with self.adapters.shared(row.owners):
                    self._compute(row)
            for share in alone:
                with self.adapters.alone(share.adapter):
                    self._compute(Row([share], self.device))
        self.steps += 1
        return ended + [self._end(answer, answer.reason) for answer in list(self._running) if answer.reason]

    def _compute(self, row: Row) -> None:
        row.hand_out(row.compute(self.model))
        for fill in [fill for share in row.shares for fill, _ in share.fills if not fill.missing]:
            self._fills.remove(fill)
            if fill.answer is not None and fill.answer.reason is None:
                self.room.settle(fill.answer)

    def _shares(self) -> list[Share]:
        """What there is to do in this step, by adapter."""
        slabs = [(key[0], (key[1], slab)) for key, slab in self.room.slabs.items() if slab.members]
        left = max(LEAST_CHUNK, self.tokens_per_step - sum(len(slab.members) for _, (_, slab) in slabs))
        self._fills = [fill for fill in self._fills if not fill.segment.dropped]
        fills = []
        # In order, so that a beginning is whole before what goes on from it, or becomes so in the same row.
        for fill in self._fills:
            fills.append((fill, min(left, fill.missing)))
            left -= fills[-1][1]
            if not left:
                break
        adapters = dict.fromkeys([adapter for adapter, _ in slabs] + [fill.adapter for fill, _ in fills])
        return [
            Share(
                name, [slab for adapter, slab in slabs if adapter == name], [f for f in fills if f[0].adapter == name]
            )
            for name in adapters
        ]

    def _admit(self) -> list[Handle]:
        """Let those who wait start, in their order, as long as there is room; returns those with nothing to do."""
        ended = []
        while self._waiting and len(self._running) < self.max_running:
            answer = self._waiting[0]
            if not answer.request.continuation and answer.limit <= 0:
                self._waiting.popleft()
                ended.append(self._end(answer, "length"))
                continue
            missing = self.room.admit(answer)
            if missing is None or answer.segment is None:
                break
            self._waiting.popleft()
            self._running.append(answer)
            adapter = answer.request.adapter
            for prefix in missing:
                if prefix.segment is not None:
                    self._fills.append(Fill(prefix.segment, prefix.token_ids, adapter, prefix.parent, None))
            self._fills.append(Fill(answer.segment, answer.own, adapter, answer.prefix, answer))
        return ended

    def _cancelled(self) -> list[Handle]:
        return [
            self._end(answer, "cancelled") for answer in (*self._waiting, *self._running) if answer.handle.cancelled
        ]

    def _forget_gone(self) -> None:
        """Adapters that were removed or replaced take what was computed with them along."""
        gone = self.adapters.refresh()
        if not gone:
            return
        self.room.forget([prefix for prefix in self.room.prefixes if prefix.adapter in gone])
        for answer in (*self._waiting, *self._running):
            if answer.request.adapter in gone:
                answer.handle.cancel()

    def _end(self, answer: Answer, reason: Reason) -> Handle:
        """Free what the request had, and hand over its completion."""
        if answer in self._running:
            self._running.remove(answer)
            self.room.release(answer)
        elif answer in self._waiting:
            self._waiting.remove(answer)
        for prefix in answer.prefix.path if answer.prefix else ():
            prefix.requests -= 1
            if not prefix.requests and not prefix.kept:
                self.room.forget([prefix])
        answer.end(reason)
        return answer.handle

    def _answer_one(self, fallback: Fallback) -> list[Handle]:
        """One request from its beginning to its end, for a model that cannot be decoded in rows."""
        if not self._waiting:
            return []
        answer = self._waiting[0]
        if answer.request.continuation or answer.limit > 0:
            fallback.answer(answer)
        return [self._end(answer, answer.reason or "length")]
