"""The step that will train, run on meta tensors: what is alive when, and what the operations cost.

Nothing here knows what a step is made of: `train_step`, the model's own modules and the recompute policies are the
ones of a run, so that what they keep alive, the simulation keeps alive.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import math
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig

from lorafit.adapters.settings import AdapterSettings
from lorafit.hardware import planning_for
from lorafit.model import forward as forward_module
from lorafit.model.forward import Forward
from lorafit.model.fused import fuse
from lorafit.model.settings import Quantization
from lorafit.ops import attention, dropout
from lorafit.plan.meta import held_constants, meta_base, meta_model, with_layers
from lorafit.plan.semantics import CUBLAS_WORKSPACE, HOPPER_WORKSPACE, STAND_INS, WORKSPACES, as_on
from lorafit.plan.tracker import BLOCK, Allocator, Operation, Peak, Seen, Tracker
from lorafit.records import Batch, Fit, Row
from lorafit.train import recompute, step
from lorafit.train.optim import MasterOptimizer, Name
from lorafit.train.recompute import recomputing

WEIGHTS, CONSTANTS, ADAPTER, GRADIENTS, OPTIMIZER = (
    "base weights",
    "quantisation constants",
    "adapter",
    "gradients",
    "optimizer",
)
ACTIVATIONS, LOSS, BACKWARD, WORKSPACE = "activations", "logits and loss", "backward", "workspaces"


# Shared by all simulations of a process: a search does the same operations over and over.
_SEEN: Seen = {}


@dataclass(frozen=True, slots=True)
class Job:
    """All that decides the memory of a run.

    kind: cuda, cpu or mps. updates: the batches to go through, two at least: the first brings the optimizer's state.
    packed, plain_head: what `choose_forward` finds for this architecture. hopper: compute capability 9.0 or more.
    """

    config: PreTrainedConfig
    kind: str
    dtype: torch.dtype
    quantization: Quantization
    double_quantization: bool
    adapter: AdapterSettings
    optimizer: Name
    fit: Fit
    updates: tuple[Batch, ...]
    packed: bool = True
    plain_head: bool = True
    max_gradient_norm: float = 1.0
    hopper: bool = False
    remote_code: bool = False


@dataclass(frozen=True, slots=True)
class Trace:
    """What a simulation saw. Bytes are counted as the device's allocator would.

    peaks: the most bytes alive at each (phase, operation). operations: of the last update. paged: bytes of optimizer
    state that may go to the host. host: bytes kept in the host's memory (recompute: offload).
    """

    peaks: dict[tuple[str, str], Peak]
    operations: tuple[Operation, ...]
    trained: int
    parameters: int
    paged: int = 0
    host: int = 0

    @property
    def peak(self) -> Peak:
        return max(self.peaks.values(), key=lambda peak: peak.bytes)


def simulate(job: Job, allocator: Allocator | None = None) -> Trace:
    """Run the job's updates on meta tensors.

    Raises what the step itself raises: RuntimeError for a model that cannot run so, AdapterError where nothing matches.
    """
    _forget()
    with planning_for(job.kind):
        base = meta_base(job.config, job.dtype, job.quantization, job.double_quantization, job.remote_code)
        injection = meta_model(base, job.adapter)
        model: nn.Module = injection.model
        model.train()
        fuse(model, compile=False)
        block = BLOCK if job.kind == "cuda" else 1
        tracker = Tracker(block, WORKSPACES[job.kind], STAND_INS, allocator, _SEEN)
        states: list[_States] = []

        def build(parameters: list[nn.Parameter], name: Name, weight_decay: float) -> torch.optim.Optimizer:
            states.append(_States(parameters, name, tracker))
            return states[0]

        if job.kind == "cuda":
            tracker.take(HOPPER_WORKSPACE if job.hopper else CUBLAS_WORKSPACE, WORKSPACE)
        # On the CPU rows stay in numpy's memory.
        batches = [_moved(batch) for batch in job.updates] if job.kind == "cpu" else job.updates
        with contextlib.ExitStack() as stack:
            stack.enter_context(as_on(job.kind))
            stack.enter_context(_named_parts(model, tracker))
            host = stack.enter_context(_host_copies(tracker))
            stack.enter_context(tracker)
            _hold(model, tracker)
            optimizer = _Optimizer(model.parameters(), job.optimizer, 0.0, build)
            optimizer.tracker = tracker
            tracker.hold((m for m in optimizer.masters if not any(m is p for p in optimizer.parameters)), OPTIMIZER)
            head = _head(model)
            frozen = head is not None and not any(p.requires_grad for p in head.parameters())
            forward = _Forward(model, job.packed, head if job.plain_head and frozen else None)
            forward.tracker = tracker
            scaler = torch.amp.GradScaler("cpu", enabled=False)
            stack.enter_context(recomputing(model, job.fit.recompute))
            stack.enter_context(forward.running())
            for number, batch in enumerate(batches):
                tracker.operations.clear()
                step.train_step(forward, batch, optimizer, scaler, injection.place, number, 1e-4, job.max_gradient_norm)
    return Trace(
        peaks=tracker.peaks,
        operations=tuple(tracker.operations),
        trained=injection.trainable,
        parameters=injection.total,
        paged=states[0].paged,
        host=host.peak,
    )


def simulate_deep(job: Job) -> Trace:
    """The trace of a deep model from two shallow ones: every (phase, operation) grows linearly with the layers.

    Exact where the stack repeats itself (tests/plan/test_simulate.py), but for the vector of all norms, whose few bytes
    a layer are counted in blocks. The total does not grow so: with the depth another operation makes the peak.
    """
    layers = job.config.get_text_config().num_hidden_layers
    repeats = period(job.config, job.fit.recompute)
    # Every kind of layer has to be there besides the first and the last, which differ in what they keep.
    shallow = repeats + 2 + (layers - 2) % repeats
    deep = shallow + repeats
    if layers <= deep:
        return simulate(job)
    less, more = (simulate(replace(job, config=with_layers(job.config, n))) for n in (shallow, deep))
    return _extrapolated(less, more, (layers - deep) // repeats)


def period(config: PreTrainedConfig, recompute: str) -> int:
    """After how many layers the stack repeats itself: kinds of layers (sliding, full) and what is recomputed."""
    text = config.get_text_config()
    layers = text.num_hidden_layers
    listed = [v for v in vars(text).values() if isinstance(v, (list, tuple)) and len(v) == layers]
    kinds = [tuple(values[i] for values in listed) for i in range(layers)]
    alike = next(n for n in range(1, layers + 1) if kinds[n:] == kinds[:-n])
    every = int(recompute.removeprefix("every-")) if recompute.startswith("every-") else 1
    return math.lcm(alike, every)


def _extrapolated(less: Trace, more: Trace, steps: int) -> Trace:
    """`more` and `steps` times what it has more than `less`."""

    def grown(a: float, b: float) -> float:
        return b + (b - a) * steps

    peaks = {}
    for key, peak in more.peaks.items():
        before = less.peaks.get(key, Peak())
        names = peak.parts.keys() | before.parts.keys()
        parts = {name: round(grown(before.parts.get(name, 0), peak.parts.get(name, 0))) for name in names}
        peaks[key] = Peak(round(grown(before.bytes, peak.bytes)), *key, parts)
    return Trace(
        peaks=peaks,
        operations=_grown_operations(less, more, steps),
        trained=round(grown(less.trained, more.trained)),
        parameters=round(grown(less.parameters, more.parameters)),
        paged=round(grown(less.paged, more.paged)),
        host=round(grown(less.host, more.host)),
    )


def _grown_operations(less: Trace, more: Trace, steps: int) -> tuple[Operation, ...]:
    """The operations of `more`, those of its added layers `steps` times more often: as kinds with a count."""
    before, there = Counter(less.operations), Counter(more.operations)
    added, gone = there - before, before - there
    grown = Counter({operation: times + steps * added[operation] for operation, times in there.items()})
    # Once at every depth, but larger with it: what takes all layers at once, as the norm of all gradients does.
    for old in gone.elements():
        alike = ((old.phase, old.name) == (new.phase, new.name) and not before[new] for new in added)
        new = next(itertools.compress(added, alike))
        added[new] -= 1
        grown[new] -= 1 + steps
        flops, moved = (b + (b - a) * steps for a, b in ((old.flops, new.flops), (old.bytes, new.bytes)))
        grown[Operation(old.phase, old.name, flops, moved)] += 1
    return tuple(replace(operation, count=times) for operation, times in grown.items() if times > 0)


class _Forward(Forward):
    """Says to the tracker where the step is."""

    tracker: Tracker

    def __call__(self, row: Row) -> Tensor:
        self.tracker.phase, self.tracker.born_as = "forward", ACTIVATIONS
        loss = super().__call__(row)
        self.tracker.phase, self.tracker.born_as = "backward", BACKWARD
        return loss


class _Optimizer(MasterOptimizer):
    """Says to the tracker where the step is."""

    tracker: Tracker

    def collect_gradient(self, master: Tensor, parameter: Tensor) -> None:
        super().collect_gradient(master, parameter)
        self.tracker.hold([master.grad], GRADIENTS)

    def gradient_norm(self, maximum: float) -> Tensor:
        self.tracker.phase, self.tracker.born_as = "update", OPTIMIZER
        return super().gradient_norm(maximum)


class _States(torch.optim.Optimizer):
    """The state that an optimizer keeps, by rule: fused kernels, which have no temporaries, refuse meta tensors."""

    def __init__(self, parameters: list[nn.Parameter], name: Name, tracker: Tracker) -> None:
        super().__init__(parameters, {"lr": 0.0})
        self._name, self._tracker = name, tracker
        self.paged = 0

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for parameter in self.param_groups[0]["params"]:
            if parameter in self.state or self._name == "sgd" or parameter.grad is None:
                continue
            self.state[parameter] = {"state": self._of(parameter)}

    def _of(self, parameter: nn.Parameter) -> list[Tensor]:
        wide = (
            [torch.zeros_like(parameter, dtype=torch.float32) for _ in range(2)] if self._keeps_wide(parameter) else []
        )
        if wide:
            return [*wide, torch.zeros((), device="meta")]
        if self._name == "paged-adamw":  # managed memory, which the allocator does not know
            self.paged += 8 * parameter.numel()
            return []
        eighths = [torch.zeros_like(parameter, dtype=torch.uint8) for _ in range(2)]
        return eighths + [torch.zeros(-(-parameter.numel() // 256), device="meta") for _ in range(2)]

    def _keeps_wide(self, parameter: nn.Parameter) -> bool:
        if self._name == "adamw-8bit":
            return parameter.numel() < 4096
        return self._name != "paged-adamw" or parameter.numel() < 100_000


class _Host:
    """Bytes that recomputation keeps in the host's memory."""

    now = peak = 0

    def add(self, size: int) -> None:
        self.now += size
        self.peak = max(self.peak, self.now)


