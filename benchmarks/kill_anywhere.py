"""A real training process killed anywhere, resumed each time, and its end compared with that of a run never stopped.

    python benchmarks/kill_anywhere.py [--kills 50] [--seed 0] [--output FOLDER]

LoRA with dropout on the built-in model, float32, packed and shuffled rows, a checkpoint every second update. SIGKILL
comes at a random moment of the process, its start included; every second one is kept for the next time that it writes
a checkpoint, and comes at a random moment of that. A run that gets to its end is compared and the next begins, until
there were as many kills as asked. Exit code 1 when anything differs: adapter, optimizer and masters, metrics.

The processes are forked from one that has imported everything and computed nothing.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

from lorafit import Recipe, pipeline, resuming, training
from lorafit.train import checkpoint, updates

FORK = multiprocessing.get_context("fork")
CLOCK = {"tokens_per_second", "data_seconds", "memory_bytes", "peak_memory_bytes", "elapsed_seconds"}
WRITING = b"writing a checkpoint"
# Where a process can be when it dies: a function, and what it does.
PHASES = [
    (pipeline, "load_base", b"loading"),
    (updates, "train_step", b"an update"),
    (training, "mean_loss", b"measuring held-out loss"),
    (training, "save_trained", b"saving the best"),
    (training, "write_checkpoint", WRITING),
    (checkpoint, "remove", b"removing an old checkpoint"),
    (pipeline, "tuned_answers", b"answering prompts"),
]


def recipe(output: Path, name: str) -> Recipe:
    return Recipe.model_validate(
        {
            "name": name,
            "output": str(output),
            "model": {"name": "builtin", "device": "cpu", "dtype": "float32"},
            "data": {"train": "builtin", "limit": 96, "held_out": 0.1},
            "adapter": {"rank": 4, "alpha": 8, "dropout": 0.1},
            "train": {
                "batch_size": 4,
                "epochs": 1.5,
                "learning_rate": 2e-3,
                "tokens_per_pass": 256,
                "recompute": "none",
                "validate_every": 3,
                "checkpoint_every": 2,
                "self_check": False,
            },
            "evaluate": {"prompts": 1, "max_new_tokens": 4},
            "observe": {"console": False},
        }
    )


def live(folder: Path, phase: Any) -> None:
    """One process: begins the run, or goes on with it."""
    for module, name, text in PHASES:
        setattr(module, name, told(getattr(module, name), text, phase))
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(1, 2)
    if (folder / "recipe.yaml").exists():
        resuming.resume(folder)
    else:
        shutil.rmtree(folder, ignore_errors=True)
        pipeline.finetune(recipe(folder.parent, folder.name))


def told(function: Callable[..., Any], text: bytes, phase: Any) -> Callable[..., Any]:
    def telling(*args: Any, **kwargs: Any) -> Any:
        before, phase.value = phase.value, text
        try:
            return function(*args, **kwargs)
        finally:
            phase.value = before

    return telling


def life(folder: Path, delay: float | None, while_writing: float | None) -> tuple[str, float] | None:
    """Run a process and kill it: after `delay` seconds, or `while_writing` seconds into the next checkpoint after that.

    Returns (phase, seconds lived), or None when it came to its end.
    """
    phase = FORK.Array("c", 64)
    phase.value = b"starting"
    process = FORK.Process(target=live, args=(folder, phase))
    began = time.monotonic()
    process.start()
    process.join(delay)
    if while_writing is not None:
        while process.is_alive() and phase.value != WRITING:
            time.sleep(0.0005)
        process.join(while_writing)
    found, lived = phase.value.decode(), time.monotonic() - began
    if process.is_alive():
        os.kill(process.pid or 0, signal.SIGKILL)
    process.join()
    if process.exitcode == 0:
        return None
    if process.exitcode != -signal.SIGKILL:
        raise SystemExit(f"the process failed by itself with {process.exitcode}: see {folder}/status.json")
    return found, lived


def metrics(folder: Path) -> list[dict[str, Any]]:
    path = folder / "metrics.jsonl"
    found = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            found.append({name: value for name, value in json.loads(line).items() if name not in CLOCK})
        except ValueError:  # half a line: the kill came within it
            pass
    return found


def last_update(folder: Path) -> int:
    return max((line["update"] for line in metrics(folder)), default=0)


def difference(one: Path, other: Path) -> tuple[float, float]:
    """Largest absolute difference of the losses, and of adapter, masters and optimizer; infinite for other keys."""
    ours, theirs = metrics(one), metrics(other)
    if [line.keys() for line in ours] != [line.keys() for line in theirs]:
        return float("inf"), float("inf")
    losses = max(abs(a[name] - b[name]) for a, b in zip(ours, theirs, strict=True) for name in a)
    found, wanted = tensors(one), tensors(other)
    if found.keys() != wanted.keys():
        return losses, float("inf")
    return losses, max(float((found[name].double() - wanted[name].double()).abs().max()) for name in found)


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    newest, skipped = checkpoint.newest_whole(folder / "checkpoints")
    assert newest is not None and not skipped, skipped
    return {
        **load_file(folder / "adapter" / "adapter_model.safetensors"),
        **dict(checkpoint.read_state(newest).tensors),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    draw = random.Random(args.seed)
    output = args.output or Path(tempfile.mkdtemp(prefix="kill-"))
    whole = output / "whole"
    began = time.monotonic()
    life(whole, None, None)
    seconds = time.monotonic() - began
    print(f"never stopped: {last_update(whole)} updates in {seconds:.1f} s, in {output}")
    print("kill  run  after s  phase                       reached  resumed at  lost")
    kills = run = 0
    worst = 0.0
    while kills < args.kills:
        run += 1
        folder = output / f"run-{run}"
        while True:
            ending = kills >= args.kills
            # The pause within a checkpoint: some tens of ms are all that writing one takes.
            aimed = draw.uniform(0, 0.06) if kills % 2 else None
            delay = None if ending else draw.uniform(0, seconds * (0.2 if aimed else 0.8))
            died = life(folder, delay, None if ending else aimed)
            if died is None:
                break
            kills += 1
            newest, skipped = checkpoint.newest_whole(folder / "checkpoints")
            at, reached = int(newest.name) if newest else 0, last_update(folder)
            print(
                f"{kills:4}  {run:3}  {died[1]:7.2f}  {died[0]:26}  {reached:7}  {at:10}  {max(0, reached - at):4}"
                + "".join(f"  {path.name} is not whole: {fault}" for path, fault in skipped.items()),
                flush=True,
            )
        losses, weights = difference(folder, whole)
        worst = max(worst, losses, weights)
        print(f"run {run} at its end: difference of losses {losses:g}, of adapter, masters and optimizer {weights:g}")
    print(f"{kills} kills in {run} runs; largest difference at the end: {worst:g}")
    return int(worst != 0)


if __name__ == "__main__":
    sys.exit(main())
