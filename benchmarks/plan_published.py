"""The plan's simulator against memory that others published of real GPUs, tracing the code that those runs used.

    python benchmarks/plan_published.py [--reserved]

For each run: the meter, the published and the simulated figure in GB (10^9 bytes) and the error; for each group its
source, what had to be assumed, and the mean and worst error. `--reserved` prints what the allocator would reserve, by
default and with expandable segments, beside nvidia-smi where that is published. Runs that cannot be traced honestly are
listed at the end, with the reason. Needs no GPU; one thread, about a minute. docs/planning.md has the table.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from plan_harness import Both, Run, lit_gpt_of_2023, peft_benchmark, qwen_of_2023, simulate, trainer_of_2025

from lorafit.plan.allocator import CachingAllocator
from lorafit.plan.devices import CUDA_CONTEXT

GB, GIB, MIB = 1e9, 2**30, 2**20
Meter = Literal["allocated", "reserved"]


@dataclass(frozen=True, slots=True)
class Published:
    """A run and its figure. figure: bytes, or GB as printed. smi: MiB that nvidia-smi showed, 0 where not given."""

    name: str
    run: Run
    figure: float
    smi: int = 0


@dataclass(frozen=True, slots=True)
class Group:
    """Runs of one source. card: GiB that it shows as its memory."""

    title: str
    meter: Meter
    card: float
    source: str
    assumed: str
    rows: tuple[Published, ...]


@dataclass(frozen=True, slots=True)
class Simulated:
    """Bytes: the peak allocated, and the peak reserved in two ways of allocating within the card's memory."""

    allocated: int
    default: CachingAllocator
    expandable: CachingAllocator

    def on(self, meter: Meter) -> int:
        return self.allocated if meter == "allocated" else self.default.peak_reserved


ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
FEED_FORWARD = ("gate_proj", "up_proj", "down_proj")


def _fms(model: str, kind: Literal["full", "LoRA", "QLoRA"], batch: int) -> Run:
    # 4,096 tokens are within Mistral's window, so that there is no mask.
    changes = (("sliding_window", None),) if "istral" in model else ()
    if kind == "full":
        return Run(model, batch, 4096, trainer_of_2025, changes=changes)
    nf4 = kind == "QLoRA"
    return Run(model, batch, 4096, trainer_of_2025, 16, ATTENTION, 0.1, nf4=nf4, changes=changes)


def _lit(model: str, batch: int, tokens: int) -> Run:
    # The longest example is put into the first step; AdamW has no state yet.
    return Run(model, batch, tokens, lit_gpt_of_2023, rank=8, dropout=0.05, checkpointing=False, clip=False, steps=1)


def _qwen(tokens: int) -> Run:
    changes = (("vocab_size", 151_936), ("max_position_embeddings", 8192))
    return Run("huggyllama/llama-7b", 1, tokens, qwen_of_2023, 64, ATTENTION + FEED_FORWARD, 0.05, changes=changes)


def _peft(rank: int) -> Run:
    targets = ("q_proj", "v_proj") if rank else ()
    return Run(
        "meta-llama/Llama-3.2-3B", 4, 648, peft_benchmark, rank=rank, targets=targets, checkpointing=False, cache=True
    )


MISTRAL, LLAMA_70B = "mistralai/Mistral-7B-v0.1", "meta-llama/Llama-2-70b-hf"

