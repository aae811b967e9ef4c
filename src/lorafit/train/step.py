"""One update: the only place where gradients are made.

Loss and gradient are those of the mean over all supervised tokens of the update, however it is cut into rows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from lorafit.adapters.dropout import DropoutPlace
from lorafit.model.forward import Forward
from lorafit.records import Batch
from lorafit.train.optim import MasterOptimizer


@dataclass(frozen=True, slots=True)
class Step:
    """loss in nats a supervised token; gradient_norm before clipping; applied is false when either is not finite."""

    loss: float
    gradient_norm: float
    applied: bool


def train_step(
    forward: Forward,
    batch: Batch,
    optimizer: MasterOptimizer,
    scaler: torch.amp.GradScaler,
    place: DropoutPlace,
    update: int,
    learning_rate: float,
    max_gradient_norm: float,
) -> Step:
    """Forward and backward over every row, then clip and update once; not where loss or gradient is not finite.

    Memory may run out before anything is updated, and the step then be taken again; see `MasterOptimizer.step`.
    """
    optimizer.clear()
    loss = 0.0
    for row in batch.rows:
        place.update, place.prefixes = update, row.prefixes
        row_loss = forward(row) / batch.supervised_tokens
        scaler.scale(row_loss).backward()
        loss += row_loss.item()
        del row_loss  # some layers (8-bit) keep their input as long as the graph can be reached
    scaler.unscale_(optimizer.inner)
    norm = optimizer.gradient_norm(max_gradient_norm).item()
    optimizer.set_learning_rate(learning_rate)
    finite = math.isfinite(loss) and math.isfinite(norm)
    if finite or scaler.is_enabled():  # a scaler leaves the update out itself, and takes a smaller scale
        optimizer.step(scaler)
        scaler.update()
        optimizer.publish()
    return Step(loss, norm, finite)
