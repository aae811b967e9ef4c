"""What the training loop calls, so that it knows neither the run folder nor how a loss is measured."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lorafit.records import Batch, Event, Sample
from lorafit.train.checkpoint import State
from lorafit.train.numbers import Evidence
from lorafit.train.optim import MasterOptimizer
from lorafit.train.step import Step

Observe = Callable[[Event], None]
AroundUpdate = Callable[[int, Batch, MasterOptimizer], contextlib.AbstractContextManager[None]]


@dataclass(frozen=True, slots=True)
class Hooks:
    """What the loop calls: validate(tokens_per_pass) -> loss of the samples `held_out`, or None without them; keep()
    saves the weights as the best so far; checkpoint(update, state) saves all that training needs to go on from there;
    evidence(update, step, samples, found) keeps an update that went wrong and says where; observe(event) shows what
    happened; around_update(update, batch, optimizer) is entered round each update, to measure it."""

    validate: Callable[[int], float] | None
    held_out: Sequence[Sample]
    keep: Callable[[], None]
    checkpoint: Callable[[int, State], None]
    evidence: Callable[[int, Step, Sequence[Sample], Evidence], Path]
    observe: Observe
    around_update: AroundUpdate = lambda update, batch, optimizer: contextlib.nullcontext()
