"""What asks and what comes back: the one interface between the rows to be made and whatever answers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lorafit.records import Message

Messages = tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer. tokens: read and written as the server counts them, None where it does not say; cut: whether it ended
    at the length limit."""

    text: str
    tokens: tuple[int, int] | None = None
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Failure:
    """A request that got no answer, and why. It is not written down, so that the next run asks again."""

    reason: str


# Answers to some requests, in their order. The event says that no new attempt should begin. It raises LorafitError
# where asking anything more is useless (a wrong key, an unknown model). It is called from several threads at once.
Ask = Callable[[Sequence[Messages], threading.Event], Sequence[Reply | Failure]]
