"""The held-out loss: the mean over all supervised tokens of the held-out rows, and the perplexity it stands for."""

from __future__ import annotations

import math

import torch

from lorafit.model.forward import Forward
from lorafit.records import Batch


@torch.no_grad()
def mean_loss(forward: Forward, batch: Batch) -> float:
    """Nats a supervised token, with dropout off. The model is left in the mode that it was in."""
    training = forward.model.training
    forward.model.eval()
    try:
        return sum(forward(row).item() for row in batch.rows) / batch.supervised_tokens
    finally:
        forward.model.train(training)


def perplexity(loss: float) -> float:
    """exp(loss), the number of equally likely tokens that would be as hard to guess."""
    return math.exp(min(loss, 700.0))