@contextlib.contextmanager
def _host_copies(tracker: Tracker) -> Iterator[_Host]:
    """Copies in the host's memory are counted apart from the device's."""
    host = _Host()

    def to_host(tensor: Tensor) -> Tensor:
        with tracker.elsewhere():
            copy = torch.empty_like(tensor)
        size = int(copy.untyped_storage().nbytes())
        host.add(size)
        weakref.finalize(copy.untyped_storage(), host.add, -size)
        return copy

    def from_host(device: torch.device, copy: Tensor) -> Tensor:
        return copy.clone()

    with mock.patch.object(recompute, "to_host", to_host), mock.patch.object(recompute, "from_host", from_host):
        yield host


@contextlib.contextmanager
def _named_parts(model: nn.Module, tracker: Tracker) -> Iterator[None]:
    """What is born is named: gradients when they are complete, logits and loss from the output head on."""

    def holds_gradient(parameter: Tensor) -> None:
        tracker.hold([parameter.grad], GRADIENTS)

    def loss_begins(*_: Any) -> None:
        if tracker.born_as == ACTIVATIONS:
            tracker.born_as = LOSS

    def in_loss(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        @functools.wraps(function)
        def called(*args: Any) -> Tensor:
            loss_begins()
            return function(*args)

        return called

    hooks = [p.register_post_accumulate_grad_hook(holds_gradient) for p in model.parameters() if p.requires_grad]
    head = _head(model)
    if head is not None:
        hooks.append(head.register_forward_pre_hook(loss_begins))
    try:
        loss = forward_module.head_cross_entropy  # type: ignore[attr-defined]
        with mock.patch.object(forward_module, "head_cross_entropy", in_loss(loss)):
            yield
    finally:
        for hook in hooks:
            hook.remove()


def _hold(model: Any, tracker: Tracker) -> None:
    """Count what is there before the first update."""
    tracker.hold((p for p in model.parameters() if not p.requires_grad), WEIGHTS)
    tracker.hold(model.buffers(), WEIGHTS)
    tracker.hold(held_constants(model), CONSTANTS)
    adapted = hasattr(model, "peft_config")
    tracker.hold((p for p in model.parameters() if p.requires_grad), ADAPTER if adapted else WEIGHTS)


def _head(model: Any) -> nn.Linear | None:
    plain = model.get_base_model() if hasattr(model, "peft_config") else model
    head = plain.get_output_embeddings()
    return head if type(head) is nn.Linear else None


def _moved(batch: Batch) -> Batch:
    return replace(batch, rows=tuple(row.to(torch.device("meta")) for row in batch.rows))


def _forget() -> None:
    """Let go of small tensors that functions keep between calls, so that every simulation sees them made."""
    for kept in (attention.causal_mask, attention._blocks, dropout._columns):
        kept.cache_clear()
