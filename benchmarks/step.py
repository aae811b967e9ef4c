"""One update, trick by trick: useful tokens a second, side by side in one run, on the same examples.

    python benchmarks/step.py [--shape 135m|0.6b] [--rounds 3] [--threads 2] [--shared ../shared]

Rows are lengths and masks of real Alpaca conversations (`data/alpaca/alpaca_en_demo.json` with the GPT-2 tokenizer, cut
to 512 tokens), 16 examples an update; weights are random in the shape of SmolLM2-135M or Qwen3-0.6B, in bfloat16, LoRA
of rank 16 on every linear layer. The first two rows are plain transformers + PEFT with one example a pass, which
measured best of all ways to call them without compilation (no padding). Then lorafit's tricks, each on top of the ones
above it. Every round runs all stages in turn, on the same update; medians over the rounds. The loss of each stage is
compared with the first one's, and no gradient may be zero. `--dropout 0.1` adds a last
stage with it. MFU counts 4 floating-point operations a parameter of the
linear layers and head, and token, against the fastest bfloat16 matrix product of this run.
Without the shared folder, lengths of the same distribution (log-normal, median 164) are drawn.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SHAPES = {
    "135m": {
        "vocab_size": 49152, "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30,
        "num_attention_heads": 9, "num_key_value_heads": 3, "tie_word_embeddings": True,
    },
    "0.6b": {
        "vocab_size": 151936, "hidden_size": 1024, "intermediate_size": 3072, "num_hidden_layers": 28,
        "num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 128, "tie_word_embeddings": True,
    },
}  # fmt: skip
BATCH, LONGEST, RANK = 16, 512, 16


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--shape", choices=SHAPES, default="135m")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--tokens-per-pass", type=int, default=2048)
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--shared", type=Path, default=Path(__file__).parents[2] / "shared")
    parser.add_argument("--only", nargs="*", type=int, help="stages by number, from 0")
    return parser.parse_args()


ARGS = arguments()
os.environ["OMP_NUM_THREADS"] = str(ARGS.threads)

import numpy as np  # noqa: E402
import peft  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402

from lorafit.adapters.dropout import DropoutPlace, PlacedDropout, place_dropout  # noqa: E402
from lorafit.adapters.fast import make_fast, make_plain  # noqa: E402
from lorafit.data.pack import make_batch  # noqa: E402
from lorafit.data.prepare import prepare  # noqa: E402
from lorafit.data.template import Renderer, choose_template  # noqa: E402
from lorafit.hardware import free_memory_as_usual, keep_freed_memory, memory_in_use  # noqa: E402
from lorafit.model.forward import Forward, plain_head  # noqa: E402
from lorafit.ops import attention  # noqa: E402
from lorafit.records import Batch, Sample, Source  # noqa: E402
from lorafit.train.optim import MasterOptimizer  # noqa: E402
from lorafit.train.step import train_step  # noqa: E402

torch.set_num_threads(ARGS.threads)


def samples(vocabulary: int, count: int) -> list[Sample]:
    """Real lengths and masks where there are some; the ids fold into the shape's vocabulary."""
    data, tokenizer = ARGS.shared / "data/alpaca/alpaca_en_demo.json", ARGS.shared / "tokenizers/gpt2"
    if data.is_file() and tokenizer.is_dir():
        made = transformers.AutoTokenizer.from_pretrained(tokenizer)
        made.eos_token = made.eos_token or "<|endoftext|>"
        renderer = Renderer(made, choose_template(made, "alpaca"))
        part = prepare(renderer, str(data), 0.0, LONGEST, limit=count).training
        return [Sample(s.token_ids % vocabulary, s.trained, s.example, s.source) for s in part.samples]
    print("no shared folder: lengths are drawn, log-normal with a median of 164")
    draw, made_up = np.random.default_rng(0), []
    for number in range(count):
        length = int(np.clip(draw.lognormal(np.log(164), 0.65), 16, LONGEST))
        trained = np.arange(length) >= max(1, int(0.27 * length))
        made_up.append(Sample(draw.integers(0, vocabulary, length), trained, number, Source("drawn", number + 1)))
    return made_up


def matrix_roof() -> float:
    """The fastest bfloat16 matrix product of sizes as they occur here, in floating-point operations a second."""
    shape = SHAPES[ARGS.shape]
    inputs, outputs = shape["hidden_size"], shape["intermediate_size"]
    best = 0.0
    for tokens in (512, 1024, 2048):
        x, w = torch.randn(tokens, inputs).bfloat16(), torch.randn(outputs, inputs).bfloat16()
        for _ in range(40):
            began = time.perf_counter()
            torch.nn.functional.linear(x, w)
            best = max(best, 2 * tokens * inputs * outputs / (time.perf_counter() - began))
    return best


