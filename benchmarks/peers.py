"""lorafit beside its peers: each in a process and a virtual environment of its own, on the same work, in alternation.

    python benchmarks/peers.py [--shape 135m|0.6b|tiny] [--only NAME ...] [--rounds 1] [--updates 3] [--with-compile]

Work: real Alpaca conversations (lengths and masks; drawn alike without the shared folder) of at most 512 tokens, given
to every peer as the same tokens and labels, 16 examples an update, loss on answers only; random weights in the shape of
SmolLM2-135M or Qwen3-0.6B, saved once; LoRA of rank 16, alpha 32, no dropout, on every linear layer; bfloat16 on the
CPU. A round runs every peer's process once, each odd round in reverse. A process does one update to warm up and then
`--updates` timed ones: an update lasts from the end of the one before it to its own. Tokens are counted here, without
padding, from the documents that the peer really used. A packing peer takes about 16 examples an update, not exactly.

Columns: useful tokens a second (median and range of all timed updates), how many times faster lorafit is, the share of
the matrix-product roof (4 operations a linear or head parameter, and token), the peak of resident memory (VmHWM,
loading included), seconds from the command to the end of the first update, and how far the first update's loss is from
a float32 reference of the same weights. `*` marks a loss that is a mean of means, held against just that.

The environments are made where `--environments` says (.peers), from the tested versions in peer_workers/*.txt.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import work

TORCH = "torch==2.13.0"
# As lorafit sets them from within (memory.keep_freed_memory).
ALLOCATOR = {
    "MALLOC_MMAP_THRESHOLD_": str(2**30),
    "MALLOC_TRIM_THRESHOLD_": str(2**31 - 1),
    "MALLOC_TOP_PAD_": str(2**26),
}
PADDED = {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 2, "bf16": True}
SINGLE = {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 16, "gradient_checkpointing": False}
PACKED = {  # 6 rows of 512 tokens hold about 16 examples
    "per_device_train_batch_size": 2, "gradient_accumulation_steps": 3, "gradient_checkpointing": False,
    "packing": True, "bf16": True,
}  # fmt: skip
BFLOAT16, EAGER = {"dtype": "bfloat16"}, {"dtype": "bfloat16", "attn_implementation": "eager"}


@dataclass(frozen=True, slots=True)
class Peer:
    """One row of the table. share: of the roof, as measured before, for the estimate of the time alone."""

    title: str
    environment: str
    worker: str
    settings: dict[str, Any]
    share: float
    allocator: bool = False
    nf4: bool = False
    mean_of_means: bool = False
    compiles: bool = False


def _trl(title: str, arguments: dict[str, Any], load: dict[str, Any], share: float, **more: Any) -> Peer:
    settings = {"arguments": arguments, "load": load, "nf4": more.get("nf4", False)}
    return Peer(title, "trl", "trl_worker", settings, share, **more)


def _trainer(title: str, arguments: dict[str, Any], load: dict[str, Any], share: float, **more: Any) -> Peer:
    return Peer(title, "trl", "trainer_worker", {"arguments": arguments, "load": load}, share, **more)


def _unsloth(title: str, nf4: bool) -> Peer:
    settings = {"arguments": SINGLE | {"bf16": True}, "nf4": nf4}
    return Peer(title, "unsloth", "unsloth_worker", settings, 0.2, nf4=nf4)


def _lorafit(title: str, settings: dict[str, Any], share: float, nf4: bool = False) -> Peer:
    return Peer(title, "lorafit", "lorafit_worker", settings, share, nf4=nf4)


PEERS = {
    "lorafit": _lorafit("lorafit", {}, 0.4),
    "lorafit-compiled": _lorafit("lorafit, compiled (as long runs are)", {"train": {"compile": "always"}}, 0.4),
    "lorafit-lean": _lorafit(
        "lorafit, lean (512 a pass, recompute)", {"train": {"tokens_per_pass": 512, "recompute": "layers"}}, 0.25
    ),
    "lorafit-qlora": _lorafit("lorafit, QLoRA", {"model": {"quantization": "nf4"}}, 0.35, nf4=True),
    "trl": _trl("TRL SFTTrainer, as it comes", PADDED, {}, 0.06),
    "trl-packed": _trl("TRL, packed, sdpa", PACKED, BFLOAT16, 0.14),
    "trl-packed-eager": _trl("TRL, packed, eager, allocator", PACKED, EAGER, 0.2, allocator=True),
    "trl-single": _trl("TRL, one a pass, eager, allocator", SINGLE | {"bf16": True}, EAGER, 0.2, allocator=True),
    "trainer": _trainer("Trainer + PEFT, padded batches of 8", PADDED, {}, 0.1),
    "trainer-single": _trainer(
        "Trainer + PEFT, one a pass, eager, no autocast, allocator", SINGLE, EAGER, 0.25, allocator=True
    ),
    "trainer-compiled": _trainer(
        "Trainer + PEFT, one a pass, torch_compile, allocator",
        SINGLE | {"torch_compile": True},
        EAGER,
        0.35,
        allocator=True,
        compiles=True,
    ),
    "trl-qlora": _trl("TRL, bitsandbytes QLoRA, as it comes", PADDED, BFLOAT16, 0.06, nf4=True),
    "trl-qlora-single": _trl(
        "TRL, QLoRA, one a pass, eager, allocator", SINGLE | {"bf16": True}, EAGER, 0.18, allocator=True, nf4=True
    ),
    "unsloth": _unsloth("Unsloth on the CPU, one a pass", nf4=False),
    "unsloth-qlora": _unsloth("Unsloth on the CPU, one a pass, 4-bit", nf4=True),
    "litgpt": Peer("LitGPT, one a pass", "litgpt", "litgpt_worker", {"micro": 1}, 0.15, mean_of_means=True),
}


@dataclass(slots=True)
class Figures:
    """What the runs of one peer gave; `failure` is the first reason why a run gave nothing."""

    rates: list[float] = field(default_factory=list)
    padding: list[float] = field(default_factory=list)
    first_seconds: list[float] = field(default_factory=list)
    peaks: list[int] = field(default_factory=list)
    first: dict[str, Any] | None = None
    off: float = math.nan
    failure: str | None = None

    def add(self, ran: Ran) -> None:
        self.rates += ran.rates
        self.padding += ran.padding
        self.first_seconds.append(ran.first_seconds)
        self.peaks.append(ran.peak)
        self.first = self.first or ran.first


PARSER = work.parser(__doc__, rounds=1)
PARSER.add_argument("--only", nargs="+", choices=PEERS, metavar="NAME", help=", ".join(PEERS))
PARSER.add_argument("--with-compile", action="store_true", help="also torch_compile, which compiles for minutes")
PARSER.add_argument("--updates", type=int, default=3, help="timed updates of a process")
PARSER.add_argument("--limit", type=int, default=900, help="seconds after which a process is given up")
PARSER.add_argument("--minutes", type=int, default=60, help="no process begins after these")
PARSER.add_argument("--environments", type=Path, default=Path(__file__).parents[1] / ".peers")
PARSER.add_argument("--json", type=Path, help="the figures go here; SHAPE.json beside the environments")
ARGS = work.parse(PARSER)

import transformers  # noqa: E402
from peer_runs import ALONE, WORKERS, Ran, Reference, examples, run_worker, write_model  # noqa: E402


def interpreter(name: str) -> Path:
    """The Python of an environment, made first where it is not there or not of the tested versions."""
    if name == "lorafit":
        return Path(sys.executable)
    folder, listed = ARGS.environments.resolve() / name, WORKERS / f"{name}.txt"
    python, stamp = folder / "bin/python", folder / "installed.txt"
    if not stamp.is_file() or stamp.read_text() != listed.read_text():
        print(f"installing {name} to {folder}", flush=True)
        venv.create(folder, with_pip=True, symlinks=True)
        # torch first, by its exact version, as in the Makefile; the rest is a complete list.
        with (folder / "install.log").open("w") as log:
            for wanted in ([TORCH], ["--no-deps", "-r", str(listed)]):
                command = [python, "-m", "pip", "install", "--quiet", *wanted]
                subprocess.run(command, check=True, stdout=log, stderr=subprocess.STDOUT)
        stamp.write_text(listed.read_text())
    return python


def compare_losses(chosen: dict[str, Peer], found: dict[str, Figures], folder: Path) -> None:
    """Fill in how far each first loss is from the reference, relative."""
    for nf4 in (False, True):
        names = [name for name, peer in chosen.items() if peer.nf4 == nf4 and found[name].first]
        reference = Reference(folder, nf4) if names else None
        for name in names:
            first = found[name].first
            assert reference and first
            expected = reference.loss(first["examples"], chosen[name].mean_of_means)
            found[name].off = abs(first["loss"] - expected) / expected


def table(chosen: dict[str, Peer], found: dict[str, Figures], parameters: int, roof: float) -> str:
    lines = [
        f"{'':58}{'tokens/s':>9}{'(range)':>14}{'lorafit is':>11}{'of roof':>8}{'padding':>8}{'peak GB':>8}"
        f"{'first s':>8}{'loss off':>10}"
    ]
    own = statistics.median(found["lorafit"].rates) if "lorafit" in found and found["lorafit"].rates else None
    for name, peer in chosen.items():
        figures = found[name]
        if not figures.rates:
            lines.append(f"{peer.title:58} did not run: {figures.failure}")
            continue
        rate = statistics.median(figures.rates)
        lines.append(
            f"{peer.title:58}{rate:9.0f}{f'{min(figures.rates):.0f}-{max(figures.rates):.0f}':>14}"
            f"{f'{own / rate:.2f} x' if own else '-':>11}{4 * parameters * rate / roof:8.0%}"
            f"{statistics.median(figures.padding):8.0%}{max(figures.peaks) / 1e9:8.2f}"
            f"{statistics.median(figures.first_seconds):8.1f}{figures.off:10.1e}{'*' if peer.mean_of_means else ''}"
            f"{f' (a run failed: {figures.failure})' if figures.failure else ''}"
        )
    return "\n".join(lines)


def make_ready(chosen: dict[str, Peer], found: dict[str, Figures], folder: Path) -> None:
    """The environments of the chosen peers, and LitGPT's own form of the model; who lacks one, does not run."""
    for name, peer in chosen.items():
        try:
            python = interpreter(peer.environment)
            if peer.environment == "litgpt" and not (folder / "model/lit_model.pth").exists():
                command = [python, WORKERS / "litgpt_worker.py", "--convert", folder / "model"]
                subprocess.run(command, check=True, env=os.environ | ALONE, capture_output=True)
        except subprocess.CalledProcessError as error:
            found[name].failure = f"its environment or model could not be made: {error}"


