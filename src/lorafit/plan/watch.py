"""Predicted against measured, in the run itself: one update is watched, and the same rows are simulated."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from lorafit.ops.attention import causal_mask
from lorafit.plan.fit import Choice, heaviest_rows
from lorafit.plan.measure import measured_on_cpu
from lorafit.plan.meta import held_constants
from lorafit.plan.settle import Question
from lorafit.plan.simulate import simulate_deep
from lorafit.records import Batch
from lorafit.train.optim import MasterOptimizer

FIRST_WATCHED = 1  # the second update: the first brings the optimizer's state
# On the CPU the profiler keeps kilobytes for every operation: 350 MB in an update of six rows through 28 layers.
MOST_ROWS = 4


@dataclass(frozen=True, slots=True)
class Compared:
    """Bytes of tensors at the peak of one update."""

    update: int
    predicted: int
    measured: int
    difference: float


class PeakWatch:
    """To be entered round every update; watches one: the second, on the CPU the first after it with few rows."""

    def __init__(self, question: Question, choice: Choice, model: Any, device: torch.device) -> None:
        self._question, self._choice, self._model, self._device = question, choice, model, device
        self._measured: tuple[int, Batch, int] | None = None

    @contextlib.contextmanager
    def __call__(self, update: int, batch: Batch, optimizer: MasterOptimizer) -> Iterator[None]:
        wanted = {"cuda": update == FIRST_WATCHED, "cpu": update >= FIRST_WATCHED and len(batch.rows) <= MOST_ROWS}
        if self._measured is not None or not wanted.get(self._device.type):
            yield
            return
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
            yield
            self._measured = update, batch, torch.cuda.max_memory_allocated(self._device)
            return
        optimizer.clear()  # what is let go of under the profiler has to be made under it
        mask = [causal_mask(self._question.dtype, self._device)] if self._question.ways.packed else []
        with measured_on_cpu((*_standing(self._model, optimizer), *mask)) as measured:
            yield
        self._measured = update, batch, measured.peak

    def compared(self) -> Compared | None:
        """The prediction for the very rows that were watched; None where no update was."""
        if self._measured is None:
            return None
        update, batch, measured = self._measured
        job = self._question.job_of(self._choice)
        rows = heaviest_rows(batch)
        trace = simulate_deep(replace(job, updates=(replace(rows, rows=rows.rows[:1]), rows)))
        predicted = trace.peak.bytes
        return Compared(update + 1, predicted, measured, predicted / measured - 1)


def _standing(model: Any, optimizer: MasterOptimizer) -> Iterator[Tensor]:
    """What is there before an update: weights, constants, masters and the optimizer's state."""
    yield from model.parameters()
    yield from model.buffers()
    yield from held_constants(model)
    yield from optimizer.masters
    for state in optimizer.inner.state.values():
        yield from (value for value in state.values() if isinstance(value, Tensor))
