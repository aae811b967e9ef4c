"""Synthetic histories of runs: what the rules are shown."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from lorafit.observe.rules.facts import Facts
from lorafit.observe.rules.table import examine
from lorafit.train.schedule import learning_rate, warmup_updates

RECIPE: dict[str, Any] = {
    "data": {"max_length": 2048},
    "adapter": {
        "method": "lora", "variant": "plain", "rank": 16, "alpha": 32.0, "dropout": 0.0, "targets": "all-linear",
    },
    "train": {
        "optimizer": "adamw", "batch_size": 16, "learning_rate": 2e-4, "schedule": "cosine", "warmup": 0.03,
        "weight_decay": 0.0, "max_gradient_norm": 1.0, "epochs": 3.0, "max_updates": None, "tokens_per_pass": 2048,
        "share_prefixes": True,
    },
}  # fmt: skip
DATA: dict[str, Any] = {
    "max_length": 2048,
    "cut_within_answer": 0,
    "training": {"samples": 1000, "supervised_tokens": 150_000},
    "held_out_rows": {"samples": 50},
    "warnings": [],
}
UPDATES = 188
# A base of 7B with rank 16 on every linear layer.
PARAMETERS, TRAINED = 7_000_000_000, 40_000_000


def recipe(**settings: Any) -> dict[str, Any]:
    """The recipe with settings by their dotted names, with two underscores for the dot."""
    changed = {name: dict(part) for name, part in RECIPE.items()}
    for name, value in settings.items():
        part, _, last = name.partition("__")
        changed[part][last] = value
    return changed


def facts(**changes: Any) -> Facts:
    """A finished run with nothing to remark, and no curves yet."""
    whole = Facts(recipe=RECIPE, data=DATA, planned=UPDATES, trained=TRAINED, parameters=PARAMETERS, ended=True)
    return replace(whole, **changes)


def learnt(spent: float) -> float:
    """A sound loss as a function of the share of the learning that was spent: much of the fall comes early."""
    return 0.9 + 0.6 * math.exp(-6 * spent) + 1.2 * math.exp(-40 * spent)


def history(
    loss: Callable[[float], float] = learnt,
    held_out: Callable[[float], float] | None = learnt,
    updates: int = UPDATES,
    noise: float = 0.08,
    seed: int = 0,
    schedule: Any = "cosine",
    measurements: int = 10,
    **changes: Any,
) -> Facts:
    """A run whose loss at the share `spent` of all learning is loss(spent), with relative noise; held-out likewise,
    with a thirtieth of it: its rows are the same each time."""
    rng = np.random.default_rng(seed)
    rise = warmup_updates(0.03, updates)
    rates = [learning_rate(i, updates, 2e-4, schedule, rise) for i in range(updates)]
    spent = np.concatenate([[0.0], np.cumsum(rates) / sum(rates)])
    lines = [
        {
            "update": i + 1,
            "epoch": 3.0 * (i + 1) / updates,
            "loss": loss(spent[i]) * (1 + noise * rng.standard_normal()),
            "learning_rate": rates[i],
            "gradient_norm": 0.8 * math.exp(0.3 * rng.standard_normal()),
            "tokens": 3000 + int(rng.integers(1000)),
            "tokens_per_second": 2000.0 * (1 + 0.1 * rng.standard_normal()),
            "data_seconds": 0.01,
            "memory_bytes": int(2**31 * (1 + 0.01 * rng.standard_normal())),
        }
        for i in range(updates)
    ]
    measured = []
    if held_out is not None:
        for step in range(measurements + 1):
            update = round(step * updates / measurements)
            value = held_out(spent[update]) * (1 + noise / 30 * rng.standard_normal())
            measured.append({"update": update, "held_out_loss": value})
    return facts(updates=lines, held_out=measured, planned=updates, **changes)


def with_column(run: Facts, name: str, values: Sequence[Any]) -> Facts:
    """The run with one column replaced."""
    lines = [{**line, name: value} for line, value in zip(run.updates, values, strict=True)]
    return replace(run, updates=lines)


def symptoms(run: Facts) -> list[str]:
    return [finding.symptom for finding in examine(run)]
