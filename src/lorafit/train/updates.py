"""One update after another: memory that runs out is survived, and what is not finite is left out."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from lorafit.adapters.dropout import DropoutPlace
from lorafit.data.pack import LEAST_SHARED, make_batch
from lorafit.errors import TrainingError
from lorafit.model.forward import Forward
from lorafit.records import Batch, Sample, warning
from lorafit.train.hooks import Hooks
from lorafit.train.numbers import find_evidence
from lorafit.train.optim import MasterOptimizer
from lorafit.train.retreat import Retreat
from lorafit.train.settings import TrainSettings
from lorafit.train.step import Step, train_step


@dataclass(frozen=True, slots=True)
class Taken:
    """An update: data_seconds is what making its batch took, seconds all else."""

    batch: Batch
    step: Step
    seconds: float
    data_seconds: float


class Updates:
    """left_out: how many were not applied, beside those where float16 overflowed."""

    def __init__(
        self,
        forward: Forward,
        optimizer: MasterOptimizer,
        scaler: torch.amp.GradScaler,
        retreat: Retreat,
        place: DropoutPlace,
        settings: TrainSettings,
        share_prefixes: bool,
        hooks: Hooks,
    ) -> None:
        self.scaler, self.left_out = scaler, 0
        self._forward, self._optimizer, self._retreat, self._place = forward, optimizer, retreat, place
        self._settings, self._hooks = settings, hooks
        self._least = LEAST_SHARED if share_prefixes else None

    def batch_of(self, samples: Sequence[Sample], tokens_per_pass: int) -> Batch:
        return make_batch(samples, tokens_per_pass, self._forward.packed, self._least)

    def take(self, update: int, samples: Sequence[Sample], rate: float) -> Taken:
        """Raises TrainingError for one update too many whose loss or gradient is not finite, DoesNotFit for a sample
        that is too long for the memory."""

        def work(tokens_per_pass: int) -> Taken:
            began = time.perf_counter()
            batch = self.batch_of(samples, tokens_per_pass)
            made = time.perf_counter()
            clip = self._settings.max_gradient_norm
            with self._hooks.around_update(update, batch, self._optimizer):
                step = train_step(self._forward, batch, self._optimizer, self.scaler, self._place, update, rate, clip)
            return Taken(batch, step, time.perf_counter() - made, made - began)

        taken = self._retreat.carry(work, samples, f"update {update + 1}", self._forget)
        self._check(taken.step, update + 1, samples)
        return taken

    def _forget(self) -> None:
        """What a try has left that was given up."""
        self._optimizer.clear()
        state = self.scaler.state_dict()
        self.scaler = torch.amp.GradScaler(self._forward.device.type, enabled=self.scaler.is_enabled())
        self.scaler.load_state_dict(state)

    def _check(self, step: Step, update: int, samples: Sequence[Sample]) -> None:
        if not step.applied:
            if math.isfinite(step.loss) and self.scaler.is_enabled() and self.scaler.get_scale() >= 1:
                self._hooks.observe(
                    warning(f"update {update}: float16 overflowed; the update is left out, the loss scale halved")
                )
                return
            found = find_evidence(self._forward, samples, self._optimizer)
            kept = self._hooks.evidence(update, step, samples, found)
            fault = (
                f"Update {update} gave loss {step.loss} and gradient norm {step.gradient_norm}: {found.where}. Its "
                f"samples are in {kept}."
            )
            limit = self._settings.skip_non_finite
            if self.left_out == limit:
                raise TrainingError(
                    f"{fault}\nNothing of it was applied, and {limit} such updates may be left out "
                    "(train.skip_non_finite): training stops. A lower train.learning_rate, or model.dtype=float32, "
                    "usually mends this."
                )
            self.left_out += 1
            self._hooks.observe(warning(f"{fault} It is left out ({self.left_out} of {limit} may be)."))
        elif update == 1 and step.loss == 0:
            raise TrainingError(
                "The first update has a loss of exactly 0: nothing of these rows is trained, or the model knows them "
                "by heart. `lorafit data` shows what is trained."
            )
        elif update == 1 and step.gradient_norm == 0:
            raise TrainingError("The first update has a gradient of exactly 0: nothing would be learned.")
