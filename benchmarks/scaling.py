"""How the time of a token grows: with sequence length, rank, model size and documents a row, and what explains it.

    python benchmarks/scaling.py [--axes length rank size documents] [--layers 6] [--rounds 3] [--compile] [--plot FILE]

The width and vocabulary of --shape (SmolLM2-135M) with 6 layers, so that all fits in minutes; random weights, bfloat16,
LoRA of rank 16 on every linear layer, 73 % of the tokens trained, the fast path. A point is one update. Along `length`
a row is one document and an update at least 2,048 tokens; elsewhere an update is one row of 2,048 tokens, cut into 8
documents, or as many as `documents` says. `size` goes through depths of the same width and once to the width of 0.6B.
Every round takes all points in turn, each odd round in reverse; medians over the rounds.

Each axis is fitted by least squares of relative errors, without negative terms, and set against counted operations:
4 a frozen weight of a layer and token, the same for the head and trained tokens, 6 a weight of the adapter, and for
attention 6 x length x width of all heads (the causal half, forward and backward). `part` is what grows along the axis:
its share of the fitted time, and of the operations. Both together give the rate at which each part runs.
"""

from __future__ import annotations

import itertools
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import work

AXES = ("length", "rank", "size", "documents")
ROW, DOCUMENTS, TRAINED = 2048, 8, 0.73
PARSER = work.parser(__doc__)
PARSER.add_argument("--axes", nargs="+", choices=AXES, default=AXES)
PARSER.add_argument("--layers", type=int, default=6)
PARSER.add_argument("--longest", type=int, default=8192, help="the longest document")
PARSER.add_argument("--compile", action="store_true", help="norms, gates and rotary embeddings through torch.compile")
PARSER.add_argument("--plot", type=Path, help="a PNG of the axes; needs matplotlib")
ARGS = work.parse(PARSER)

import numpy as np  # noqa: E402
import torch  # noqa: E402

from lorafit.adapters.dropout import DropoutPlace  # noqa: E402
from lorafit.adapters.fast import make_fast  # noqa: E402
from lorafit.data.pack import make_batch  # noqa: E402
from lorafit.memory import keep_few_products, keep_freed_memory  # noqa: E402
from lorafit.model.forward import choose_forward  # noqa: E402
from lorafit.model.fused import fuse  # noqa: E402
from lorafit.records import Sample, Source  # noqa: E402
from lorafit.train.optim import MasterOptimizer  # noqa: E402
from lorafit.train.step import train_step  # noqa: E402

WIDE = {
    name: size
    for name, size in work.SHAPES["0.6b"].items()
    if name != "vocab_size" and ("size" in name or "head" in name)
}


class Workload:
    """A model with LoRA on the fast path. changes: of its configuration."""

    def __init__(self, rank: int = work.RANK, **changes: Any) -> None:
        changes = {"num_hidden_layers": ARGS.layers, "max_position_embeddings": ARGS.longest, **changes}
        plain = work.random_model(ARGS.shape, **changes)
        self.head = plain.get_output_embeddings().weight.numel()
        self.layers = work.linear_parameters(plain) - self.head
        text = plain.config
        self.attention = text.num_hidden_layers * text.num_attention_heads * text.head_dim
        model = work.with_lora(plain, rank)
        make_fast(model)
        fuse(model, compile=ARGS.compile)
        self.forward, reason = choose_forward(model)
        assert reason is None, reason
        self.adapter = sum(p.numel() for p in model.parameters() if p.requires_grad)
        self.optimizer = MasterOptimizer(model.parameters(), "adamw", 0.0)

    def operations(self, length: float) -> dict[str, float]:
        """Floating-point operations a token, in documents of this length."""
        return {
            "layers": 4 * self.layers,
            "head": 4 * self.head * TRAINED,
            "adapter": 6 * self.adapter,
            "attention": 6 * self.attention * length,
        }

    def seconds(self, length: int, count: int, tokens_per_pass: int) -> float:
        """Of one update on `count` documents."""
        draw = np.random.default_rng(0)
        trained = np.arange(length) >= round((1 - TRAINED) * length)
        ids = (draw.integers(0, work.vocabulary(ARGS.shape), length) for _ in range(count))
        batch = make_batch([Sample(i, trained, Source("drawn", 1)) for i in ids], tokens_per_pass, least_shared=None)
        scaler = torch.amp.GradScaler("cpu", enabled=False)
        began = time.perf_counter()
        with self.forward.running():
            step = train_step(self.forward, batch, self.optimizer, scaler, DropoutPlace(), 0, 0.0, 1.0)
        assert step.gradient_norm > 0
        return time.perf_counter() - began


