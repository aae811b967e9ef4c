"""One update, trick by trick: useful tokens a second, side by side in one run, on the same examples.

    python benchmarks/step.py [--shape 135m|0.6b] [--rounds 3] [--threads 2] [--shared ../shared]

Rows are lengths and masks of real Alpaca conversations (`data/alpaca/alpaca_en_demo.json` with the GPT-2 tokenizer, cut
to 512 tokens), 16 examples an update; weights are random in the shape of SmolLM2-135M or Qwen3-0.6B, in bfloat16, LoRA
of rank 16 on every linear layer. The first two rows are plain transformers + PEFT with one example a pass, which
measured best of all ways to call them without compilation (no padding). Then lorafit's tricks, each on top of the ones
above it. Every round runs all stages in turn, on the same update; medians over the rounds. The loss of each stage is
compared with the first one's, and no gradient may be zero. `--dropout 0.1` adds a last stage with it. MFU counts 4
floating-point operations a parameter of the linear layers and head, and token, against the fastest bfloat16 matrix
product of this run. Without the shared folder, lengths of the same distribution (log-normal, median 164) are drawn.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import work

PARSER = work.parser(__doc__)
PARSER.add_argument("--tokens-per-pass", type=int, default=2048)
PARSER.add_argument("--dropout", type=float, default=0.0)
PARSER.add_argument("--each", action="store_true", help="each trick alone, and all but each")
PARSER.add_argument("--only", nargs="*", type=int, help="stages by number, from 0")
ARGS = work.parse(PARSER)

import torch  # noqa: E402

from lorafit.adapters.dropout import DropoutPlace, PlacedDropout, place_dropout  # noqa: E402
from lorafit.adapters.fast import make_fast, make_plain  # noqa: E402
from lorafit.data.pack import make_batch, prefix_numbers  # noqa: E402
from lorafit.memory import free_memory_as_usual, keep_freed_memory, memory_in_use  # noqa: E402
from lorafit.model.forward import Forward, plain_head  # noqa: E402
from lorafit.model.fused import fuse, unfuse  # noqa: E402
from lorafit.ops import attention  # noqa: E402
from lorafit.records import Batch, Sample  # noqa: E402
from lorafit.train.optim import MasterOptimizer  # noqa: E402
from lorafit.train.step import train_step  # noqa: E402


class Stage:
    """A way to compute one update: `prepare` puts the model in order, `run` gives the loss."""

    def __init__(
        self,
        name: str,
        fast: bool = True,
        head: bool = True,
        matmul: bool = True,
        keep: bool = True,
        packed: str = "rows",
        fused: str = "",
        dropout: bool = False,
    ) -> None:
        self.name, self.fast, self.head, self.matmul, self.keep, self.packed = name, fast, head, matmul, keep, packed
        self.fused, self.dropout = fused, dropout

    @contextmanager
    def ready(self, model: Any) -> Iterator[Callable[[list[Sample], int], float]]:
        (make_fast if self.fast else make_plain)(model)
        unfuse(model)
        if self.fused:
            fuse(model, compile=self.fused == "compiled")
        for module in model.modules():
            if isinstance(module, PlacedDropout):
                module.p = ARGS.dropout if self.dropout else 0.0
        attention.MATMUL_LENGTH = 1024 if self.matmul else 0
        (keep_freed_memory if self.keep else free_memory_as_usual)()
        plain = model.get_base_model()
        optimizer = MasterOptimizer(model.parameters(), "adamw", 0.0)
        scaler = torch.amp.GradScaler("cpu", enabled=False)
        forward = Forward(model, self.packed == "rows", plain_head(plain) if self.head else None)
        if self.packed not in ("rows", "single"):
            plain.set_attn_implementation(self.packed)

        def run(chosen: list[Sample], update: int) -> float:
            batch: Batch = make_batch(chosen, ARGS.tokens_per_pass, packed=forward.packed)
            step = train_step(forward, batch, optimizer, scaler, PLACE, update, 0.0, 1.0)
            assert step.gradient_norm > 0
            return step.loss

        def tutorial(chosen: list[Sample], update: int) -> float:
            """transformers' own loss, one example a pass, full logits: what its Trainer computes."""
            optimizer.clear()
            total, loss = sum(s.supervised_tokens for s in chosen), 0.0
            for sample in chosen:
                PLACE.prefixes = prefix_numbers(sample.token_ids)
                ids = torch.from_numpy(sample.token_ids)[None]
                labels = torch.where(torch.from_numpy(sample.trained)[None], ids, -100)
                part = model(input_ids=ids, labels=labels, use_cache=False).loss * (sample.supervised_tokens / total)
                part.backward()
                loss += part.item()
            assert optimizer.gradient_norm(1.0) > 0
            optimizer.inner.step()
            return loss

        with forward.running():
            yield run if self.packed in ("rows", "single") else tutorial


