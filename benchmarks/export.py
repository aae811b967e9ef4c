"""How much memory does a merge need?

    python benchmarks/export.py [--layers 24] [--shard 50MB]

Writes a Llama-shaped model with random bfloat16 weights in shards and a rank-16 adapter on all its layers, then merges
it in a fresh process each: tensor by tensor, and whole (PEFT's merge in float32). Prints by how much the peak of
resident memory (VmHWM) grew over what imports and adapter had taken, beside the bytes of the weights. Linux.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MIB = 2**20
WAYS = ("tensor by tensor", "whole")


def peak_bytes() -> int:
    """Of this process; getrusage would count what its parent had before it began."""
    (line,) = (one for one in Path("/proc/self/status").read_text().splitlines() if one.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def merge(base: Path, way: str, shard_bytes: int) -> None:
    import bitsandbytes  # noqa: F401  its import is not what is measured
    import peft  # noqa: F401
    import torch
    from transformers import AutoModelForCausalLM  # noqa: F401

    from lorafit.export.fold import read_adapter
    from lorafit.export.merge import Shards, Trained, write_merged
    from lorafit.export.whole import write_whole

    trained = Trained(base, torch.bfloat16, read_adapter(base / "adapter"))
    Shards(trained)  # imports the model's code
    before, began = peak_bytes(), time.perf_counter()
    with tempfile.TemporaryDirectory(dir=base) as folder:
        if way == "whole":
            write_whole(trained, Path(folder), torch.bfloat16, shard_bytes)
        else:
            write_merged(Shards(trained), Path(folder), torch.bfloat16, shard_bytes)
    grown, seconds = (peak_bytes() - before) / MIB, time.perf_counter() - began
    print(f"{way:>16}: peak {grown:.0f} MiB above imports and adapter, {seconds:.1f} s", flush=True)


def make(folder: Path, layers: int, shard_bytes: int) -> int:
    """A base and its adapter; returns the bytes of the base."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, LlamaConfig

    config = LlamaConfig(
        vocab_size=8192, hidden_size=1024, intermediate_size=2816, num_hidden_layers=layers, num_attention_heads=16
    )
    model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model.save_pretrained(folder, max_shard_size=shard_bytes)
    settings = LoraConfig(task_type="CAUSAL_LM", r=16, target_modules="all-linear", init_lora_weights=False)
    get_peft_model(model, settings).save_pretrained(folder / "adapter")
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))


def main() -> None:
    from lorafit.export.weights import size_in_bytes

    parser = argparse.ArgumentParser(description="peak memory of merging, by tensor and whole")
    parser.add_argument("--layers", type=int, default=24)
    parser.add_argument("--way", choices=WAYS)
    parser.add_argument("--shard", type=size_in_bytes, default="50MB")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        merge(Path(args.one[0]), args.one[1], args.shard)
        return
    with tempfile.TemporaryDirectory() as folder:
        size = make(Path(folder), args.layers, args.shard)
        print(
            f"{args.layers} layers, {size / MIB:.0f} MiB in bfloat16, shards of {args.shard / MIB:.0f} MiB", flush=True
        )
        for way in [args.way] if args.way else WAYS:
            words = [sys.executable, __file__, "--one", folder, way, "--shard", str(args.shard)]
            subprocess.run(words, check=True)


if __name__ == "__main__":
    main()