class Stage:
    """A way to compute one update: `prepare` puts the model in order, `run` gives the loss."""

    def __init__(
        self, name: str, fast: bool, head: bool, matmul: bool, keep: bool, packed: str = "rows", dropout: bool = False
    ) -> None:
        self.name, self.fast, self.head, self.matmul, self.keep, self.packed = name, fast, head, matmul, keep, packed
        self.dropout = dropout

    @contextmanager
    def ready(self, model: Any) -> Iterator[Callable[[list[Sample], int], float]]:
        (make_fast if self.fast else make_plain)(model)
        for module in model.modules():
            if isinstance(module, PlacedDropout):
                module.p = ARGS.dropout if self.dropout else 0.0
        attention.MATMUL_LENGTH = 1024 if self.matmul else 0
        (keep_freed_memory if self.keep else free_memory_as_usual)()
        plain = model.get_base_model()
        optimizer = MasterOptimizer(model.parameters(), "adamw", 0.0)
        scaler = torch.amp.GradScaler("cpu", enabled=False)
        forward = Forward(model, self.packed == "rows", plain_head(plain) if self.head else None)
        if self.packed != "rows":
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
                PLACE.lengths, PLACE.examples = (len(sample),), (sample.example,)
                ids = torch.from_numpy(sample.token_ids)[None]
                labels = torch.where(torch.from_numpy(sample.trained)[None], ids, -100)
                part = model(input_ids=ids, labels=labels, use_cache=False).loss * (sample.supervised_tokens / total)
                part.backward()
                loss += part.item()
            assert optimizer.gradient_norm(1.0) > 0
            optimizer.inner.step()
            return loss

        with forward.running():
            yield run if self.packed == "rows" else tutorial


PLACE = DropoutPlace()
STAGES = [
    Stage("transformers + PEFT, sdpa", False, False, False, False, packed="sdpa"),
    Stage("transformers + PEFT, eager, allocator tuned", False, False, False, True, packed="eager"),
    Stage("packed rows, own sdpa a document", False, False, False, False),
    Stage("+ head on supervised tokens, chunked", False, True, False, False),
    Stage("+ LoRA layer", True, True, False, False),
    Stage("+ attention as matrix products", True, True, True, False),
    Stage("+ freed memory kept (lorafit)", True, True, True, True),
    *([Stage(f"lorafit with dropout {ARGS.dropout}", True, True, True, True, dropout=True)] if ARGS.dropout else []),
]


def main() -> int:
    shape = SHAPES[ARGS.shape]
    family = transformers.Qwen3Config if ARGS.shape == "0.6b" else transformers.LlamaConfig
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(family(**shape), dtype=torch.bfloat16)
    model.requires_grad_(False)
    config = peft.LoraConfig(
        r=RANK, lora_alpha=2 * RANK, target_modules="all-linear", task_type="CAUSAL_LM", lora_dropout=ARGS.dropout
    )
    model = peft.get_peft_model(model, config).train()
    place_dropout(model, PLACE)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.02)
    linear = sum(m.weight.numel() for m in model.modules() if type(m) is torch.nn.Linear and not m.weight.requires_grad)
    rows = samples(shape["vocab_size"], BATCH * ARGS.rounds)
    roof = matrix_roof()
    stages = [STAGES[i] for i in ARGS.only] if ARGS.only else STAGES
    rates: dict[str, list[float]] = {stage.name: [] for stage in stages}
    losses: dict[str, list[float]] = {stage.name: [] for stage in stages}
    for number in range(-1, ARGS.rounds):  # round -1 warms up
        chosen = rows[max(0, number) * BATCH : (max(0, number) + 1) * BATCH]
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
    print(f"\n{ARGS.shape}, bfloat16, {ARGS.threads} threads, {ARGS.rounds} rounds of {BATCH} examples,", end=" ")
    print(f"dropout {ARGS.dropout}, best matrix product {roof / 1e9:.0f} GFLOP/s, peak of all {peak:.1f} GiB")
    print(f"{'':46}{'tokens/s':>9}{'(range)':>14}{'ratio':>7}{'MFU':>6}{'loss off':>10}")
    for stage in stages:
        found = rates[stage.name]
        median = statistics.median(found)
        off = max(abs(a - b) / a for a, b in zip(losses[first], losses[stage.name], strict=True))
        print(
            f"{stage.name:46}{median:9.0f}{f'{min(found):.0f}-{max(found):.0f}':>14}"
            f"{median / statistics.median(rates[first]):7.2f}{4 * linear * median / roof:6.0%}{off:10.1e}"
        )
    print(json.dumps({"shape": ARGS.shape, "rates": rates}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
