"""Studies with figures that are made up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lorafit.study.folder import Entry, Study

RECIPE = {"model": {"name": "tiny"}, "data": {"train": "rows.json"}}


def made_study(path: Path, axes: dict[str, list[Any]], entries: list[Entry], seeds: int = 1) -> Study:
    return Study(path, RECIPE, {}, axes, list(range(seeds)), entries)


def made_entry(
    settings: dict[str, Any], seed: int, loss: float, f1: float = 0.5, state: Any = "finished", message: str = ""
) -> Entry:
    name = "-".join(f"{key}-{value}" for key, value in settings.items())
    figures: dict[str, Any] = {}
    if state == "finished":
        figures = {
            "trained": 1_146_880,
            "memory_planned": 42_841_700,
            "disk": 1_150_000,
            "held_out_loss": loss,
            "base_held_out_loss": 4.0,
            "scores": {"token_f1": {"mean": f1, "low": f1 - 0.1, "high": f1 + 0.1}},
            "base_scores": {"token_f1": {"mean": 0.1, "low": 0.0, "high": 0.2}},
            "inference": {"memory": 5_000_000, "unmerged": {"median": 0.00574, "p95": 0.0066}},
        }
    return Entry(f"{name}-seed-{seed}", settings, seed, state, message, 30.0, figures)
