"""Speed against memory: what lorafit's settings of row length and recomputation give, on one frontier with its peers.

    python benchmarks/frontier.py [--shape 135m|0.6b|tiny] [--rounds 1] [--peers FILE] [--plot frontier.png]

Each setting is a process of its own through the worker of peers.py, on the same work (see there): tokens a pass, what
is recomputed, and LoRA or QLoRA (NF4). It loads, compiles as a long run would (`--compile`), does one update to warm up
and `--updates` timed ones. Odd rounds go in reverse. Memory is the peak of resident memory, loading included.
`--peers`: the JSON of a run of peers.py, whose peers join in. A point is on the frontier (`*`) when none is both faster
and leaner; with `--peers`, figures of two runs stand side by side: compare small differences in peers.py itself.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import work

# Tokens a pass, recompute, quantisation: the whole grid is larger; these bound it at both ends and along the middle.
SETTINGS = [
    (2048, "none", "none"),
    (1024, "none", "none"),
    (512, "none", "none"),
    (256, "none", "none"),
    (2048, "every-2", "none"),
    (1024, "every-2", "none"),
    (512, "every-2", "none"),
    (1024, "layers", "none"),
    (512, "layers", "none"),
    (256, "layers", "none"),
    (2048, "none", "nf4"),
    (512, "none", "nf4"),
    (512, "layers", "nf4"),
    (256, "layers", "nf4"),
    (1536, "none", "none"),
]
PARSER = work.parser(__doc__, rounds=1)
PARSER.add_argument("--updates", type=int, default=2, help="timed updates of a process")
PARSER.add_argument("--only", nargs="+", type=int, help="settings by number, from 0")
PARSER.add_argument("--limit", type=int, default=600, help="seconds after which a process is given up")
PARSER.add_argument("--minutes", type=int, default=15, help="no process begins after these")
PARSER.add_argument("--compile", choices=("always", "auto", "never"), default="always", help="as train.compile")
PARSER.add_argument("--peers", type=Path, help="the JSON that peers.py wrote")
PARSER.add_argument("--plot", type=Path, help="a PNG; needs matplotlib")
PARSER.add_argument("--json", type=Path, help="the points go here")
ARGS = work.parse(PARSER)

import transformers  # noqa: E402
from peer_runs import examples, run_worker, write_model  # noqa: E402


@dataclass(slots=True)
class Point:
    """rates: useful tokens a second, of each timed update; peaks: bytes, of each process."""

    title: str
    ours: bool
    rates: list[float] = field(default_factory=list)
    peaks: list[int] = field(default_factory=list)

    @property
    def rate(self) -> float:
        return statistics.median(self.rates)

    @property
    def gigabytes(self) -> float:
        return max(self.peaks) / 1e9


def title(tokens: int, recompute: str, quantization: str) -> str:
    return f"{'LoRA' if quantization == 'none' else 'QLoRA'} {tokens}, {recompute}"


def measure(folder: Path) -> list[Point]:
    """A point for each setting that ran; why one did not is printed."""
    chosen = [SETTINGS[i] for i in ARGS.only] if ARGS.only else SETTINGS
    points = {setting: Point(title(*setting), ours=True) for setting in chosen}
    began = time.monotonic()
    for number in range(ARGS.rounds):
        for setting in chosen[:: -1 if number % 2 else 1]:
            tokens, recompute, quantization = setting
            point = points[setting]
            if time.monotonic() - began > ARGS.minutes * 60:
                print(f"no time left for {point.title}", flush=True)
                continue
            print(f"round {number + 1}: {point.title}", flush=True)
            given = {
                "train": {"tokens_per_pass": tokens, "recompute": recompute, "compile": ARGS.compile},
                "model": {"quantization": quantization},
            }
            try:
                ran = run_worker(
                    Path(sys.executable), "lorafit_worker", given, folder, ARGS.updates, ARGS.limit, variables={}
                )
            except RuntimeError as error:
                print(f"    did not run: {error}", flush=True)
                continue
            point.rates += ran.rates
            point.peaks.append(ran.peak)
    return [point for point in points.values() if point.rates]


def peers_of(file: Path) -> list[Point]:
    """The peers' points of a run of peers.py; lorafit's own are measured here."""
    content = json.loads(file.read_text())
    if content["shape"] != ARGS.shape:
        raise SystemExit(f"{file} is of the shape {content['shape']}, not {ARGS.shape}")
    return [
        Point(peer["title"], False, peer["rates"], peer["peaks"])
        for name, peer in content["peers"].items()
        if peer["rates"] and not name.startswith("lorafit")
    ]


def on_frontier(point: Point, points: list[Point]) -> bool:
    """Whether no other is as fast and as lean, and better in one of the two."""
    return not any(
        other.rate >= point.rate
        and other.gigabytes <= point.gigabytes
        and (other.rate, other.gigabytes) != (point.rate, point.gigabytes)
        for other in points
    )


def table(points: list[Point]) -> str:
    fastest = max(point.rate for point in points)
    lines = [f"{'':60}{'peak GB':>8}{'tokens/s':>10}{'(range)':>14}{'of fastest':>12}"]
    for point in sorted(points, key=lambda p: p.gigabytes):
        mark = "*" if on_frontier(point, points) else " "
        lines.append(
            f"{mark} {'lorafit, ' if point.ours else ''}{point.title:{49 if point.ours else 58}}{point.gigabytes:8.2f}"
            f"{point.rate:10.0f}{f'{min(point.rates):.0f}-{max(point.rates):.0f}':>14}{point.rate / fastest:12.0%}"
        )
    return "\n".join(lines)


def plot(points: list[Point], target: Path) -> None:
    try:
        from matplotlib import pyplot
    except ImportError:
        print("matplotlib is not installed: no plot")
        return
    figure, panel = pyplot.subplots(figsize=(11, 7.5), layout="constrained")
    best = sorted((p for p in points if on_frontier(p, points)), key=lambda p: p.gigabytes)
    panel.step([p.gigabytes for p in best], [p.rate for p in best], where="post", color="0.7", label="frontier")
    for ours, mark, label in ((True, "o", "lorafit"), (False, "x", "peers")):
        shown = [p for p in points if p.ours == ours]
        panel.plot([p.gigabytes for p in shown], [p.rate for p in shown], mark, label=label)
        for p in shown:
            place = (p.gigabytes, p.rate)
            panel.annotate(p.title, place, xytext=(5, 4), textcoords="offset points", fontsize=7)
    panel.set_xscale("log", base=2)
    ticks = [0.5, 1, 2, 4, 8, 16]
    panel.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    panel.set_xlim(min(p.gigabytes for p in points) * 0.9, max(p.gigabytes for p in points) * 1.5)
    panel.set_ylim(bottom=0)
    panel.set_xlabel("peak resident memory, loading included (GB)")
    panel.set_ylabel("useful tokens a second")
    panel.set_title(f"{ARGS.shape}, bfloat16, {ARGS.threads} threads; lorafit: tokens a pass, recompute policy")
    panel.legend(loc="lower right")
    figure.savefig(target, dpi=120)
    print(f"plot: {target}")


def main() -> int:
    transformers.utils.logging.disable_progress_bar()
    others = peers_of(ARGS.peers) if ARGS.peers else []
    with tempfile.TemporaryDirectory(prefix="lorafit-frontier-") as temporary:
        folder = Path(temporary)
        write_model(ARGS.shape, folder / "model")
        given = examples(ARGS.shape, work.BATCH * (ARGS.updates + 1), ARGS.shared)
        (folder / "work.json").write_text(json.dumps(given))
        points = measure(folder) + others
    if not points:
        print("nothing ran")
        return 1
    print(f"\n{ARGS.shape}, bfloat16, {ARGS.threads} threads, {ARGS.rounds} rounds of {ARGS.updates} updates")
    print(table(points))
    if ARGS.json:
        found = [{"title": p.title, "ours": p.ours, "rates": p.rates, "peaks": p.peaks} for p in points]
        ARGS.json.write_text(
            json.dumps({"shape": ARGS.shape, "threads": ARGS.threads, "points": found}, indent=1) + "\n"
        )
    if ARGS.plot:
        plot(points, ARGS.plot)
    return 0


if __name__ == "__main__":
    sys.exit(main())
