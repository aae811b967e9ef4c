"""The expected time of an update, as a band: what the operations of a trace cost at a device's speed.

    an operation    the largest of arithmetic / (rate x share), bytes / (bandwidth x share) and the launch of a kernel
    an update       CUDA, Apple: all of them, or the time the host takes to issue them, whichever is longer
                    CPU: all of them, and Python's time for each, as nothing runs beside it

On GPUs the shares were set before anything was compared: 0.72 of the matrix rate, 0.80 of the bandwidth, 2 us a kernel,
6 us an operation on the host. So set, they were 17 % slow to 25 % fast on published A100 runs: the band goes a factor
of 1.25 to both sides (SPREAD). Its slow side also takes attention kernels at half the share (FlashAttention-2, arXiv
2307.08691, figures 4 to 7: a third to two thirds of an A100's rate) and NF4 dequantisation at 0.30 of the bandwidth, as
it does more than move bytes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import torch

from lorafit.plan.devices import Device
from lorafit.plan.simulate import Job, Trace
from lorafit.plan.tracker import Operation
from lorafit.train.optim import Name


@dataclass(frozen=True, slots=True)
class Band:
    """Seconds, at best and at worst."""

    low: float
    high: float

    @property
    def middle(self) -> float:
        """The geometric mean: to compare by."""
        return math.sqrt(self.low * self.high)

    def times(self, factor: float) -> Band:
        return Band(self.low * factor, self.high * factor)

    def plus(self, other: Band) -> Band:
        return Band(self.low + other.low, self.high + other.high)


@dataclass(frozen=True, slots=True)
class _Speed:
    """Shares of a device's nominal speeds; launch and issue: seconds a kernel, and an operation on the host."""

    matrix: float
    attention: float
    bandwidth: float
    dequantisation: float
    launch: float
    issue: float


SPREAD = 1.25
_GPU = (
    _Speed(0.72 * SPREAD, 0.72 * SPREAD, 0.80 * SPREAD, 0.80 * SPREAD, 2e-6 / SPREAD, 6e-6 / SPREAD),
    _Speed(0.72 / SPREAD, 0.36 / SPREAD, 0.80 / SPREAD, 0.30 / SPREAD, 2e-6 * SPREAD, 6e-6 * SPREAD),
)
# The rates are those that `measure_cpu` finds with a large product and a copy. Narrow products reach half of that
# (docs/performance.md). Elementwise work runs from caches, or merged by torch.compile, at more than memory's speed, and
# unmerged 16-bit arithmetic well below it. 135M parameters in bfloat16 on two cores, not compiled: 433 to 569 tokens/s
# measured, 422 to 977 expected (1,024 a pass); with every layer recomputed 426 to 484, and 320 to 732 (2,048).
_CPU = (
    _Speed(1.0, 1.0, 1.5, 1.0, 0.0, 4e-6),
    _Speed(0.5, 0.5, 0.5, 0.1, 0.0, 12e-6),
)

# float32 products on CUDA run outside the tensor cores, as torch leaves TF32 off for them: their rate as a share of the
# 16-bit one (datasheets; the longest name that a card's contains).
_FLOAT32 = {
    **dict.fromkeys(("RTX 30", "RTX 40", "RTX 50", "L40", "A10G", "P100"), 1 / 2),
    **dict.fromkeys(("RTX 20", "RTX A", "RTX 6000", "RTX PRO", "L40S", "L4", "A10", "A40"), 1 / 4),
    **dict.fromkeys(("V100", "T4"), 1 / 8),
    **dict.fromkeys(("A100", "A30"), 1 / 16),
    **dict.fromkeys(("H100", "H200", "GH200"), 1 / 15),
    "B200": 1 / 28,
}
_FLOAT32_UNKNOWN = (1 / 2, 1 / 16)

# Bytes/s to the host: PCI Express 4.0 and 3.0 with 16 lanes (31.5 and 15.75 GB/s nominal), at the share of a bandwidth.
_HOST_LINK = (0.8 * 31.5e9, 0.8 * 15.75e9)

_DEQUANTISING = ("dequantize_4bit", "dequantize_blockwise", "gemm_4bit")
# Products whose arithmetic a trace may not know: without it there is no time.
_PRODUCTS = ("int8_mixed_scaled_mm", "int8_linear_matmul")
# Bytes read and written a trained weight by a fused update: gradient, weight and two states in float32, or in 8 bits.
_UPDATE_BYTES: dict[Name, int] = {"adamw": 28, "adam": 28, "paged-adamw": 28, "adamw-8bit": 16, "sgd": 12}


