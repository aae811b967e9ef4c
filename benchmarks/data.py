"""How fast data is prepared, and in how much memory: lorafit beside TRL's SFTTrainer, on the same rows.

    python benchmarks/data.py [--alpaca 52000] [--short 1000000] [--only lorafit ...] [--trl-rows 20000]

Rows: Alpaca-like (those of the shared folder, made different from one another by a number in the question; drawn where
there is none), and short ones (a question and an answer of a few words). Each worker is a process of its own: it reads
the file, renders it with the tokenizer's chat template, tokenises it with the mask of the answers, and packs it.
lorafit does so as it comes, its counting rules of cleaning included. TRL is given the rows as prompt and completion and
does it as it comes (one process) and with a process a processor; of very many rows it is given the first `--trl-rows`.

Columns: rows a second of reading, tokenising and packing (which samples share a row); for lorafit also how long its
second run takes to begin, and the making of an epoch's rows with their shared beginnings, which happens during training
as TRL's collator works then (measured on some updates, not counted); and the peak of the resident memory of the process
and those below it together (pages that they share count several times).
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

WORKERS = Path(__file__).parent / "peer_workers"
PEERS: dict[str, tuple[str, str, int | None]] = {
    "lorafit": ("lorafit", "lorafit_data_worker", None),
    "lorafit-one": ("lorafit, one process", "lorafit_data_worker", 0),
    "trl": ("TRL, as it comes", "trl_data_worker", None),
    "trl-all": ("TRL, a process a processor", "trl_data_worker", os.cpu_count()),
}
WORDS = "harbour boat morning light street willow north river bread question answer number paper window".split()  # noqa: SIM905


def alpaca_rows(shared: Path, count: int) -> Iterator[dict[str, str]]:
    files = [shared / "data/alpaca" / name for name in ("alpaca_4500.json", "alpaca_en_demo.json")]
    if all(file.is_file() for file in files):
        real = [row for file in files for row in json.loads(file.read_text()) if row["output"].strip()]
    else:
        print("no shared folder: Alpaca-like rows are drawn")
        draw = random.Random(1)
        real = [
            {"instruction": words(draw, 5, 25), "input": words(draw, 0, 12), "output": words(draw, 8, 90)}
            for _ in range(4500)
        ]
    for number, row in enumerate(itertools.islice(itertools.cycle(real), count)):
        added = f" ({number})" if number >= len(real) else ""
        yield {"instruction": row["instruction"] + added, "input": row["input"], "output": row["output"]}


def short_rows(count: int) -> Iterator[dict[str, str]]:
    draw = random.Random(0)
    for number in range(count):
        yield {"instruction": f"{words(draw, 3, 8)} {number}?", "input": "", "output": words(draw, 2, 10)}


def words(draw: random.Random, fewest: int, most: int) -> str:
    return " ".join(draw.choices(WORDS, k=draw.randint(fewest, most)))


def write(rows: Iterator[dict[str, str]], folder: Path, name: str) -> tuple[Path, Path]:
    """The rows as Alpaca and as prompt and completion: the same turns."""
    alpaca, turns = folder / f"{name}.jsonl", folder / f"{name}-turns.jsonl"
    with alpaca.open("w") as one, turns.open("w") as other:
        for row in rows:
            one.write(json.dumps(row) + "\n")
            asked = row["instruction"] + ("\n" + row["input"] if row["input"] else "")
            prompt, answer = [{"role": "user", "content": asked}], [{"role": "assistant", "content": row["output"]}]
            other.write(json.dumps({"prompt": prompt, "completion": answer}) + "\n")
    return alpaca, turns


def first_rows(file: Path, count: int) -> Path:
    short = file.with_name(f"{file.stem}-{count}.jsonl")
    with file.open() as source, short.open("w") as target:
        target.writelines(itertools.islice(source, count))
    return short


def run(python: Path, worker: str, job: dict[str, Any], folder: Path, limit: float) -> dict[str, Any] | None:
    """The worker's report and the peak memory of its processes; None when it failed or took too long."""
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        report = Path(scratch) / "report.json"
        file = Path(scratch) / "job.json"
        file.write_text(json.dumps({**job, "scratch": scratch, "report": str(report)}))
        began, peak = time.monotonic(), 0
        with (folder / "log").open("w") as log:
            process = psutil.Popen([str(python), str(WORKERS / f"{worker}.py"), str(file)], stdout=log, stderr=log)
            while process.poll() is None and not (worker == "trl_data_worker" and report.exists()):
                peak = max(peak, resident(process))
                if time.monotonic() - began > limit:
                    break
                time.sleep(0.1)
            if process.poll() is None:
                for one in [*process.children(recursive=True), process]:
                    one.kill()
                process.wait()
        if not report.exists():
            print((folder / "log").read_text()[-2000:], file=sys.stderr)
            return None
        return {**json.loads(report.read_text()), "peak": peak}