@dataclass(slots=True)
class Point:
    """One place on an axis: `count` documents of `length` tokens, in rows of `tokens_per_pass`. x: as it is plotted."""

    x: float
    workload: Workload
    length: int
    count: int
    tokens_per_pass: int = ROW
    times: list[float] = field(default_factory=list)

    def measure(self) -> None:
        self.times.append(self.workload.seconds(self.length, self.count, self.tokens_per_pass) / self.tokens)

    @property
    def tokens(self) -> int:
        return self.length * self.count

    @property
    def seconds(self) -> float:
        """Of a token."""
        return statistics.median(self.times)

    @property
    def operations(self) -> dict[str, float]:
        return self.workload.operations(self.length)


@dataclass(slots=True)
class Axis:
    """terms: what a token's time is a sum of, each a function of x up to a factor. part: the term that grows along the
    axis, and `counted`: the operations that belong to it."""

    name: str
    unit: str
    points: list[Point]
    terms: dict[str, Callable[[Any], Any]]
    part: str
    counted: tuple[str, ...]
    factors: dict[str, float] = field(default_factory=dict)

    def fit(self) -> None:
        """Least squares of relative errors over the sets of terms in which no factor is negative."""
        seconds = np.array([p.seconds for p in self.points])
        best = np.inf
        for size in range(1, len(self.terms) + 1):
            for names in itertools.combinations(self.terms, size):
                columns = np.array([[self.terms[n](p.x) for n in names] for p in self.points]) / seconds[:, None]
                found, *_ = np.linalg.lstsq(columns, np.ones(len(seconds)), rcond=None)
                error = float(((columns @ found - 1) ** 2).sum())
                if found.min() >= 0 and error < best:
                    best, self.factors = error, dict(zip(names, found.tolist(), strict=True))

    def fitted(self, x: Any, *names: str) -> Any:
        """Seconds a token, of all terms or of some."""
        return sum((self.factors[n] * self.terms[n](x) for n in names or self.factors if n in self.factors), 0 * x)

    def counted_share(self, point: Point) -> float:
        return sum(point.operations[n] for n in self.counted) / sum(point.operations.values())