def band(
    operations: Iterable[Operation],
    device: Device,
    dtype: torch.dtype = torch.bfloat16,
    host_operations: int | None = None,
) -> Band | None:
    """The seconds that these operations take. dtype: of the model. host_operations: as many as the host issues; those
    given when None.

    None where it cannot be said: the device's rates are unknown, a CPU is to compute in another dtype than its rate was
    measured in, or an operation's arithmetic is not counted.
    """
    operations = list(operations)
    rates = _rates(device, dtype)
    if rates is None or device.bandwidth is None:
        return None
    if any(operation.name in _PRODUCTS and not operation.flops for operation in operations):
        return None
    issued = sum(operation.count for operation in operations) if host_operations is None else host_operations
    speeds = _CPU if device.kind == "cpu" else _GPU
    low, high = (
        _seconds(operations, rate, device.bandwidth, speed, issued, beside=device.kind != "cpu")
        for rate, speed in zip(rates, speeds, strict=True)
    )
    return Band(low, high)


def update_band(trace: Trace, job: Job, device: Device, tokens: int) -> Band | None:
    """The seconds of a whole update of `tokens` tokens; the job's last batch may hold a part of them.

    What rows cost grows with the tokens; the optimizer's update, which a trace leaves out (fused kernels), is there
    once. None: see `band`.
    """
    rows = [operation for operation in trace.operations if operation.phase != "update"]
    once = [operation for operation in trace.operations if operation.phase == "update"]
    once.append(Operation("update", job.optimizer, 0.0, _UPDATE_BYTES[job.optimizer] * trace.trained))
    of_rows, of_update = band(rows, device, job.dtype), band(once, device, job.dtype)
    if of_rows is None or of_update is None:
        return None
    seconds = of_rows.times(tokens / job.updates[-1].tokens).plus(of_update)
    # What the host keeps goes there and comes back with every row, in the order of all other work.
    largest_row = max(len(row.token_ids) for row in job.updates[-1].rows)
    moved = 2 * trace.host * tokens / largest_row
    return seconds.plus(Band(moved / _HOST_LINK[0], moved / _HOST_LINK[1]))


def with_usual_speed(device: Device) -> Device:
    """The device with speeds as a card of its kind may have where its own are unknown: to compare settings by, never to
    be shown as a time. Rate and bandwidth stand to each other as the RTX 3090's and 4090's do in the middle."""
    if device.bandwidth is not None and device.matrix_rate is not None:
        return device
    bandwidth, rate = (1e12, 1.1e14) if device.kind == "cuda" else (4e10, 1e12)
    return replace(device, bandwidth=bandwidth, matrix_rate=rate)


def _rates(device: Device, dtype: torch.dtype) -> tuple[float, float] | None:
    """Operations/s of matrix products at best and at worst."""
    rate = device.matrix_rate
    if rate is None:
        return None
    if device.kind == "cpu":
        native = torch.bfloat16 if device.bfloat16 else torch.float32
        return (rate, rate) if dtype == native else None
    # Without native bfloat16 its products are made in float32.
    outside = dtype == torch.float32 or (dtype == torch.bfloat16 and not device.bfloat16)
    if device.kind != "cuda" or not outside:
        return rate, rate
    known = max((name for name in _FLOAT32 if name in device.name), key=len, default=None)
    best, worst = _FLOAT32_UNKNOWN if known is None else (_FLOAT32[known], _FLOAT32[known])
    return rate * best, rate * worst


def _seconds(
    operations: Sequence[Operation], rate: float, bandwidth: float, speed: _Speed, issued: int, beside: bool
) -> float:
    """beside: whether the host issues operations while the device works."""
    total = 0.0
    for operation in operations:
        arithmetic = rate * (speed.attention if "attention" in operation.name else speed.matrix)
        moving = bandwidth * (speed.dequantisation if operation.name in _DEQUANTISING else speed.bandwidth)
        total += operation.count * max(operation.flops / arithmetic, operation.bytes / moving, speed.launch)
    host = issued * speed.issue
    return max(total, host) if beside else total + host
