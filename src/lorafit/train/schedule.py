"""The learning rate as a function of the update: no state to save, and the same in every tool that plots it."""

from __future__ import annotations

import math
from typing import Literal


def learning_rate(
    update: int, updates: int, peak: float, schedule: Literal["cosine", "linear", "constant"], warmup_updates: int
) -> float:
    """The learning rate of `update` (from 0) among `updates`: a linear rise to `peak`, then down to 0 or constant.

    The rise ends at the peak in the first update after warm-up, and its first update is not wasted on a rate of 0.
    """
    if update < warmup_updates:
        return peak * (update + 1) / (warmup_updates + 1)
    if schedule == "constant":
        return peak
    done = (update - warmup_updates) / max(1, updates - warmup_updates)
    return peak * (1 - done) if schedule == "linear" else peak * 0.5 * (1 + math.cos(math.pi * done))


def warmup_updates(warmup: float, updates: int) -> int:
    """Warm-up in updates from the recipe's `train.warmup`: a share below 1, a number of updates from 1 on."""
    return min(updates, int(warmup) if warmup >= 1 else round(warmup * updates))
