"""The value of each setting, with the figure that it rests on and its source."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from lorafit import builtin
from lorafit.advise import sources
from lorafit.advise.look import Base, Look
from lorafit.advise.methods import ADAPTERS, Method
from lorafit.advise.sources import Source
from lorafit.advise.task import Task
from lorafit.data.batches import count_updates
from lorafit.observe.rules.before import (
    BITS_A_TOKEN,
    BITS_A_WEIGHT,
    ENOUGH_UPDATES,
    FREE_RANK,
    MOST_EPOCHS,
    SMALLEST_BATCH,
    WEIGHTS_A_TOKEN,
)
from lorafit.plan.answer import PLAIN_SHARE
from lorafit.plan.report import duration, size
from lorafit.recipe import METHODS

MOST_RANK = 256
USUAL_BATCH = 16
# (up to so many rows, epochs)
EPOCHS = ((10_000, 3), (50_000, 2), (math.inf, 1))
# (below so many parameters, learning rate of an adapter)
RATES = (
    (10e6, 4e-3, "the rate that did well on the smallest bases", sources.OUR_RATES),
    (
        100e6,
        1e-3,
        "between 4e-3, which did well on 3 million, and what is usual from 100 million",
        sources.CONVENTION,
    ),
    (1e9, 3e-4, "the middle of what is usual at this size", sources.OUR_BANDS),
    (20e9, 2e-4, "as QLoRA has it up to 13B", sources.QLORA_RATE),
    (math.inf, 1e-4, "as QLoRA has it from 33B on", sources.QLORA_RATE),
)
FULL_RATE = 10  # times lower
LARGE = 20e9  # parameters: between QLoRA's 13B and 33B
SMALL_ROWS, OFTEN = 1000, 3
# Samples longer than this are not all covered: one long row would cost every pass.
ALL_COVERED = 2048
SAME = 0.02  # times closer than this are one
HELD_OUT_ROWS, MOST_HELD_OUT, LEAST_ROWS = 20, 500, 20
PROMPTS = 32


@dataclass(frozen=True, slots=True)
class Setting:
    """key: as in a recipe. reason: one or two sentences with the figure that the value rests on."""

    key: str
    value: Any
    reason: str
    source: Source

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Basis:
    """What every value rests on: a base, the data, and the task."""

    base: Base
    look: Look
    task: Task

    @property
    def held_out(self) -> float | str:
        if self.look.files == (builtin.NAME,):
            return builtin.NAME
        rows = self.look.rows
        if rows < LEAST_ROWS:
            return 0.0
        share = min(max(0.05, HELD_OUT_ROWS / rows), 0.2, MOST_HELD_OUT / rows)
        return float(f"{share:.1g}")

    @property
    def rows(self) -> int:
        """Training rows, about: the split is by a hash."""
        share = self.held_out if isinstance(self.held_out, float) else 0.0
        return max(1, round(self.look.rows * (1 - share)))

    @property
    def batch_and_epochs(self) -> tuple[int, int]:
        """The usual ones; for few rows a smaller batch, then more epochs, until there are ENOUGH_UPDATES."""
        rows, batch = self.rows, USUAL_BATCH
        epochs = next(epochs for most, epochs in EPOCHS if rows <= most)
        while batch > SMALLEST_BATCH and count_updates(rows, batch, epochs, None) < ENOUGH_UPDATES:
            batch //= 2
        while epochs < MOST_EPOCHS and count_updates(rows, batch, epochs, None) < ENOUGH_UPDATES:
            epochs += 1
        return batch, epochs

    @property
    def updates(self) -> int:
        batch, epochs = self.batch_and_epochs
        return count_updates(self.rows, batch, epochs, None)

    @property
    def rank_wanted(self) -> int:
        """The task's rank, or the power of two above it that holds what the answers bring."""
        holds = BITS_A_WEIGHT * self.base.rank_weights
        needed = math.ceil(BITS_A_TOKEN * self.look.supervised / holds)
        return max(self.task.rank, 1 << (needed - 1).bit_length())

    @property
    def rank(self) -> int:
        """As wanted, but no more than the data can feed and than the narrowest layer has columns."""
        fed = WEIGHTS_A_TOKEN * self.look.supervised / self.base.rank_weights
        most = min(MOST_RANK, self.base.narrowest, max(FREE_RANK, _power_below(fed)))
        return min(self.rank_wanted, _power_below(most))

    @property
    def max_length(self) -> int:
        """The longest sample, rounded up; of long ones what 99 % have."""
        lengths = self.look.lengths
        length = _rounded_up(lengths["max"] if lengths["max"] <= ALL_COVERED else max(ALL_COVERED, lengths["p99"]), 64)
        return length if self.base.context is None else min(length, self.base.context)


def _power_below(value: float) -> int:
    """The largest power of two that is not above the value; at least 1."""
    return 1 << max(0, int(math.log2(max(1.0, value))))