PLACE = DropoutPlace()
STAGES = [
    Stage("transformers + PEFT, sdpa", False, False, False, False, packed="sdpa"),
    Stage("transformers + PEFT, eager, allocator tuned", False, False, False, True, packed="eager"),
    Stage("packed rows, own sdpa a document", False, False, False, False),
    Stage("+ head on supervised tokens, chunked", False, True, False, False),
    Stage("+ LoRA layer", True, True, False, False),
    Stage("+ attention as matrix products", True, True, True, False),
    Stage("+ freed memory kept"),
    Stage("+ norms, gates, rotary fused (lorafit)", fused="plain"),
    Stage("+ compiled (lorafit, long runs)", fused="compiled"),
    *([Stage(f"lorafit with dropout {ARGS.dropout}", fused="plain", dropout=True)] if ARGS.dropout else []),
]


NOTHING = {"fast": False, "head": False, "matmul": False, "keep": False, "packed": "single", "fused": ""}
ALL: dict[str, Any] = {**dict.fromkeys(NOTHING, True), "packed": "rows", "fused": "plain"}
TRICKS: dict[str, dict[str, Any]] = {
    "packed rows and attention as matrix products": {"packed": "rows", "matmul": True},
    "head on supervised tokens, chunked": {"head": True},
    "LoRA layer": {"fast": True},
    "freed memory kept": {"keep": True},
    "norms, gates, rotary fused": {"fused": "plain"},
}
# Each trick by itself, and all but that one.
EACH = [
    Stage("one example a row, nothing else", **NOTHING),
    *(Stage(f"{name}, alone", **{**NOTHING, **trick}) for name, trick in TRICKS.items()),
    *(Stage(f"all but {name}", **{**ALL, **{key: NOTHING[key] for key in trick}}) for name, trick in TRICKS.items()),
    Stage("all (lorafit)", **ALL),
]


def main() -> int:
    model = work.with_lora(work.random_model(ARGS.shape), dropout=ARGS.dropout)
    place_dropout(model, PLACE)
    operations = 4 * work.linear_parameters(model)
    rows = work.samples(ARGS.shared, work.vocabulary(ARGS.shape), work.BATCH * ARGS.rounds)
    roof = work.matrix_roof(ARGS.shape)
    known = EACH if ARGS.each else STAGES
    stages = [known[i] for i in ARGS.only] if ARGS.only else known
    rates: dict[str, list[float]] = {stage.name: [] for stage in stages}
    losses: dict[str, list[float]] = {stage.name: [] for stage in stages}
    for number in range(-1, ARGS.rounds):  # round -1 warms up
        chosen = rows[max(0, number) * work.BATCH : (max(0, number) + 1) * work.BATCH]
        tokens = sum(len(s) for s in chosen)
        for stage in stages:
            with stage.ready(model) as run:
                began = time.perf_counter()
                loss = run(chosen[:2] if number < 0 else chosen, 0)
                seconds = time.perf_counter() - began
            if number >= 0:
                rates[stage.name].append(tokens / seconds)
                losses[stage.name].append(loss)
    first = stages[0].name
    peak = memory_in_use(torch.device("cpu"))[1] / 2**30
    print(f"\n{ARGS.shape}, bfloat16, {ARGS.threads} threads, {ARGS.rounds} rounds of {work.BATCH} examples,", end=" ")
    print(f"dropout {ARGS.dropout}, best matrix product {roof / 1e9:.0f} GFLOP/s, peak of all {peak:.1f} GiB")
    print(f"{'':46}{'tokens/s':>9}{'(range)':>14}{'ratio':>7}{'MFU':>6}{'loss off':>10}")
    for stage in stages:
        found = rates[stage.name]
        median = statistics.median(found)
        off = max(abs(a - b) / a for a, b in zip(losses[first], losses[stage.name], strict=True))
        print(
            f"{stage.name:46}{median:9.0f}{f'{min(found):.0f}-{max(found):.0f}':>14}"
            f"{median / statistics.median(rates[first]):7.2f}{operations * median / roof:6.0%}{off:10.1e}"
        )
    print(json.dumps({"shape": ARGS.shape, "rates": rates}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
