"""From a run's settings and a device to its plan: what is open in the settings is settled here."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch

from lorafit.adapters.settings import AdapterSettings
from lorafit.data.batches import count_updates
from lorafit.data.samples import lengths_of
from lorafit.errors import PlanError
from lorafit.model.settings import ModelSettings
from lorafit.plan.answer import PLAIN_SHARE, Plan, answer, budget_of
from lorafit.plan.devices import Device
from lorafit.plan.fit import (
    AIM,
    TOKENS_A_SAMPLE,
    Candidate,
    Choice,
    Progress,
    assumed_batch,
    largest_pass,
    search,
    typical_updates,
)
from lorafit.plan.simulate import Job
from lorafit.plan.ways import Ways, ways_of
from lorafit.records import Batch, Fit, Sample
from lorafit.train.settings import TrainSettings

# Tokens through the model at once where nothing speaks against it: more is hardly faster (benchmarks/frontier.py).
TOKENS_PER_PASS = {"cpu": 2048, "mps": 2048, "cuda": 4096}
FEWEST_TOKENS = 256
# With such a share of the usual tokens a pass nothing is computed twice: that costs a sixth of the time or more.
ENOUGH = 0.25
ROUNDS = 2  # of looking for what fits
HOPPER = ("H100", "H200", "GH200", "B200", "GB200", "B300", "RTX 50", "RTX PRO")  # compute capability 9.0 or more
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Question:
    """What a plan is asked about. samples: of the run, None where there are none yet; length: tokens a sample then."""

    name: str
    config: Any
    model: ModelSettings
    adapter: AdapterSettings
    train: TrainSettings
    device: Device
    samples: Sequence[Sample] | None = None
    length: int = TOKENS_A_SAMPLE
    remote_code: bool = False

    def __post_init__(self) -> None:
        longest = getattr(self.config.get_text_config(), "max_position_embeddings", None)
        if self.samples is None and longest is not None and self.length > longest:
            raise PlanError(
                f"data.max_length is {self.length:,} tokens, but {self.name} was made for {longest:,}. "
                f"Ask for at most {longest:,}."
            )

    @cached_property
    def ways(self) -> Ways:
        return ways_of(self.config, self.remote_code)

    @property
    def dtype(self) -> torch.dtype:
        if self.model.dtype != "auto":
            return DTYPES[self.model.dtype]
        if self.device.kind == "cuda":
            return torch.bfloat16 if self.device.bfloat16 else torch.float16
        return torch.bfloat16 if self.device.kind == "cpu" and self.device.bfloat16 else torch.float32

    @property
    def assumptions(self) -> tuple[str, ...]:
        if self.samples is not None:
            return ()
        return (f"{self.train.batch_size} examples of {self.length:,} tokens an update, all of them trained on",)

    def updates(self) -> int | None:
        """Of the whole run; None without data."""
        if self.samples is None:
            return None
        return count_updates(len(self.samples), self.train.batch_size, self.train.epochs, self.train.max_updates)

    def start(self) -> Choice:
        """The settings as they are; what is open at its usual value."""
        train = self.train
        tokens = TOKENS_PER_PASS[self.device.kind] if train.tokens_per_pass == "auto" else train.tokens_per_pass
        recompute = "none" if train.recompute == "auto" else train.recompute
        model = self.model
        return Choice(model.quantization, model.double_quantization, recompute, tokens, train.optimizer)

    def fewest_tokens(self) -> int:
        """A pass that a search begins with. The longest sample has a row of its own however small a pass is, so that
        rows up to its length cost no more memory."""
        usual = self.start().tokens_per_pass
        if self.train.tokens_per_pass != "auto":
            return usual
        longest = self.length if self.samples is None else int(lengths_of(self.samples).max())
        return min(usual, max(FEWEST_TOKENS, longest))

    def tokens_of(self, choice: Choice) -> int:
        """Tokens of an update, in the mean."""
        longest = choice.max_length or math.inf
        if self.samples is None:
            return int(self.train.batch_size * min(self.length, longest))
        mean = float(np.minimum(lengths_of(self.samples), longest).mean())
        return round(mean * min(self.train.batch_size, len(self.samples)))

    def job_of(self, choice: Choice) -> Job:
        fit = Fit(choice.tokens_per_pass, choice.recompute, self.train.share_prefixes)
        adapter = self.adapter if choice.rank is None else self.adapter.model_copy(update={"rank": choice.rank})
        return Job(
            config=self.config,
            kind=self.device.kind,
            dtype=self.dtype,
            quantization=choice.quantization,
            double_quantization=choice.double_quantization,
            adapter=adapter,
            optimizer=choice.optimizer,
            fit=fit,
            updates=self._updates(choice, fit),
            packed=self.ways.packed,
            plain_head=self.ways.plain_head,
            max_gradient_norm=self.train.max_gradient_norm,
            hopper=any(name in self.device.name for name in HOPPER),
            remote_code=self.remote_code,
        )

    def _updates(self, choice: Choice, fit: Fit) -> tuple[Batch, ...]:
        if self.samples is None:
            length = min(self.length, choice.max_length or self.length)
            batch = assumed_batch(self.train.batch_size, length, fit.tokens_per_pass)
            return replace(batch, rows=batch.rows[:1]), batch  # the first only brings the optimizer's state
        samples = self.samples
        if choice.max_length is not None:
            samples = [_cut(sample, choice.max_length) for sample in samples]
        return typical_updates(samples, self.train.batch_size, self.train.seed, fit, self.ways.packed)

    def plan(self, choice: Choice) -> Plan:
        """The plan of one choice, traced whole."""
        settings = {
            "quantization": choice.quantization,
            "double_quantization": choice.double_quantization,
            "recompute": choice.recompute,
            "tokens_per_pass": choice.tokens_per_pass,
            "optimizer": choice.optimizer,
            "dtype": str(self.dtype).removeprefix("torch."),
            "rank": choice.rank or self.adapter.rank,
            "targets": self.adapter.targets,
            "batch_size": self.train.batch_size,
        }
        return answer(
            self.job_of(choice),
            self.device,
            self.name,
            settings,
            self.tokens_of(choice),
            self.updates(),
            self.assumptions,
        )


def settle(question: Question) -> tuple[Choice, Plan]:
    """The settings with what is open (`auto`) decided, and their plan.

    The usual values where they fit plainly; else the fastest that do; else those that need least, whose plan then says
    tight or no. Shallow traces say what is worth a whole one.
    """
    start = question.start()
    open_choices = _open_choices(question, start)
    if not open_choices or _most_tokens(question, start, start.tokens_per_pass):
        plan = question.plan(start)
        if plan.verdict == "yes" or not open_choices:
            return start, plan
    added: dict[str, int] = {}  # by recomputation: bytes of the allocator, which only a whole trace shows
    for _ in range(ROUNDS):
        for candidate in _fitting(question, open_choices, start.tokens_per_pass, added):
            plan = question.plan(candidate.choice)
            if plan.verdict == "yes":
                return candidate.choice, plan
            added[candidate.choice.recompute] = plan.needed - candidate.needed
    leanest = open_choices[-1]
    return leanest, question.plan(leanest)


def _fitting(question: Question, choices: Sequence[Choice], usual: int, added: Mapping[str, int]) -> list[Candidate]:
    """Each choice with the most tokens a pass that fit, the fastest first."""
    found = []
    for choice in choices:
        candidate = _most_tokens(question, choice, usual, added.get(choice.recompute, 0))
        if candidate is not None:
            found.append(candidate)
            if candidate.choice.tokens_per_pass >= ENOUGH * usual:
                break
    return sorted(found, key=lambda candidate: candidate.pace)


def _most_tokens(question: Question, choice: Choice, largest: int, added: int = 0) -> Candidate | None:
    """None where not even the choice's own tokens a pass fit. added: bytes beside what a shallow trace sees."""
    device = question.device
    # A shallow trace is held against AIM of the memory, and with what is added it may come to PLAIN_SHARE.
    budget = budget_of(device)
    less = max(0, round((added - (PLAIN_SHARE - AIM) * budget) / AIM))
    smaller = replace(device, free_bytes=device.free_bytes and budget - less, memory_bytes=device.memory_bytes - less)
    return largest_pass(question.job_of, choice, smaller, question.tokens_of, largest)


def best_fits(
    question: Question, choices: Sequence[Choice], largest: int | None = None, progress: Progress | None = None
) -> tuple[Candidate, ...]:
    """All candidates of a search, best first (`lorafit plan --fit`). largest: tokens a pass; an update's when None."""
    return search(question.job_of, choices, question.device, question.tokens_of, largest, progress)


def _open_choices(question: Question, start: Choice) -> list[Choice]:
    """What `auto` leaves open: recomputation, least memory last, each with the fewest tokens a pass."""
    train = question.train
    if train.tokens_per_pass != "auto" and train.recompute != "auto":
        return []
    policies = [start.recompute]
    if train.recompute == "auto":
        policies += ["every-2", "layers", *(["offload"] if question.device.kind == "cuda" else [])]
    return [replace(start, tokens_per_pass=question.fewest_tokens(), recompute=policy) for policy in policies]


def _cut(sample: Sample, length: int) -> Sample:
    return Sample(sample.token_ids[:length], sample.trained[:length], sample.source)