FMS = Group(
    "fms-acceleration, one A100 80 GB",
    "allocated",
    80,
    "foundation-model-stack/fms-acceleration, scripts/benchmarks/refs/a100_80gb.csv (torch 2.4.1, transformers 4.48.1, "
    "peft 0.13.2, bitsandbytes 0.43.3, FlashAttention 2, bfloat16)",
    "Rows packed to 4,096 tokens and checkpointing (here without reentrance), the benchmark's defaults; the loss of "
    "transformers 4.48; QLoRA without its autocast. LoRA: rank 16 on the attention's projections, dropout 0.1.",
    (
        Published("Mistral-7B full, batch 4", _fms(MISTRAL, "full", 4), 72_434_837_504, 77_256),
        Published("Mistral-7B full, batch 8", _fms(MISTRAL, "full", 8), 72_435_230_720, 72_988),
        Published("Mistral-7B LoRA, batch 4", _fms(MISTRAL, "LoRA", 4), 26_704_571_904, 29_576),
        Published("Mistral-7B LoRA, batch 8", _fms(MISTRAL, "LoRA", 8), 38_742_912_512, 43_232),
        Published("Mistral-7B QLoRA, batch 4", _fms(MISTRAL, "QLoRA", 4), 16_373_838_336, 19_912),
        Published("Mistral-7B QLoRA, batch 8", _fms(MISTRAL, "QLoRA", 8), 28_412_178_944, 34_016),
        Published("Llama-2-70B QLoRA, batch 4", _fms(LLAMA_70B, "QLoRA", 4), 68_126_381_056, 72_950),
    ),
)
LIT_SOURCE = "Lightning-AI/litgpt, tutorials/resource-tables.md (20 October 2023, torch 2.1, bfloat16)"
LITGPT = Group(
    "LitGPT, LoRA, A100 40 GB",
    "allocated",
    40,
    LIT_SOURCE,
    "Its model and loop rebuilt in plan_harness.py; the longest example of Alpaca (published) in the first step; rank "
    "8 on query and value, dropout 0.05, nothing recomputed. RMSNorm in 16 bits.",
    (
        Published("phi-1.5, batch 1", _lit("LitGPT phi-1.5", 1, 1044), 4.82 * GB),
        Published("phi-1.5, batch 2", _lit("LitGPT phi-1.5", 2, 1044), 6.76 * GB),
        Published("phi-1.5, batch 4", _lit("LitGPT phi-1.5", 4, 1044), 10.68 * GB),
        Published("StableLM-3B, batch 1", _lit("LitGPT StableLM-3B", 1, 1034), 9.69 * GB),
        Published("StableLM-3B, batch 2", _lit("LitGPT StableLM-3B", 2, 1034), 12.10 * GB),
        Published("StableLM-3B, batch 4", _lit("LitGPT StableLM-3B", 4, 1034), 16.92 * GB),
        Published("Llama-2-7B, batch 1", _lit("LitGPT Llama-2-7B", 1, 1304), 21.30 * GB),
        Published("Llama-2-7B, batch 2", _lit("LitGPT Llama-2-7B", 2, 1304), 29.07 * GB),
        Published("Llama-2-13B, batch 1", _lit("LitGPT Llama-2-13B", 1, 1304), 38.12 * GB),
    ),
)
LITGPT_WIDE = Group(
    "LitGPT's Llama runs again, RMSNorm in float32",
    "allocated",
    40,
    LIT_SOURCE,
    "Both forms of the norm are in the history of lit_gpt/rmsnorm.py; which of them ran is not published. The group "
    "above has the one that agrees less.",
    (
        Published("Llama-2-7B, batch 1", _lit("LitGPT Llama-2-7B, wide norm", 1, 1304), 21.30 * GB),
        Published("Llama-2-7B, batch 2", _lit("LitGPT Llama-2-7B, wide norm", 2, 1304), 29.07 * GB),
        Published("Llama-2-13B, batch 1", _lit("LitGPT Llama-2-13B, wide norm", 1, 1304), 38.12 * GB),
    ),
)
QWEN = Group(
    "Qwen-7B, LoRA, A100 80 GB: orientation only",
    "reserved",
    80,
    "QwenLM/Qwen, README.md, memory and speed by length (torch 2.0, FlashAttention 2, batch 1)",
    "The meter is not stated: taken for reserved. Llama's layers of the same size stand for Qwen's own code, a split "
    "projection for its joint one; rank 64 on every layer, dropout 0.05, checkpointing, no autocast.",
    tuple(
        Published(f"Qwen-7B, {tokens} tokens", _qwen(tokens), figure * GB)
        for tokens, figure in ((256, 20.1), (512, 20.4), (1024, 21.5), (2048, 23.8), (4096, 29.7), (8192, 36.6))
    ),
)
PEFT = Group(
    "PEFT's method comparison, Llama-3.2-3B, L40S: not a test",
    "reserved",
    45,
    "huggingface/peft, method_comparison/MetaMathQA/results (torch 2.13, transformers 5.13.1, bfloat16, batch 4)",
    "The longest batch is not published. 648 tokens were once chosen to suit these and eight more of its rows, so that "
    "only the difference between the two says something. Key-value cache and outputs are kept, as their loop does.",
    (
        Published("LoRA rank 32 on query and value", _peft(32), 22.29 * GB),
        Published("full fine-tuning", _peft(0), 38.87 * GB),
    ),
)
GROUPS = (FMS, LITGPT, LITGPT_WIDE, QWEN, PEFT)

