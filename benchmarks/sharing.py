"""Shared beginnings computed once against the same rows without sharing: seconds an update, side by side in one run.

    python benchmarks/sharing.py [--shape 135m|0.6b] [--rounds 3] [--threads 2] [--cases NAME ...]

prompt: one system prompt of 400 tokens and 60 of question and answer, 16 examples an update. varied: the same with 30
to 90. template: 24 tokens in common and 60 to 240 of their own. alpaca: real Alpaca conversations under the short
template, which is too little to share. dialogues: four of four turns, each turn a sample with the turns before it.
Random weights, bfloat16, LoRA of rank 16 on every linear layer; both ways take the same update in turn, the order
changing from round to round. Losses must agree to bfloat16's rounding.
"""

from __future__ import annotations

import statistics
import sys
import time

import work

CASES = ("prompt", "varied", "template", "alpaca", "dialogues")
PARSER = work.parser(__doc__)
PARSER.add_argument("--tokens-per-pass", type=int, default=2048)
PARSER.add_argument("--cases", nargs="*", choices=CASES, default=CASES)
ARGS = work.parse(PARSER)

import numpy as np  # noqa: E402
import torch  # noqa: E402

from lorafit.adapters.dropout import DropoutPlace  # noqa: E402
from lorafit.adapters.fast import make_fast  # noqa: E402
from lorafit.data.pack import LEAST_SHARED, make_batch  # noqa: E402
from lorafit.memory import keep_freed_memory  # noqa: E402
from lorafit.model.forward import choose_forward  # noqa: E402
from lorafit.model.fused import fuse  # noqa: E402
from lorafit.records import Sample, Source  # noqa: E402
from lorafit.train.optim import MasterOptimizer  # noqa: E402
from lorafit.train.step import train_step  # noqa: E402


def example(tokens: np.ndarray, prompt: int) -> Sample:
    return Sample(tokens, np.arange(len(tokens)) >= prompt, Source("drawn", 1))


def update_of(case: str, number: int, vocabulary: int) -> list[Sample]:
    draw = np.random.default_rng((number, CASES.index(case)))

    def tokens(length: int) -> np.ndarray:
        return draw.integers(0, vocabulary, length)

    if case == "alpaca":
        return work.samples(ARGS.shared, vocabulary, 16 * (number + 1))[-16:]
    if case == "dialogues":
        made = []
        for _ in range(4):
            turns = tokens(draw.integers(20, 60))
            for _ in range(4):
                answer_from = len(turns) + int(draw.integers(15, 60))
                turns = np.concatenate([turns, tokens(answer_from - len(turns) + int(draw.integers(40, 120)))])
                made.append(example(turns, answer_from))
        return made
    system = tokens(24 if case == "template" else 400)
    lengths = {"prompt": [60] * 16, "varied": draw.integers(30, 91, 16), "template": draw.integers(60, 241, 16)}[case]
    return [example(np.concatenate([system, tokens(n)]), len(system) + n // 3) for n in lengths]


def main() -> int:
    model = work.with_lora(work.random_model(ARGS.shape))
    make_fast(model)
    fuse(model, compile=False)
    keep_freed_memory()
    forward, reason = choose_forward(model)
    assert reason is None
    optimizer = MasterOptimizer(model.parameters(), "adamw", 0.0)
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    print(f"{ARGS.shape}, bfloat16, {ARGS.threads} threads, {ARGS.rounds} rounds")
    print(f"{'':12}{'tokens':>8}{'computed':>10}{'fewer':>7}{'s apart':>9}{'s shared':>10}{'gain':>7}{'loss off':>10}")
    for case in ARGS.cases:
        seconds: dict[int | None, list[float]] = {None: [], LEAST_SHARED: []}
        worst = 0.0
        for number in range(-1, ARGS.rounds):  # round -1 warms up
            samples = update_of(case, max(0, number), work.vocabulary(ARGS.shape))
            losses = []
            for least in [None, LEAST_SHARED][:: 1 if number % 2 else -1]:
                began = time.perf_counter()
                batch = make_batch(samples, ARGS.tokens_per_pass, least_shared=least)
                with forward.running():
                    step = train_step(forward, batch, optimizer, scaler, DropoutPlace(), 0, 0.0, 1.0)
                if number >= 0:
                    seconds[least].append(time.perf_counter() - began)
                losses.append(step.loss)
                assert step.gradient_norm > 0
            worst = max(worst, abs(losses[0] - losses[1]) / losses[0])
        shared_batch = make_batch(samples, ARGS.tokens_per_pass)
        tokens, computed = shared_batch.tokens, shared_batch.computed_tokens
        apart, shared = (statistics.median(seconds[least]) for least in (None, LEAST_SHARED))
        print(
            f"{case:12}{tokens:8}{computed:10}{tokens / computed:7.2f}{apart:9.2f}{shared:10.2f}{apart / shared:7.2f}"
            f"{worst:10.1e}",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