def axes() -> list[Axis]:
    common = Workload()
    one = {"constant": lambda x: 1 + 0 * x}
    found = []
    for name in ARGS.axes:
        if name == "length":
            lengths = [n for n in (256, 512, 1024, 2048, 4096, 8192) if n <= ARGS.longest]
            points = [Point(n, common, n, max(1, ROW // n), n) for n in lengths]
            terms = {**one, "attention": lambda x: x, "a pass": lambda x: 1 / x}
            found.append(Axis(name, "tokens", points, terms, "attention", ("attention",)))
        elif name == "rank":
            ranks = (4, 16, 32, 64, 128, 256)
            points = [Point(r, common if r == 16 else Workload(r), ROW // DOCUMENTS, DOCUMENTS) for r in ranks]
            found.append(Axis(name, "", points, {**one, "adapter": lambda x: x}, "adapter", ("adapter",)))
        elif name == "size":
            depths = [max(1, round(ARGS.layers * times)) for times in (1 / 3, 1, 2, 4)]
            models = [common if n == ARGS.layers else Workload(num_hidden_layers=n) for n in depths]
            models.append(Workload(**WIDE))
            length = ROW // DOCUMENTS
            points = [Point(sum(m.operations(length).values()) / 1e6, m, length, DOCUMENTS) for m in models]
            points.sort(key=lambda p: p.x)
            every = tuple(points[0].operations)
            found.append(Axis(name, "Mflop/token", points, {**one, "operations": lambda x: x}, "operations", every))
        else:
            points = [Point(n, common, ROW // n, n) for n in (1, 2, 4, 8, 16, 32)]
            terms = {**one, "attention": lambda x: 1 / x, "a document": lambda x: x}
            found.append(Axis(name, "a row", points, terms, "attention", ("attention",)))
    return found


def measure(points: list[Point]) -> None:
    for point in points:  # to warm up: kernels, models and memory, the longest documents not
        if point.length <= ROW:
            point.workload.seconds(point.length, point.count, point.tokens_per_pass)
    for number in range(ARGS.rounds):
        for point in points[:: -1 if number % 2 else 1]:
            point.measure()


def table(axis: Axis, roof: float) -> str:
    first = axis.points[0]
    terms = " + ".join(f"{name} {1e6 * factor:.4g}" for name, factor in axis.factors.items())
    part = f"{axis.part}:"
    lines = [
        f"\n{axis.name} ({axis.unit})" if axis.unit else f"\n{axis.name}",
        f"{'':>10}{'us/token':>10}{'(range)':>16}{'relative':>10}{'by count':>10}{'fit off':>9}  {part:>12}"
        f"{'of time':>9}{'counted':>9}",
    ]
    for p in axis.points:
        total, counts = axis.fitted(p.x), [sum(q.operations.values()) for q in (p, first)]
        spread = f"{1e6 * min(p.times):.0f}-{1e6 * max(p.times):.0f}"
        lines.append(
            f"{p.x:10.0f}{1e6 * p.seconds:10.0f}{spread:>16}{p.seconds / first.seconds:10.2f}"
            f"{counts[0] / counts[1]:10.2f}{total / p.seconds - 1:+9.1%}{'':14}"
            f"{axis.fitted(p.x, axis.part) / total:9.1%}{axis.counted_share(p):9.1%}"
        )
    lines.append(f"fitted, microseconds a token: {terms} (each times its power of the axis)")
    # Where the part is largest both rates are known best.
    at = max(axis.points, key=lambda p: axis.fitted(p.x, axis.part))
    spent, total = axis.fitted(at.x, axis.part), axis.fitted(at.x)
    count, share = sum(at.operations.values()), axis.counted_share(at)
    rates = [f"{axis.part} {share * count / spent / 1e9:.0f}" if spent else f"{axis.part}: not seen"]
    if share < 1:
        rates.append(f"all else {(1 - share) * count / (total - spent) / 1e9:.0f}")
    lines.append(f"GFLOP/s at {at.x:.0f}: {', '.join(rates)}; best matrix product {roof / 1e9:.0f}")
    return "\n".join(lines)


def plot(found: list[Axis], target: Path) -> None:
    try:
        from matplotlib import pyplot
    except ImportError:
        print("matplotlib is not installed: no plot")
        return
    figure, panels = pyplot.subplots(2, 2, figsize=(10, 7.5), layout="constrained")
    for axis, panel in zip(found, panels.flat, strict=False):
        xs = np.array([p.x for p in axis.points])
        between = np.geomspace(xs.min(), xs.max(), 100)
        counted = np.array([sum(p.operations.values()) for p in axis.points])
        panel.plot(xs, [1e6 * p.seconds for p in axis.points], "o", label="measured")
        panel.plot(between, 1e6 * axis.fitted(between), "-", label="fit: " + " + ".join(axis.factors))
        panel.plot(xs, 1e6 * axis.points[0].seconds * counted / counted[0], ":", label="as operations grow")
        panel.set_xscale("log", base=2)
        panel.set_xticks(xs, [f"{x:.0f}" for x in xs])
        panel.set_ylim(bottom=0)
        panel.set_xlabel(f"{axis.name} ({axis.unit})" if axis.unit else axis.name)
        panel.set_ylabel("microseconds a token")
        panel.legend()
    for panel in panels.flat[len(found) :]:
        panel.set_visible(False)
    figure.savefig(target, dpi=120)
    print(f"plot: {target}")


def main() -> int:
    keep_few_products()
    keep_freed_memory()
    found = axes()
    roof = work.matrix_roof(ARGS.shape)
    measure([point for axis in found for point in axis.points])
    how = "compiled" if ARGS.compile else "not compiled"
    print(f"{ARGS.shape}, {ARGS.layers} layers, bfloat16, {how}, {ARGS.threads} threads, medians of {ARGS.rounds}")
    for axis in found:
        axis.fit()
        print(table(axis, roof))
    if ARGS.plot:
        plot(found, ARGS.plot)
    return 0


if __name__ == "__main__":
    sys.exit(main())