def _rounded_up(value: int, step: int) -> int:
    return -(-value // step) * step


def settings_for(basis: Basis, method: str, methods: tuple[Method, ...] = ()) -> Iterator[Setting]:
    """Every setting that is advised, in the order of a recipe. methods: what the planner found for this base; without
    it, before anything was planned, the reasons of the method are empty."""
    yield from _model(basis, method, methods)
    yield from _data(basis)
    if METHODS[method]["adapter.method"] == "lora":
        yield from _adapter(basis)
    else:
        yield Setting("adapter.method", "none", _why_full(basis), sources.CAPACITY)
    yield from _train(basis, method)
    yield from _evaluate(basis)


def _model(basis: Basis, method: str, methods: tuple[Method, ...]) -> Iterator[Setting]:
    base = basis.base
    context = f", made for {base.context:,} tokens" if base.context else ""
    yield Setting("model.name", base.name, f"The base: {base.parameters:,} parameters{context}.", sources.CONFIG)
    yield Setting(
        "model.quantization", METHODS[method]["model.quantization"], _why_method(method, methods), sources.PLAN
    )


def _why_method(method: str, methods: tuple[Method, ...]) -> str:
    """Why this one, by what the planner found for the others."""
    ways = {way.name: way for way in methods}
    if method not in ways:
        return ""
    own = ways[method]
    told = f"{own.shown} needs {size(own.needed)} of {size(own.budget)}"
    told += " and fits" if own.verdict == "yes" else f": more than {PLAIN_SHARE:.0%} of it, so it is tight"
    told += ", with part of the layers computed again." if own.recompute != "none" else "."
    others = [_beside(own, ways[name]) for name in ADAPTERS if name in ways and name != method]
    return f"{told} {'; '.join(others)}." if others else told


def _beside(own: Method, other: Method) -> str:
    bits = {"lora": "16 bits", "int8": "8 bits", "qlora": "4 bits"}[other.name]
    if other.verdict != "yes":
        word = "would not fit" if other.verdict == "no" else "would be tight"
        return f"{bits} {word} ({size(other.needed)})"
    saved = other.needed - own.needed
    told = f"{bits} would need {size(abs(saved))} {'more' if saved > 0 else 'less'}"
    if own.pace is None or other.pace is None:
        return told
    ratio = other.pace / own.pace
    return f"{told} and take " + (f"{ratio:.2f} times as long" if abs(ratio - 1) >= SAME else "as long")


def _why_full(basis: Basis) -> str:
    return (
        f"{basis.look.supervised:,} trained tokens are more than an adapter of rank {MOST_RANK} holds, and full "
        "fine-tuning fits."
    )


def _data(basis: Basis) -> Iterator[Setting]:
    look, held_out = basis.look, basis.held_out
    train = look.files[0] if len(look.files) == 1 else list(look.files)
    turns = f", {look.several_turns:,} of the first {len(look.conversations):,} of several turns" * bool(
        look.several_turns
    )
    kind = "texts" if look.texts else f"dialogues{turns}"
    yield Setting(
        "data.train",
        train,
        f"{look.rows:,} {kind}; {look.tokens:,} tokens, {look.supervised:,} of them trained on.",
        sources.DATA,
    )
    if held_out == builtin.NAME:
        yield Setting("data.held_out", held_out, "The built-in data brings held-out rows.", sources.DATA)
    elif held_out == 0.0:
        yield Setting(
            "data.held_out",
            0.0,
            f"{look.rows:,} rows are too few to put some aside: look at answers.",
            sources.CONVENTION,
        )
    else:
        count = round(look.rows * float(held_out))
        yield Setting(
            "data.held_out",
            held_out,
            f"About {count:,} of {look.rows:,} rows: {HELD_OUT_ROWS} to {MOST_HELD_OUT} are aimed at: a steady figure "
            "that is soon measured, but at most 20 %.",
            sources.CONVENTION,
        )
    yield from _length(basis)


def _length(basis: Basis) -> Iterator[Setting]:
    look, length = basis.look, basis.max_length
    figures = look.lengths
    longer = look.share_longer(length) if length < figures["max"] else 0.0
    told = f"Half of the samples have up to {figures['p50']:,} tokens, 99 % up to {figures['p99']:,}, the longest "
    told += f"{figures['max']:,}"
    if length < figures["max"]:
        limit = "the base takes no more" if length == basis.base.context else "one long row would cost memory"
        told += f"; {longer:.1%} are longer than this: {limit}" if longer else f": {limit}"
    yield Setting("data.max_length", length, f"{told}.", sources.DATA)
    if length < figures["max"]:
        way = "split" if look.texts else "drop"
        why = "A longer text becomes several samples." if look.texts else "A cut answer would not show how it ends."
        yield Setting("data.too_long", way, why, sources.CONVENTION)


def _adapter(basis: Basis) -> Iterator[Setting]:
    look, rank, task = basis.look, basis.rank, basis.task
    weights = rank * basis.base.rank_weights
    told = f"{weights:,} weights for {look.supervised:,} trained tokens"
    if rank < basis.rank_wanted:
        limit = (
            "the narrowest layer has no more columns"
            if rank * 2 > basis.base.narrowest
            else "more would not be fed by them"
        )
        yield Setting("adapter.rank", rank, f"{told}: {limit}.", sources.CAPACITY)
    elif rank > task.rank:
        yield Setting("adapter.rank", rank, f"{told}: a smaller rank would not hold them.", sources.CAPACITY)
    else:
        yield Setting("adapter.rank", rank, f"For {task.words}: {task.why}. {told}.", task.source)
    yield Setting(
        "adapter.alpha",
        float(2 * rank),
        "Twice the rank, so that the scale alpha/rank stays 2 whatever the rank; that it is 2 is a habit.",
        sources.RSLORA,
    )
    yield Setting(
        "adapter.targets", "all-linear", "Every linear layer: fewer kinds of layers learn less.", sources.QLORA_LAYERS
    )
    yield _dropout(basis)


def _dropout(basis: Basis) -> Setting:
    rows, (_, epochs) = basis.rows, basis.batch_and_epochs
    if rows < SMALL_ROWS and epochs >= OFTEN:
        share = 0.05 if basis.base.parameters > LARGE else 0.1
        told = f"{rows:,} rows are seen {epochs} times each and could be learnt by heart."
        return Setting("adapter.dropout", share, told, sources.QLORA_RATE)
    told = (
        f"None: {rows:,} rows, each seen {epochs} {'time' if epochs == 1 else 'times'}, are not soon learnt by heart."
    )
    return Setting("adapter.dropout", 0.0, told, sources.OUR_DROPOUT)


def _train(basis: Basis, method: str) -> Iterator[Setting]:
    batch, epochs = basis.batch_and_epochs
    rows, updates = basis.rows, basis.updates
    told = f"{rows:,} rows × {epochs} / {batch} = {updates:,} updates."
    if batch < USUAL_BATCH:
        why = f"Smaller than the usual {USUAL_BATCH}, so that few rows make enough updates. {told}"
        yield Setting("train.batch_size", batch, why, sources.DOCTOR_UPDATES)
    else:
        yield Setting("train.batch_size", batch, f"{told} Larger batches cost an adapter quality.", sources.REGRET)
    yield _rate(basis, method)
    yield Setting(
        "train.schedule", "cosine", "The rate falls to zero, so that the last updates settle.", sources.CONVENTION
    )
    warm = max(1, round(0.03 * updates))
    yield Setting("train.warmup", 0.03, f"{warm:,} of {updates:,} updates.", sources.CONVENTION)
    usual = next(epochs for most, epochs in EPOCHS if rows <= most)
    if epochs > usual:
        why = f"{rows:,} rows alone make too few updates; small chosen sets bear many passes."
        yield Setting("train.epochs", float(epochs), why, sources.LIMA)
    else:
        why = f"{rows:,} rows: 3 passes up to 10,000 rows, 2 up to 50,000, then 1. The best held-out point is kept."
        yield Setting("train.epochs", float(epochs), why, sources.CONVENTION)
    if basis.held_out == 0.0:
        yield Setting("train.validate_every", "never", "No rows are held out.", sources.DATA)
    else:
        every = f"About every {max(1, updates // 10):,} updates, ten times a run."
        yield Setting("train.validate_every", "auto", every, sources.CONVENTION)


def _rate(basis: Basis, method: str) -> Setting:
    parameters = basis.base.parameters
    _, rate, why, source = next(row for row in RATES if parameters < row[0])
    if method == "full":
        why = f"A tenth of an adapter's {rate:g}, which is {why}"
        return Setting("train.learning_rate", rate / FULL_RATE, f"{why}.", sources.REGRET)
    return Setting("train.learning_rate", rate, f"{parameters:,} parameters: {why}.", source)


def _evaluate(basis: Basis) -> Iterator[Setting]:
    look, task = basis.look, basis.task
    if look.texts:
        return
    longest = min(1024, max(16, _rounded_up(look.answers["p99"], 16)))
    told = f"99 % of the answers have up to {look.answers['p99']:,} tokens, the longest {look.answers['max']:,}."
    yield Setting("evaluate.max_new_tokens", longest, told, sources.DATA)
    if task.metrics and basis.held_out != 0.0:
        told = f"The usual 8 answers say little as a score; {PROMPTS} say how far apart base and tuned model are."
        yield Setting("evaluate.prompts", PROMPTS, told, sources.CONVENTION)
        yield Setting(
            "evaluate.metrics",
            list(task.metrics),
            f"They tell how good {task.words} are (docs/metrics.md).",
            sources.CONVENTION,
        )


def run_words(basis: Basis, method: Method) -> str:
    """What the whole run will take, where that can be said."""
    if method.seconds is None:
        return f"{basis.updates:,} updates; how long they take cannot be said, as the device's speed is not known"
    return f"{basis.updates:,} updates, {duration(method.seconds.times(basis.updates))} by the plan, without loading"
