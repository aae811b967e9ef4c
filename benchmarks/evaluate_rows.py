"""Time and memory of `lorafit evaluate` on very many rows: they must not grow into the memory.

    python benchmarks/evaluate_rows.py [--rows 1000000] [--threads 2]

A tiny random model (one layer), the built-in tokenizer, rows of a short question and answer, answers of two tokens, the
metrics that the command chooses by itself. Each part in a process of its own: a tenth of the rows, then all of them.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PARSER = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
PARSER.add_argument("--rows", type=int, default=1_000_000)
PARSER.add_argument("--threads", type=int, default=os.cpu_count())
PARSER.add_argument("--folder", type=Path, help=argparse.SUPPRESS)


def make_model(folder: Path) -> None:
    import torch
    import transformers

    from lorafit import builtin

    tokenizer = transformers.AutoTokenizer.from_pretrained(builtin.MODEL)
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1, tie_word_embeddings=True, eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    torch.manual_seed(0)
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def make_rows(path: Path, rows: int) -> None:
    with path.open("w", encoding="utf-8") as file:
        for number in range(rows):
            row = {"prompt": f"Where does number {number} live?", "answer": f"In house {number % 977}."}
            file.write(json.dumps(row) + "\n")


def measure(folder: Path, rows: int) -> None:
    """In a process of its own, for its peak is asked for."""
    from lorafit.assess.conduct import evaluate
    from lorafit.assess.subject import subject_of
    from lorafit.assess.wanted import Wanted
    from lorafit.observe.console import Console

    os.chdir(folder)
    make_rows(Path("rows.jsonl"), rows)
    subject = subject_of("model", None, None, "human-assistant", "none", False, Console(quiet=True))
    began = time.perf_counter()
    evaluate(
        subject, Wanted(data=["rows.jsonl"], max_new_tokens=2, forgetting="none"), Console(quiet=True), restart=True
    )
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    print(f"{rows:>9,} rows  {seconds:7.0f} s  {rows / seconds:7,.0f} rows/s  peak {peak:6,.0f} MiB", flush=True)


def main() -> None:
    args = PARSER.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(args.threads)
    if args.folder:
        measure(args.folder, args.rows)
        return
    with tempfile.TemporaryDirectory() as folder:
        make_model(Path(folder) / "model")
        for rows in (args.rows // 10, args.rows):
            subprocess.run([sys.executable, __file__, "--rows", str(rows), "--folder", folder], check=True)


if __name__ == "__main__":
    main()