def resident(process: psutil.Process) -> int:
    total = 0
    try:
        for one in [process, *process.children(recursive=True)]:
            total += one.memory_info().rss
    except psutil.NoSuchProcess:
        pass
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--alpaca", type=int, default=52_000)
    parser.add_argument("--short", type=int, default=1_000_000)
    parser.add_argument("--trl-rows", type=int, default=20_000, help="rows that TRL is given at most")
    parser.add_argument("--only", nargs="+", choices=PEERS, default=list(PEERS))
    parser.add_argument("--max-length", type=int, default=512)
    parser.add_argument("--limit", type=float, default=1200, help="seconds after which a worker is given up")
    parser.add_argument("--shared", type=Path, default=Path(__file__).parents[2] / "shared")
    parser.add_argument("--tokenizer", type=Path, help="a folder (the shared folder's Qwen tokenizer)")
    parser.add_argument("--environments", type=Path, default=Path(__file__).parents[1] / ".peers")
    args = parser.parse_args()
    tokenizer = args.tokenizer or args.shared / "tokenizers/qwen"
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for name, count in (("alpaca", args.alpaca), ("short", args.short)):
            if not count:
                continue
            alpaca, turns = write(
                alpaca_rows(args.shared, count) if name == "alpaca" else short_rows(count), folder, name
            )
            print(f"\n{count:,} {name} rows, at most {args.max_length} tokens")
            rates: dict[str, float] = {}
            for peer in args.only:
                title, worker, processes = PEERS[peer]
                ours = peer.startswith("lorafit")
                rows = count if ours else min(count, args.trl_rows)
                file = alpaca if ours else (turns if rows == count else first_rows(turns, rows))
                python = Path(sys.executable) if ours else args.environments / "trl/bin/python"
                job = {"file": str(file), "tokenizer": str(tokenizer), "processes": processes, "batch": 16}
                job |= {"max_length": args.max_length, "updates": 500}
                found = run(python, worker, job, folder, args.limit)
                if found is None:
                    print(f"{title:<28} failed")
                    continue
                seconds = found["seconds"]
                with_pack = seconds["tokenise"] + seconds.get("pack", 0.0)
                rates[peer] = rows / with_pack
                again = f", again in {seconds['again']:.2f} s, rows {seconds['rows']:.1f} s" if ours else ""
                print(
                    f"{title:<28} {rows:>9,} rows, {found['tokens']:>12,} tokens in {with_pack:7.1f} s: "
                    f"{rates[peer]:8,.0f} rows/s, peak {found['peak'] / 2**20:6,.0f} MiB{again}",
                    flush=True,
                )
            theirs = [rate for peer, rate in rates.items() if peer.startswith("trl")]
            if theirs and "lorafit" in rates:
                print(f"lorafit is {rates['lorafit'] / max(theirs):.1f} times as fast as the faster TRL")


if __name__ == "__main__":
    main()
