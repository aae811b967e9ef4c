"""What a run folder has measured, as the figures of a study's table."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lorafit.errors import RunError
from lorafit.run import RunFolder, read_json

INFERENCE = "inference.json"  # what measure.py writes into a run folder


def read_figures(path: Path) -> dict[str, Any]:
    """The figures of a finished run; what was not measured is left out.

    trained, parameters (numbers); memory_planned, memory_measured (bytes of tensors in the same update), peak_memory
    (bytes: tensors on CUDA, the whole process elsewhere), disk (bytes of the weights that are kept), update_seconds
    (median), tokens_per_second, held_out_loss and base_held_out_loss (nats a token), scores and base_scores ({name:
    {mean, low, high}}), inference (see measure.py).
    """
    run = RunFolder(path)
    found = {
        **_planned(_json(run.plan)),
        **_trained(list(_lines(run.metrics))),
        **_scores(_json(run.evaluation / "scores.json")),
        "disk": kept_bytes(run),
        "inference": _json(path / INFERENCE),
    }
    return {name: value for name, value in found.items() if value not in (None, {})}


def kept_bytes(run: RunFolder) -> int | None:
    """Bytes of the weights that a run keeps: the adapter's, or all of a fully fine-tuned model's."""
    sizes = [path.stat().st_size for folder in (run.adapter, run.model) for path in folder.glob("*.safetensors")]
    return sum(sizes) or None


def _planned(plan: dict[str, Any]) -> dict[str, Any]:
    measured = plan.get("measured") or {}
    return {
        "trained": plan.get("trained"),
        "parameters": plan.get("parameters"),
        "memory_planned": measured.get("predicted", plan.get("peak")),
        "memory_measured": measured.get("measured"),
    }


def _trained(lines: list[dict[str, Any]]) -> dict[str, Any]:
    updates = [line for line in lines if "tokens_per_second" in line]
    # The first update also makes what later ones find.
    timed = updates[1:] or updates
    seconds = [line["tokens"] / line["tokens_per_second"] for line in timed if line["tokens_per_second"]]
    losses = [(line["update"], line["held_out_loss"]) for line in lines if _finite(line.get("held_out_loss"))]
    found: dict[str, Any] = {"updates": len(updates)}
    if seconds:
        found["update_seconds"] = statistics.median(seconds)
        found["tokens_per_second"] = sum(line["tokens"] for line in timed) / sum(seconds)
        found["peak_memory"] = max(line["peak_memory_bytes"] for line in updates)
    if losses:
        found["base_held_out_loss"] = losses[0][1] if losses[0][0] == 0 else None
        # The weights that are kept: the best, or the last where nothing was better than the base.
        best = min(losses, key=lambda pair: pair[1])
        found["held_out_loss"] = best[1] if best[0] else losses[-1][1]
    return found


def _scores(content: dict[str, Any]) -> dict[str, Any]:
    spoken = content.get("scores") or {}
    return {
        name: {score: _interval(value) for score, value in spoken[speaker].items()}
        for name, speaker in (("scores", "tuned"), ("base_scores", "base"))
        if speaker in spoken
    }


def _interval(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {"mean": value}


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _json(path: Path) -> dict[str, Any]:
    try:
        return read_json(path)
    except RunError:  # not measured, or not written before the run ended
        return {}


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    if path.is_file():
        for line in path.read_text(encoding="utf-8").splitlines():
            yield json.loads(line)
