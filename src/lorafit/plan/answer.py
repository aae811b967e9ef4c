"""The plan of a run: does it fit, where does its memory go, how long will it take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any, Literal

from lorafit.plan.allocator import CachingAllocator
from lorafit.plan.clock import Band, update_band
from lorafit.plan.devices import Device
from lorafit.plan.simulate import CONSTANTS, WEIGHTS, Job, Trace, simulate, simulate_deep

Verdict = Literal["yes", "tight", "no"]
# Below this share of the budget a run fits plainly; above it, what is not simulated (kernels loaded late, another
# process on the card, longer rows) may decide.
PLAIN_SHARE = 0.92
# On the CPU the system counts resident pages: tensors that come and go leave holes in the heap, and oneDNN keeps
# compiled products. The slack covers what benchmarks/frontier.py measured at 135M and 0.6B, 2 % aside.
HEAP_SHARE, HEAP_LEAST = 0.6, 600_000_000
ALLOCATOR, CONTEXT, HEAP = "allocator slack", "context and libraries", "heap and compiled products"


@dataclass(frozen=True, slots=True)
class Plan:
    """Bytes everywhere.

    peak: of tensors, as the device's allocator counts; parts: what it is made of; phase and operation: where it is.
    needed: with what stands beside the tensors; budget: what the device has. paged: optimizer state that may go to the
    host; host: activations kept there. update_seconds: expected, None where the device's speed is unknown. tokens: of
    an update. assumptions: what was taken for granted.
    """

    model: str
    device: str
    method: str
    settings: Mapping[str, Any]
    verdict: Verdict
    needed: int
    budget: int
    peak: int
    phase: str
    operation: str
    parts: Mapping[str, int]
    reserved: int | None
    retries: int
    trained: int
    parameters: int
    tokens: int
    updates: int | None
    update_seconds: Band | None
    paged: int
    host: int
    assumptions: tuple[str, ...]
    versions: Mapping[str, str]

    @property
    def margin(self) -> int:
        """What is left of the budget; less than nothing when it does not fit."""
        return self.budget - self.needed

    def tokens_per_second(self) -> Band | None:
        if self.update_seconds is None:
            return None
        return Band(self.tokens / self.update_seconds.high, self.tokens / self.update_seconds.low)

    def run_seconds(self) -> Band | None:
        """Of all updates, without loading, validation and the like."""
        if self.update_seconds is None or self.updates is None:
            return None
        return self.update_seconds.times(self.updates)

    def to_json(self) -> dict[str, Any]:
        """For plan.json."""
        return asdict(self)


def budget_of(device: Device) -> int:
    """What a run may take of the device, the context included."""
    return device.memory_bytes if device.free_bytes is None else device.free_bytes


def context_of(device: Device) -> int:
    """What of the budget is gone before the first tensor; what this machine says is free is so beside this process."""
    return device.context_bytes if device.free_bytes is None else 0


def replay(job: Job, device: Device, expandable: bool = True) -> tuple[Trace, CachingAllocator | None]:
    """On CUDA the whole trace, through the replayed allocator with the device's memory as its limit; elsewhere, where
    nothing is replayed, what two shallow ones tell as exactly."""
    if job.kind != "cuda":
        return simulate_deep(job), None
    allocator = CachingAllocator(budget_of(device) - context_of(device), expandable)
    return simulate(job, allocator), allocator


def parts_needed(trace: Trace, allocator: CachingAllocator | None, device: Device) -> dict[str, int]:
    """What stands in memory at the peak, tensors and all else."""
    parts = {name: size for name, size in trace.peak.parts.items() if size}
    if allocator is not None:
        parts[ALLOCATOR] = max(0, allocator.peak_reserved - trace.peak.bytes)
    elif device.kind == "cpu":
        weights = parts.get(WEIGHTS, 0) + parts.get(CONSTANTS, 0)
        parts[HEAP] = round(HEAP_SHARE * (trace.peak.bytes - weights)) + HEAP_LEAST
    if context_of(device):
        parts[CONTEXT] = context_of(device)
    return parts


def verdict_of(parts: Mapping[str, int], budget: int, failed: bool) -> Verdict:
    """failed: the replayed allocator ran out. What the heap may take is an allowance: it makes tight, never no."""
    needed = sum(parts.values())
    if failed or needed - parts.get(HEAP, 0) > budget:
        return "no"
    return "yes" if needed <= PLAIN_SHARE * budget else "tight"


def answer(
    job: Job,
    device: Device,
    model: str,
    settings: Mapping[str, Any],
    tokens: int,
    updates: int | None,
    assumptions: tuple[str, ...] = (),
) -> Plan:
    """The plan of one job. tokens: of a whole update, of which the job may hold a part; updates: of the run."""
    trace, allocator = replay(job, device)
    parts = parts_needed(trace, allocator, device)
    needed, budget = sum(parts.values()), budget_of(device)
    return Plan(
        model=model,
        device=device.name,
        method=method_of(job),
        settings=settings,
        verdict=verdict_of(parts, budget, allocator is not None and allocator.failure is not None),
        needed=needed,
        budget=budget,
        peak=trace.peak.bytes,
        phase=trace.peak.phase,
        operation=trace.peak.operation,
        parts=parts,
        reserved=allocator.peak_reserved if allocator else None,
        retries=allocator.retries if allocator else 0,
        trained=trace.trained,
        parameters=trace.parameters,
        tokens=tokens,
        updates=updates,
        update_seconds=update_band(trace, job, device, tokens),
        paged=trace.paged,
        host=trace.host,
        assumptions=assumptions,
        versions={name: version(name) for name in ("torch", "transformers", "peft", "bitsandbytes")},
    )


def method_of(job: Job) -> str:
    if job.adapter.method == "none":
        return "full fine-tuning"
    return {"none": "LoRA", "nf4": "QLoRA (nf4)", "int8": "LoRA on 8 bits"}[job.quantization]