NOT_COMPARABLE = (
    ("LitGPT, 8 NF4 runs", "bitsandbytes 0.41.1 kept the input of every 4-bit layer, the installed one does not"),
    ("LitGPT, Adapter runs", "a method that lorafit does not have"),
    ("Qwen 1.8B, 14B; Q-LoRA and LoRA (emb)", "models in their own code, of other sizes; GPTQ weights"),
    ("torchtune, Llama-3.1-8B, 3 runs", "torch.compile plans memory anew; torchao's NF4 layers are not bitsandbytes'"),
    ("LLaMA-Factory's table", "labelled as estimated, without batch or length: not measurements"),
    ("QLoRA paper, 33B and 65B", "headlines about cards, no measured figure found"),
)


def simulated(row: Published, card: float) -> Simulated:
    """The whole depth, with both ways of allocating on a card of so many GiB, less what the context takes."""
    cap = int(card * GIB) - CUDA_CONTEXT
    default, expandable = CachingAllocator(cap), CachingAllocator(cap, expandable=True)
    trace = simulate(row.run, allocator=Both(default, expandable))
    return Simulated(trace.peak.bytes, default, expandable)


def error(simulated: float, published: float) -> float:
    """In percent of the published figure."""
    return 100 * (simulated / published - 1)


def table(group: Group, reserved: bool) -> Iterator[str]:
    yield f"\n{group.title}\n  source: {group.source}\n  assumed: {group.assumed}"
    yield f"  {'run':34}{'meter':>10}{'published':>11}{'simulated':>11}{'error':>9}"
    errors, allocations = [], []
    for row in group.rows:
        result = simulated(row, group.card)
        found = result.on(group.meter)
        errors.append(error(found, row.figure))
        yield f"  {row.name:34}{group.meter:>10}{row.figure / GB:11.3f}{found / GB:11.3f}{errors[-1]:+8.2f}%"
        allocations.append((row, result))
    mean = sum(map(abs, errors)) / len(errors)
    yield f"  mean of the errors' size {mean:.2f} %, worst {max(errors, key=abs):+.2f} %"
    if reserved:
        yield f"\n  {'reserved, GB':34}{'nvidia-smi':>12}{'default':>10}{'retries':>9}{'expandable':>12}{'retries':>9}"
        for row, result in allocations:
            smi = f"{row.smi * MIB / GB:.2f}" if row.smi else "-"
            yield f"  {row.name:34}{smi:>12}{_allocated(result.default)}{_allocated(result.expandable, 12)}"


def _allocated(allocator: CachingAllocator, width: int = 10) -> str:
    retries = "no room" if allocator.failure else str(allocator.retries)
    return f"{allocator.peak_reserved / GB:{width}.2f}{retries:>9}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--reserved", action="store_true", help="what the allocator reserves, beside nvidia-smi")
    args = parser.parse_args()
    warnings.filterwarnings("ignore", category=FutureWarning)
    torch.set_num_threads(1)
    import bitsandbytes
    import peft
    import transformers

    print(
        f"traced: torch {torch.__version__}, transformers {transformers.__version__}, peft {peft.__version__}, "
        f"bitsandbytes {bitsandbytes.__version__}; GB are 10^9 bytes"
    )
    if args.reserved:
        print(f"nvidia-smi also counts the context, for which {CUDA_CONTEXT / GB} GB are left free on the card")
    for group in GROUPS:
        for line in table(group, args.reserved):
            print(line, flush=True)
    print("\nnot comparable, and so not simulated")
    for what, why in NOT_COMPARABLE:
        print(f"  {what}: {why}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
