"""Does the 16-bit model ever stand whole in memory while a quantised base is loaded?

    python benchmarks/load.py [--layers 12]

Writes a Llama-shaped model with random bfloat16 weights in shards, then loads it in a fresh process each as bfloat16,
NF4 with double quantisation and 8-bit, and prints the peak of anonymous memory that loading added, beside the bytes of
the weights. Sampled every few milliseconds from /proc/self/smaps_rollup: pages of the mapped file, which the system
takes back when it needs them, do not count. Linux.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

MIB = 2**20


def anonymous_bytes() -> int:
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
        if line.startswith("Anonymous:"):
            return int(line.split()[1]) * 1024
    raise SystemExit("this system does not say how much memory is anonymous")


def load(folder: Path, quantization: str) -> None:
    import bitsandbytes  # noqa: F401  its import is not what is measured
    import torch
    import transformers  # noqa: F401

    from lorafit.hardware import Hardware
    from lorafit.model.load import load_base

    cpu = Hardware(torch.device("cpu"), torch.bfloat16, "a benchmark")
    before = anonymous_bytes()
    peak, done = before, threading.Event()

    def sample() -> None:
        nonlocal peak
        while not done.wait(0.003):
            peak = max(peak, anonymous_bytes())

    thread = threading.Thread(target=sample)
    thread.start()
    base = load_base(folder, cpu, quantization)  # type: ignore[arg-type]
    done.set()
    thread.join()
    after = anonymous_bytes()
    count = sum(p.numel() * p.element_size() for p in base.model.parameters())
    print(f"{quantization:8}{count / MIB:12.0f}{(after - before) / MIB:12.0f}{(peak - before) / MIB:12.0f}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--load", nargs=2, metavar=("FOLDER", "QUANTIZATION"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.load:
        load(Path(args.load[0]), args.load[1])
        return 0

    import torch
    import transformers

    config = transformers.LlamaConfig(
        vocab_size=8192, hidden_size=1024, intermediate_size=4096, num_hidden_layers=args.layers, num_attention_heads=16
    )
    with tempfile.TemporaryDirectory() as folder:
        transformers.LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder, max_shard_size="100MB")
        shards = len(list(Path(folder).glob("*.safetensors")))
        print(f"{shards} shards of at most 100 MB, bfloat16; MiB")
        print(f"{'base':8}{'weights':>12}{'kept':>12}{'peak':>12}", flush=True)
        for quantization in ("none", "nf4", "int8"):
            subprocess.run([sys.executable, __file__, "--load", folder, quantization], check=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
