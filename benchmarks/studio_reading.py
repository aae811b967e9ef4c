"""How fast the studio reads run folders: 100 runs, one of them with a metrics file of 200,000 lines.

    python benchmarks/studio_reading.py [--runs 100] [--lines 200000]

The runs are made up in a temporary folder. Cold: nothing of them was read by this process; the system may still have
the files in its memory.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from lorafit.report.read import COLUMNS
from lorafit.studio.runs import Runs
from lorafit.studio.workspace import Workspace

RECIPE = (
    "name: {name}\nmodel:\n  name: builtin\n  quantization: nf4\ndata:\n  train: builtin\nadapter:\n  method: lora\n"
    + "".join(f"# the other settings, line {number}\n" for number in range(110))
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--lines", type=int, default=200_000)
    parser.add_argument("--short", type=int, default=600, help="lines of the other runs")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder))
        for number in range(arguments.runs - 1):
            make_run(workspace.runs / f"short-{number:03d}", arguments.short)
        long = make_run(workspace.runs / "long", arguments.lines)
        print(f"{arguments.runs} runs, one of {arguments.lines:,} lines ({long.stat().st_size / 1e6:.0f} MB)")
        runs = Runs(workspace)
        timed("summaries, cold", runs.summaries)
        timed("summaries, nothing new", runs.summaries)
        append(long, arguments.lines, 1)
        timed("summaries, one line new", runs.summaries)
        timed("curves of the long run, first answer", lambda: [runs.curves("long").points(name) for name in COLUMNS])
        started, curves = time.perf_counter(), runs.curves("long")
        while not curves.complete:
            time.sleep(0.01)
        print(f"{'the whole read behind it after':40} {time.perf_counter() - started:9.3f} s")
        append(long, arguments.lines + 1, 10)
        timed("ten lines more", lambda: runs.curves("long"))
        timed("all points of all curves", lambda: [curves.points(name) for name in COLUMNS])
        timed("loss of 1,000 updates", lambda: curves.points("loss", arguments.lines / 2, arguments.lines / 2 + 1000))


def timed(what: str, work: Callable[[], object]) -> None:
    started = time.perf_counter()
    work()
    print(f"{what:40} {time.perf_counter() - started:9.3f} s")


def make_run(folder: Path, lines: int) -> Path:
    """A finished run's folder, as far as the studio's lists read it; gives its metrics file."""
    (folder / "evaluation").mkdir(parents=True)
    (folder / "recipe.yaml").write_text(RECIPE.format(name=folder.name))
    status = {"state": "finished", "heartbeat": time.time(), "update": lines, "updates": lines, "message": "made up"}
    (folder / "status.json").write_text(json.dumps(status))
    scores = {speaker: {"token_f1": {"mean": random.random()}} for speaker in ("base", "tuned")}
    (folder / "evaluation" / "scores.json").write_text(json.dumps({"scores": scores}))
    append(folder / "metrics.jsonl", 0, lines)
    return folder / "metrics.jsonl"


def append(metrics: Path, first: int, count: int) -> None:
    """Lines as a run writes them, with a held-out measurement every 2,000 updates."""
    with metrics.open("a") as file:
        for update in range(first + 1, first + count + 1):
            line = {
                "update": update,
                "epoch": round(update / 1000, 4),
                "loss": 1 + 2 * math.exp(-update / 1000) + random.random(),
                "learning_rate": 2e-4 * random.random(),
                "gradient_norm": random.random(),
                "applied": True,
                "tokens": 933,
                "computed_tokens": 933,
                "supervised_tokens": 438,
                "tokens_per_second": 6000 + 500 * random.random(),
                "data_seconds": random.random() / 1000,
                "memory_bytes": 981618688,
                "peak_memory_bytes": 1144926208,
                "elapsed_seconds": update * 0.21 + random.random() / 1000,
            }
            file.write(json.dumps(line) + "\n")
            if update % 2000 == 0:
                file.write(json.dumps({"update": update, "held_out_loss": 1 + random.random()}) + "\n")


if __name__ == "__main__":
    main()
