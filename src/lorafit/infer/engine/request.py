"""What is asked of the engine, and what comes back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

Reason = Literal["stop", "length", "cancelled"]


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a token is chosen. The names and the order (penalty, temperature, top k, top p) are those of transformers.

    temperature 0 takes the likeliest token. top_k 0 and top_p 1 leave everything in. seed: equal seeds give equal
    answers, whatever else is in the batch; None draws one.
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    repetition_penalty: float = 1.0
    seed: int | None = None

    def __post_init__(self) -> None:
        faults = {
            "temperature": self.temperature >= 0,
            "top_k": self.top_k >= 0,
            "top_p": 0 < self.top_p <= 1,
            "repetition_penalty": self.repetition_penalty > 0,
        }
        wrong = ", ".join(f"{name} {getattr(self, name)}" for name, right in faults.items() if not right)
        if wrong:
            raise ValueError(
                f"Sampling with {wrong}: temperature and top_k are 0 or more, top_p above 0 and at most 1, "
                "repetition_penalty above 0."
            )


GREEDY = Sampling()


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """log p in nats by the model alone: before penalty, temperature and filters. top: the likeliest ids with theirs."""

    id: int
    logprob: float
    top: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Request:
    """A prompt as token ids, and how to go on from it.

    adapter: the name of one of the model's adapters, None for the base. stop: texts that end the answer and are not
    part of it (they need an engine that can decode). logprobs: None for none, else how many of the likeliest beside
    the chosen token. continuation: not empty, nothing is generated; the tokens given are scored.
    on_text is handed each new piece of text as soon as no stop text can begin in it; on_finish the completion.
    """

    prompt: Sequence[int]
    max_new_tokens: int = 512
    adapter: str | None = None
    sampling: Sampling = GREEDY
    stop_ids: frozenset[int] = frozenset()
    stop: tuple[str, ...] = ()
    logprobs: int | None = None
    continuation: Sequence[int] = ()
    on_text: Callable[[str], None] | None = None
    on_finish: Callable[[Completion], None] | None = None

    @property
    def token_ids(self) -> tuple[int, ...]:
        """What is known to go through the model: the last token of a continuation only has to be foretold."""
        return (*self.prompt, *self.continuation[:-1])


@dataclass(frozen=True, slots=True)
class Completion:
    """An answer. ids: without the stop token; text: up to the stop text, empty from an engine that cannot decode.

    reason: `length` when it was cut off (or there was no room). logprobs: of every generated token, the stop token
    included, or of the continuation. likeliest: whether each token of a continuation is the one that the model would
    have taken. shared_tokens: how much of the prompt was computed with other requests'.
    """

    ids: tuple[int, ...]
    text: str
    reason: Reason
    logprobs: tuple[TokenLogprob, ...] = ()
    likeliest: bool = False
    prompt_tokens: int = 0
    shared_tokens: int = 0

    @property
    def logprob(self) -> float:
        """The sum over `logprobs`: of a scored continuation, its log-likelihood in nats."""
        return sum(each.logprob for each in self.logprobs)


@dataclass(eq=False, slots=True)
class Handle:
    """A request on its way. `completion` is there when it has ended; `cancel` may be called from any thread."""

    request: Request
    completion: Completion | None = None
    cancelled: bool = field(default=False)

    def cancel(self) -> None:
        """End it at the next step, with what it has so far."""
        self.cancelled = True