def run(peer: Peer, folder: Path) -> Ran:
    variables = ALLOCATOR if peer.allocator else {}
    python = interpreter(peer.environment)
    return run_worker(python, peer.worker, peer.settings, folder, ARGS.updates, ARGS.limit, variables)


def run_rounds(chosen: dict[str, Peer], found: dict[str, Figures], folder: Path) -> None:
    began = time.monotonic()
    for number in range(ARGS.rounds):
        for name in reversed(chosen) if number % 2 else chosen:
            if found[name].failure:
                continue
            if time.monotonic() - began > ARGS.minutes * 60:
                found[name].failure = f"no time left of {ARGS.minutes} minutes"
                continue
            print(f"round {number + 1}: {name}", flush=True)
            try:
                found[name].add(run(chosen[name], folder))
            except RuntimeError as error:
                found[name].failure = str(error)


def main() -> int:
    wanted = ARGS.only or [name for name, peer in PEERS.items() if ARGS.with_compile or not peer.compiles]
    chosen = {name: PEERS[name] for name in wanted}
    found = {name: Figures() for name in chosen}
    transformers.utils.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory(prefix="lorafit-peers-") as temporary:
        folder = Path(temporary)
        parameters = write_model(ARGS.shape, folder / "model")
        given = examples(ARGS.shape, work.BATCH * (ARGS.updates + 1), ARGS.shared)
        (folder / "work.json").write_text(json.dumps(given))
        make_ready(chosen, found, folder)
        tokens = sum(len(example["input_ids"]) for example in given)
        roofs = [work.matrix_roof(ARGS.shape)]
        once = sum(15 + 240 * p.compiles + 4 * parameters * tokens / (p.share * roofs[0]) for p in chosen.values())
        minutes = ARGS.rounds * once / 60
        print(f"{len(chosen)} peers, {tokens} tokens a process: about {minutes:.0f} minutes", flush=True)
        run_rounds(chosen, found, folder)
        roofs.append(work.matrix_roof(ARGS.shape))
        compare_losses(chosen, found, folder)
    print(f"\n{ARGS.shape}, bfloat16, {ARGS.threads} threads, {ARGS.rounds} rounds of {ARGS.updates} updates,", end=" ")
    print("best matrix product before and after " + ", ".join(f"{roof / 1e9:.0f}" for roof in roofs) + " GFLOP/s")
    print(table(chosen, found, parameters, max(roofs)))
    target = ARGS.json or ARGS.environments / f"{ARGS.shape}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    settings = {"shape": ARGS.shape, "threads": ARGS.threads, "tokens": tokens, "parameters": parameters}
    figures = {name: {"title": chosen[name].title, **dataclasses.asdict(found[name])} for name in chosen}
    target.write_text(json.dumps({**settings, "roofs": roofs, "peers": figures}, indent=1) + "\n")
    print(f"figures: {target}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
