"""Which curves a report shows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lorafit.report.plots import Line, Plot, plot
from lorafit.report.read import Series, Values

STYLES = ("one", "two", "three", "four")
# (name, seconds of it, from how many seconds on it is the unit of the axis)
TIMES = (("hours", 3600.0, 7200.0), ("minutes", 60.0, 120.0), ("seconds", 1.0, 0.0))


def training_plots(updates: Series, held_out: Series) -> list[Plot]:
    """Loss first, with the held-out loss on the same axes; those without a value are left out."""
    x, divisor, unit = updates.at, *_bytes_unit([updates["memory_bytes"], updates["peak_memory_bytes"]])
    loss = [
        Line("loss", x, updates["loss"], "one", smooth=True, marked=True),
        Line("held-out loss", held_out.at, held_out["held_out_loss"], "two", dots=True),
    ]
    memory = [
        Line("in use", x, updates["memory_bytes"] / divisor, "one"),
        Line("peak so far", x, updates["peak_memory_bytes"] / divisor, "two dashed"),
    ]
    rate = [Line("learning rate", x, updates["learning_rate"], "one")]
    norm = [Line("norm", x, updates["gradient_norm"], "one", smooth=True, marked=True)]
    speed = [Line("tokens/s", x, updates["tokens_per_second"], "one", smooth=True)]
    wide = plot("Loss", loss, "update", note=_best(held_out))
    low = plot("Loss", loss, "update", may_be_log=True)
    found = (
        wide,
        low if low and low.log else None,  # what happens once the loss is small is not seen on a linear axis
        plot("Learning rate", rate, "update"),
        plot("Gradient norm", norm, "update", "before clipping", may_be_log=True),
        plot("Tokens a second", speed, "update"),
        plot("Memory", memory, "update", unit),
    )
    return [one for one in found if one]


def hardware_plots(process: Series, gpus: Sequence[Series]) -> list[Plot]:
    """What the machine did meanwhile, by the samples of hardware.jsonl."""
    last = max((series.at[-1] for series in (process, *gpus) if len(series)), default=0.0)
    time, seconds = next((unit, length) for unit, length, least in TIMES if last >= least)

    def of_gpus(
        title: str, column: str, unit: str, divisor: float = 1.0, includes: Sequence[float] = ()
    ) -> Plot | None:
        lines = [
            Line(f"GPU {n}", gpu.at / seconds, gpu[column] / divisor, STYLES[n % len(STYLES)])
            for n, gpu in enumerate(gpus)
        ]
        return plot(title, lines, time, unit, includes=includes)

    host = [process["resident_bytes"], process["available_bytes"], process["mps_driver_bytes"]]
    gpu_memory = [gpu["memory_used_bytes"] for gpu in gpus]
    divisor, unit = _bytes_unit(host)
    memory = [
        Line("this process", process.at / seconds, host[0] / divisor, "one"),
        Line("still available", process.at / seconds, host[1] / divisor, "two"),
        Line("MPS driver", process.at / seconds, host[2] / divisor, "three"),
    ]
    cpu = [Line("CPU", process.at / seconds, process["cpu_share"] * 100, "one")]
    gpu_divisor, gpu_unit = _bytes_unit(gpu_memory)
    found = (
        plot("Host memory", memory, time, unit),
        plot("CPU", cpu, time, "% of all cores", includes=(0.0, 100.0)),
        of_gpus("GPU memory", "memory_used_bytes", gpu_unit, gpu_divisor),
        of_gpus("GPU utilization", "utilization", "%", 0.01, (0.0, 100.0)),
        of_gpus("GPU temperature", "temperature_c", "°C"),
        of_gpus("GPU power", "power_w", "W"),
    )
    return [one for one in found if one]


def _best(held_out: Series) -> str:
    losses = held_out["held_out_loss"]
    if not np.isfinite(losses).any():
        return ""
    best = int(np.nanargmin(losses))
    if best == 0:
        return "the held-out loss was never below that before training" if len(losses) > 1 else ""
    return f"best held-out loss after update {held_out.at[best]:,.0f}"


def _bytes_unit(columns: Sequence[Values]) -> tuple[float, str]:
    most = max((column[np.isfinite(column)].max(initial=0.0) for column in columns), default=0.0)
    return (1e9, "GB") if most >= 1e9 else (1e6, "MB")
