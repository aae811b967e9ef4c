"""The training loop: updates in order, validation at intervals, the best kept. Everything it shows is an Event."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

from lorafit.adapters.dropout import DropoutPlace
from lorafit.data.batches import count_updates, iterate_batches
from lorafit.data.pack import LEAST_SHARED
from lorafit.errors import TrainingError
from lorafit.hardware import Hardware, give_back_freed_memory, keep_freed_memory, memory_in_use
from lorafit.model.forward import Forward
from lorafit.records import Batch, Event, Fit, Sample, note, warning
from lorafit.train.checkpoint import State, capture, restore
from lorafit.train.interrupt import GracefulStop
from lorafit.train.optim import MasterOptimizer
from lorafit.train.recompute import recomputing
from lorafit.train.schedule import learning_rate, warmup_updates
from lorafit.train.settings import TrainSettings
from lorafit.train.step import Step, train_step

Observe = Callable[[Event], None]
AroundUpdate = Callable[[int, Batch, MasterOptimizer], contextlib.AbstractContextManager[None]]
LOOKED_AT = 32  # updates that say how much is shared
# Between two checkpoints by themselves; and how many times as long as writing one takes.
CHECKPOINT_SECONDS, CHECKPOINT_SHARE = 300.0, 20


@dataclass(frozen=True, slots=True)
class Hooks:
    """What the loop calls: validate() -> held-out loss, or None without held-out rows; keep() saves the weights as the
    best so far; checkpoint(update, state) saves all that training needs to go on from there; observe(event) shows what
    happened; around_update(update, batch, optimizer) is entered round each update, to measure it."""

    validate: Callable[[], float] | None
    keep: Callable[[], None]
    checkpoint: Callable[[int, State], None]
    observe: Observe
    around_update: AroundUpdate = lambda update, batch, optimizer: contextlib.nullcontext()


@dataclass(slots=True)
class Outcome:
    """How training ended; losses in nats a supervised token."""

    updates: int
    update: int = 0
    first_held_out: float | None = None
    best_held_out: float | None = None
    best_update: int = 0
    last_held_out: float | None = None
    last_loss: float = math.nan
    interrupted: bool = False
    stopped_early: bool = False
    seconds: float = 0.0


def planned_updates(samples: int, settings: TrainSettings) -> int:
    return count_updates(samples, settings.batch_size, settings.epochs, settings.max_updates)


def train(
    forward: Forward,
    parameters: Sequence[torch.nn.Parameter],
    samples: Sequence[Sample],
    settings: TrainSettings,
    peak_learning_rate: float,
    fit: Fit,
    hardware: Hardware,
    place: DropoutPlace,
    hooks: Hooks,
    start: State | None = None,
) -> Outcome:
    """Train for the updates that the settings ask for, from the beginning or from the state of a checkpoint on.

    Raises TrainingError when a loss or gradient is not finite (the best weights so far stay saved), or when `start` is
    of other parameters.
    """
    optimizer = MasterOptimizer(parameters, settings.optimizer, settings.weight_decay)
    scaler = torch.amp.GradScaler(hardware.device.type, enabled=hardware.dtype == torch.float16)
    outcome = Outcome(updates=planned_updates(len(samples), settings))
    if start is not None:
        outcome = Outcome(**{**start.values["outcome"], "updates": outcome.updates, "interrupted": False})
    validation = _Validation(settings, hooks, outcome)
    saving = _Saving(settings)
    rise = warmup_updates(settings.warmup, outcome.updates)
    started = time.perf_counter() - outcome.seconds
    if hardware.device.type == "cpu":
        give_back_freed_memory()
        keep_freed_memory()
    forward.model.train()
    with recomputing(forward.model, fit.recompute), forward.running(), GracefulStop() as stop:
        if start is None:
            validation.measure(0)
        else:
            restore(start, optimizer, scaler)
            validation.without_improvement = start.values["without_improvement"]
        first = outcome.update
        until = first if outcome.stopped_early else outcome.updates

        def batches(updates: int) -> Iterator[tuple[float, Batch]]:
            least = LEAST_SHARED if fit.share_prefixes else None
            return iterate_batches(
                samples, settings.batch_size, updates, settings.seed, fit.tokens_per_pass, forward.packed, least, first
            )

        _say_shared([batch for _, batch in batches(min(until, first + LOOKED_AT))], hooks.observe)
        for update, (epoch, batch) in enumerate(batches(until), first):
            rate = learning_rate(update, outcome.updates, peak_learning_rate, settings.schedule, rise)
            began = time.perf_counter()
            with hooks.around_update(update, batch, optimizer):
                step = train_step(forward, batch, optimizer, scaler, place, update, rate, settings.max_gradient_norm)
            seconds = time.perf_counter() - began
            _check(step, update + 1, scaler, hooks.observe)
            outcome.update, outcome.last_loss = update + 1, step.loss
            memory, peak_memory = memory_in_use(hardware.device)
            hooks.observe(
                Event(
                    "update",
                    {
                        "update": update + 1,
                        "epoch": round(epoch, 4),
                        "loss": step.loss,
                        "learning_rate": rate,
                        "gradient_norm": step.gradient_norm,
                        "tokens": batch.tokens,
                        "computed_tokens": batch.computed_tokens,
                        "tokens_per_second": batch.tokens / seconds,
                        "memory_bytes": memory,
                        "peak_memory_bytes": peak_memory,
                        "elapsed_seconds": time.perf_counter() - started,
                    },
                )
            )
            done, last = update + 1, update + 1 == outcome.updates
            measured = last or validation.is_due(done)
            if measured:
                validation.measure(done)
            outcome.interrupted = stop.requested and not last
            outcome.stopped_early = measured and validation.exhausted and not last
            outcome.seconds = time.perf_counter() - started
            if saving.is_due(done, last or outcome.interrupted or outcome.stopped_early):
                state = capture(optimizer, scaler)
                progress = {
                    "outcome": dataclasses.asdict(outcome),
                    "without_improvement": validation.without_improvement,
                }
                with saving.timed():
                    hooks.checkpoint(done, State(state.tensors, {**state.values, **progress}))
            if outcome.interrupted:
                if not measured:  # after the checkpoint: a run that goes on from there does not measure here
                    validation.measure(done)
                hooks.observe(note(f"interrupted after update {done}; the best so far is saved"))
                break
            if outcome.stopped_early:
                hooks.observe(note(f"held-out loss has not improved in {settings.patience} measurements: stopping"))
                break
        if outcome.best_update == 0:
            # Nothing measured, or never better than the base: the last weights are what was learned.
            hooks.keep()
    outcome.seconds = time.perf_counter() - started
    return outcome


def _say_shared(batches: Sequence[Batch], observe: Observe) -> None:
    """How much of the first updates is computed once for several examples, when it is worth a word."""
    tokens = sum(batch.tokens for batch in batches)
    shared = 1 - sum(batch.computed_tokens for batch in batches) / max(1, tokens)
    if shared >= 0.01:
        observe(note(f"{shared:.0%} of tokens shared: the beginnings that examples have in common are computed once"))


class _Saving:
    """Says when a checkpoint is due."""

    def __init__(self, settings: TrainSettings) -> None:
        self._every = settings.checkpoint_every
        self._next = time.monotonic() + CHECKPOINT_SECONDS

    def is_due(self, update: int, ending: bool) -> bool:
        if self._every == "never" or ending:
            return self._every != "never"
        return time.monotonic() >= self._next if self._every == "auto" else update % self._every == 0

    @contextlib.contextmanager
    def timed(self) -> Iterator[None]:
        began = time.monotonic()
        yield
        ended = time.monotonic()
        self._next = ended + max(CHECKPOINT_SECONDS, CHECKPOINT_SHARE * (ended - began))


class _Validation:
    """Measures the held-out loss when it is due, and has the best weights kept."""

    def __init__(self, settings: TrainSettings, hooks: Hooks, outcome: Outcome) -> None:
        self._hooks, self._outcome, self._patience = hooks, outcome, settings.patience
        every = settings.validate_every
        self._every = max(1, round(outcome.updates / 10)) if every == "auto" else 0 if every == "never" else every
        self.without_improvement = 0

    def is_due(self, update: int) -> bool:
        return self._every > 0 and update % self._every == 0

    @property
    def exhausted(self) -> bool:
        return self._patience is not None and self.without_improvement >= self._patience

    def measure(self, update: int) -> None:
        if self._hooks.validate is None or not self._every:
            return
        loss = self._hooks.validate()
        self._hooks.observe(Event("held_out", {"update": update, "held_out_loss": loss}))
        outcome = self._outcome
        outcome.last_held_out = loss
        if outcome.first_held_out is None or outcome.best_held_out is None:
            if not math.isfinite(loss):
                raise TrainingError(
                    f"The base's held-out loss is {loss}: this model does not compute in this dtype. "
                    "Try model.dtype=float32 or bfloat16."
                )
            outcome.first_held_out = outcome.best_held_out = loss
        elif loss < outcome.best_held_out:
            outcome.best_held_out, outcome.best_update = loss, update
            self.without_improvement = 0
            self._hooks.keep()
        else:
            self.without_improvement += 1


def _check(step: Step, update: int, scaler: torch.amp.GradScaler, observe: Observe) -> None:
    if math.isfinite(step.loss) and not step.applied and scaler.get_scale() >= 1:
        observe(warning(f"update {update}: float16 overflowed; the update is left out, the loss scale halved"))
        return
    # A smaller loss scale mends a gradient that overflowed, not a loss.
    if not math.isfinite(step.loss) or not math.isfinite(step.gradient_norm):
        raise TrainingError(
            f"Update {update} gave loss {step.loss} and gradient norm {step.gradient_norm}: training stops here, and "
            "what was saved before stays.\nA lower train.learning_rate, or model.dtype=float32, usually mends this."
        )
    if step.gradient_norm == 0 and step.loss > 0 and update == 1:
        raise TrainingError("The first update has a gradient of exactly 0: nothing would be learned.")
