"""The training loop: updates in order, validation at intervals, the best kept. Everything it shows is an Event."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import math
import time
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass

import torch

from lorafit.adapters.dropout import DropoutPlace
from lorafit.data.batches import count_updates, iterate_samples
from lorafit.data.stream import Stream
from lorafit.errors import DataError, DoesNotFit, RecipeError, TrainingError
from lorafit.hardware import Hardware
from lorafit.memory import give_back_freed_memory, keep_freed_memory, memory_in_use
from lorafit.model.forward import Forward
from lorafit.records import Batch, Event, Fit, Sample, note
from lorafit.train.checkpoint import State, capture, restore
from lorafit.train.hooks import Hooks, Observe
from lorafit.train.interrupt import GracefulStop
from lorafit.train.optim import MasterOptimizer
from lorafit.train.recompute import recomputing
from lorafit.train.retreat import Retreat
from lorafit.train.schedule import learning_rate, warmup_updates
from lorafit.train.settings import TrainSettings
from lorafit.train.updates import Updates

LOOKED_AT = 32  # updates that say how much is shared
# Between two checkpoints by themselves; and how many times as long as writing one takes.
CHECKPOINT_SECONDS, CHECKPOINT_SHARE = 300.0, 20


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


def planned_updates(samples: Sequence[Sample] | Stream, settings: TrainSettings) -> int:
    """Raises RecipeError as `updates_of_stream` does."""
    if isinstance(samples, Stream):
        return updates_of_stream(settings)
    return count_updates(len(samples), settings.batch_size, settings.epochs, settings.max_updates)


def updates_of_stream(settings: TrainSettings) -> int:
    """Raises RecipeError without `max_updates`: the length of a stream is not known."""
    if settings.max_updates is None:
        raise RecipeError("The length of a stream (data.streaming) is not known: set train.max_updates.")
    return settings.max_updates


def train(
    forward: Forward,
    parameters: Sequence[torch.nn.Parameter],
    samples: Sequence[Sample] | Stream,
    settings: TrainSettings,
    peak_learning_rate: float,
    fit: Fit,
    hardware: Hardware,
    place: DropoutPlace,
    hooks: Hooks,
    start: State | None = None,
) -> Outcome:
    """Train for the updates that the settings ask for, from the beginning or from the state of a checkpoint on.

    Raises TrainingError when too many updates have a loss or gradient that is not finite (none of them is applied, and
    the state before is saved), or when `start` is of other parameters; DoesNotFit when one sample alone is too long;
    DataError for bad rows of a stream (the state before is saved).
    """
    optimizer = MasterOptimizer(parameters, settings.optimizer, settings.weight_decay)
    outcome = Outcome(updates=planned_updates(samples, settings))
    if start is not None:
        outcome = Outcome(**{**start.values["outcome"], "updates": outcome.updates, "interrupted": False})
    scaler = torch.amp.GradScaler(hardware.device.type, enabled=hardware.dtype == torch.float16)
    retreat = Retreat(fit.tokens_per_pass, hardware.device, hooks.observe)
    updates = Updates(forward, optimizer, scaler, retreat, place, settings, fit.share_prefixes, hooks)
    validation = _Validation(settings, hooks, outcome, retreat)
    saving = _Saving(settings)
    rise = warmup_updates(settings.warmup, outcome.updates)
    started = time.perf_counter() - outcome.seconds
    if hardware.device.type == "cpu":
        give_back_freed_memory()
        keep_freed_memory()

    def save(done: int) -> None:
        state = capture(optimizer, updates.scaler)
        progress = {
            "outcome": dataclasses.asdict(outcome),
            "without_improvement": validation.without_improvement,
            "tokens_per_pass": retreat.tokens_per_pass,
            "left_out": updates.left_out,
        }
        with saving.timed():
            hooks.checkpoint(done, State(state.tensors, {**state.values, **progress}))

    first = outcome.update
    until = first if outcome.stopped_early else outcome.updates

    def chosen_samples() -> Generator[tuple[float, list[Sample]]]:
        try:
            yield from iterate_samples(samples, settings.batch_size, until, settings.seed, first)
        except (DataError, OSError):  # of a stream, whose next rows cannot be read or kept
            if outcome.update > first and saving.wanted:
                save(outcome.update)
            raise

    forward.model.train()
    with (
        contextlib.closing(chosen_samples()) as order,
        recomputing(forward.model, fit.recompute),
        forward.running(),
        GracefulStop() as stop,
    ):
        if start is None:
            validation.measure(0)
        else:
            restore(start, optimizer, scaler)
            validation.without_improvement = start.values["without_improvement"]
            updates.left_out = start.values["left_out"]
        beginning = deque(itertools.islice(order, LOOKED_AT))
        _say_shared([updates.batch_of(chosen, fit.tokens_per_pass) for _, chosen in beginning], hooks.observe)
        looked_at = (beginning.popleft() for _ in range(len(beginning)))
        for update, (epoch, chosen) in enumerate(itertools.chain(looked_at, order), first):
            rate = learning_rate(update, outcome.updates, peak_learning_rate, settings.schedule, rise)
            done = update + 1
            try:
                taken = updates.take(update, chosen, rate)
            except (TrainingError, DoesNotFit):
                if update > first and saving.wanted and not optimizer.torn:
                    save(update)
                raise
            step, outcome.update = taken.step, done
            if step.applied:
                outcome.last_loss = step.loss
            memory, peak_memory = memory_in_use(hardware.device)
            hooks.observe(
                Event(
                    "update",
                    {
                        "update": done,
                        "epoch": round(epoch, 4),
                        "loss": step.loss,
                        "learning_rate": rate,
                        "gradient_norm": step.gradient_norm,
                        "applied": step.applied,
                        "tokens": taken.batch.tokens,
                        "computed_tokens": taken.batch.computed_tokens,
                        "supervised_tokens": taken.batch.supervised_tokens,
                        "tokens_per_second": taken.batch.tokens / taken.seconds,
                        "data_seconds": taken.data_seconds,
                        "memory_bytes": memory,
                        "peak_memory_bytes": peak_memory,
                        "elapsed_seconds": time.perf_counter() - started,
                    },
                )
            )
            last = done == outcome.updates
            measured = last or validation.is_due(done)
            if measured:
                validation.measure(done)
            outcome.interrupted = stop.requested and not last
            outcome.stopped_early = measured and validation.exhausted and not last
            outcome.seconds = time.perf_counter() - started
            if saving.is_due(done, last or outcome.interrupted or outcome.stopped_early):
                save(done)
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

    @property
    def wanted(self) -> bool:
        return self._every != "never"

    def is_due(self, update: int, ending: bool) -> bool:
        if self._every == "never" or ending:
            return self.wanted
        return time.monotonic() >= self._next if self._every == "auto" else update % self._every == 0

    @contextlib.contextmanager
    def timed(self) -> Iterator[None]:
        began = time.monotonic()
        yield
        ended = time.monotonic()
        self._next = ended + max(CHECKPOINT_SECONDS, CHECKPOINT_SHARE * (ended - began))


class _Validation:
    """Measures the held-out loss when it is due, and has the best weights kept."""

    def __init__(self, settings: TrainSettings, hooks: Hooks, outcome: Outcome, retreat: Retreat) -> None:
        self._hooks, self._outcome, self._patience, self._retreat = hooks, outcome, settings.patience, retreat
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
        what = f"measuring held-out loss after update {update}" if update else "measuring the base's held-out loss"
        loss = self._retreat.carry(self._hooks.validate, self._hooks.held_out, what, lambda: None)
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
