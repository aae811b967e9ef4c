"""Events as curves: the figures that TensorBoard and Weights & Biases draw, under the same names in both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lorafit.records import Event

GIB = 2**30
HELD_OUT = "loss/held_out"

# Column of the event: (curve, what it is divided by). What stands before the slash is a group of charts; TensorBoard
# sorts the groups and opens the first two.
CURVES = {
    "loss": ("loss/train", 1),
    "held_out_loss": (HELD_OUT, 1),
    "learning_rate": ("train/learning_rate", 1),
    "gradient_norm": ("train/gradient_norm", 1),
    "tokens_per_second": ("train/tokens_per_second", 1),
    "memory_bytes": ("train/memory_gib", GIB),
    "peak_memory_bytes": ("train/peak_memory_gib", GIB),
    "resident_bytes": ("usage/resident_gib", GIB),
    "available_bytes": ("usage/available_gib", GIB),
    "cpu_share": ("usage/cpu_share", 1),
    "mps_driver_bytes": ("usage/mps_driver_gib", GIB),
}
GPU_CURVES = {
    "memory_used_bytes": ("memory_used_gib", GIB),
    "utilization": ("utilization", 1),
    "temperature_c": ("temperature_c", 1),
    "power_w": ("power_w", 1),
}


def scalars(event: Event) -> dict[str, float]:
    """Curve to value; empty for an event without figures. What could not be measured (null) is left out."""
    found = dict(_scalars(event.values, CURVES))
    for gpu in event.values.get("gpus", ()):
        found |= {f"usage/gpu{gpu['index']}_{name}": value for name, value in _scalars(gpu, GPU_CURVES)}
    return found


def _scalars(values: Mapping[str, Any], curves: Mapping[str, tuple[str, int]]) -> Iterator[tuple[str, float]]:
    for column, (name, divisor) in curves.items():
        if values.get(column) is not None:
            yield name, values[column] / divisor
