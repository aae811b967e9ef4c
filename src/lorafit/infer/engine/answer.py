"""One request while it runs: what it has, and when it has ended."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from lorafit.infer.engine.cache import Segment, Slab
from lorafit.infer.engine.prefixes import Prefix
from lorafit.infer.engine.request import Completion, Handle, Reason, Request, TokenLogprob
from lorafit.infer.engine.sampling import Sampler, logprobs
from lorafit.infer.engine.text import Text


class Answer:
    """limit: how many tokens may be generated. own: what of the request is not in its shared beginning."""

    def __init__(
        self,
        handle: Handle,
        prefix: Prefix | None,
        limit: int,
        decode: Callable[[Sequence[int]], str] | None,
    ) -> None:
        self.handle, self.prefix, self.limit = handle, prefix, limit
        self.request: Request = handle.request
        self.shared = prefix.length if prefix else 0
        self.own = self.request.token_ids[self.shared :]
        self.sampler = Sampler(self.request.sampling, tuple(self.request.prompt))
        self.text = Text(decode, self.request.stop) if decode is not None else None
        self.ids: list[int] = []
        self.logprobs: list[TokenLogprob] = []
        self.likeliest = True
        self.reason: Reason | None = None
        self.segment: Segment | None = None
        self.slab: Slab[Answer] | None = None

    @property
    def grows(self) -> int:
        """How many generated tokens may have to be kept: all but the last go through the model again."""
        return 0 if self.request.continuation else self.limit - 1

    def wanted(self, start: int, end: int) -> list[int]:
        """Of its own tokens from `start` to `end`, the places whose logits are needed."""
        first = len(self.request.prompt) - 1 - self.shared if self.request.continuation else len(self.own) - 1
        return list(range(max(start, first), end))

    def take(self, logits_NV: Tensor, likeliest: list[int]) -> None:
        """The logits at the places that were wanted, in order, and the likeliest token of each."""
        if self.request.continuation:
            self._score(logits_NV, likeliest)
            return
        token = likeliest[0] if self.sampler.is_plain else self.sampler.choose(logits_NV[0])
        if self.request.logprobs is not None:
            self.logprobs += logprobs(logits_NV, [token], self.request.logprobs)
        if token in self.request.stop_ids:
            self.reason = "stop"
            return
        self.ids.append(token)
        if self.text is not None and not (self.request.stop or self.request.on_text):
            self.text.add(token)
        elif self.text is not None:
            self._show(self.text.push(token))
            if self.text.stopped:
                self.reason = "stop"
                return
        if len(self.ids) == self.limit:
            self.reason = "length"

    def _score(self, logits_NV: Tensor, likeliest: list[int]) -> None:
        done = len(self.logprobs)
        tokens = list(self.request.continuation[done : done + len(likeliest)])
        self.logprobs += logprobs(logits_NV, tokens, self.request.logprobs or 0)
        self.likeliest &= tokens == likeliest
        if len(self.logprobs) == len(self.request.continuation):
            self.reason = "length"

    def _show(self, piece: str) -> None:
        if piece and self.request.on_text is not None:
            self.request.on_text(piece)

    def end(self, reason: Reason) -> Completion:
        """Put the completion into the handle and tell who asked."""
        if self.text is not None:
            self._show(self.text.end())
        scored = self.request.continuation
        self.handle.completion = Completion(
            ids=tuple(scored or self.ids),
            text=self.text.text if self.text is not None else "",
            reason=reason,
            logprobs=tuple(self.logprobs),
            likeliest=bool(scored) and self.likeliest,
            prompt_tokens=len(self.request.prompt),
            shared_tokens=self.shared,
        )
        if self.request.on_finish is not None:
            self.request.on_finish(self.handle.completion)
        return self.handle.completion
