"""Which method fits on which card, at which length: one model, all methods, in shallow traces."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from lorafit.plan.answer import PLAIN_SHARE
from lorafit.plan.devices import Device
from lorafit.plan.simulate import Job, simulate_deep

METHODS = ("full", "lora", "int8", "qlora")
SHOWN = {"full": "full", "lora": "LoRA", "int8": "LoRA, 8 bits", "qlora": "QLoRA"}
LENGTHS = (512, 2048, 4096)
MARKS = {"fits": ("●", "green"), "fits, computing again": ("◐", "green"), "tight": ("○", "yellow"), "no": ("·", "red")}
# Of the plan's own allocator replay, expandable segments: what stands reserved above the tensors' peak.
SEGMENTS = 40 * 2**20


@dataclass(frozen=True, slots=True)
class Line:
    """Bytes needed with one sample of `length` tokens a pass: keeping all, and recomputing every layer."""

    method: str
    length: int
    kept: int
    recomputed: int


def table_lines(
    job_of: Callable[[str, int, str], Job],
    context: int,
    lengths: Sequence[int] = LENGTHS,
    done: Callable[[int], None] = lambda _: None,
) -> Iterator[Line]:
    """job_of(method, length, recompute) gives the jobs; done is told of each trace. context: bytes beside tensors."""
    for method in METHODS:
        for length in lengths:
            needed = []
            for recompute in ("none", "layers"):
                needed.append(simulate_deep(job_of(method, length, recompute)).peak.bytes + context + SEGMENTS)
                done(1)
            yield Line(method, length, *needed)


def fits_table(lines: Sequence[Line], cards: Sequence[tuple[str, Device]], title: str) -> RenderableType:
    """A line for each method and length, a column for each (name, card)."""
    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("method", no_wrap=True)
    for column in ("tokens", "GB", "again"):
        table.add_column(column, justify="right", no_wrap=True)
    for name, _ in cards:
        table.add_column(name, justify="center", no_wrap=True)
    last = ""
    for line in lines:
        cells = [Text(*MARKS[_fits(line, card.memory_bytes)]) for _, card in cards]
        name = "" if line.method == last else SHOWN[line.method]
        table.add_row(name, f"{line.length}", f"{line.kept / 1e9:.1f}", f"{line.recomputed / 1e9:.1f}", *cells)
        last = line.method
    legend = Text("GB: needed; again: computing every layer again in the backward.  ", "dim")
    for what, (mark, style) in MARKS.items():
        legend.append(mark, style).append(f" {what}  ", "dim")
    return Group(table, legend)


def _fits(line: Line, memory: int) -> str:
    if line.kept <= PLAIN_SHARE * memory:
        return "fits"
    if line.recomputed <= PLAIN_SHARE * memory:
        return "fits, computing again"
    return "tight" if line.recomputed <= memory else "no"
