"""Which method fits on which card, at which length: one model, all methods, in shallow traces."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from rich.table import Table
from rich.text import Text

from lorafit.plan.answer import PLAIN_SHARE
from lorafit.plan.devices import GIB, Device
from lorafit.plan.report import size
from lorafit.plan.simulate import Job, simulate_deep

METHODS = ("full", "lora", "int8", "qlora")
SHOWN = {"full": "full fine-tuning", "lora": "LoRA", "int8": "LoRA on 8 bits", "qlora": "QLoRA (nf4)"}
LENGTHS = (512, 2048, 4096)
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


def fits_table(lines: Sequence[Line], cards: Sequence[Device], title: str) -> Table:
    """fits, fits with recomputation, or what is missing."""
    table = Table(title=title, title_justify="left", title_style="bold")
    for column in ("method", "tokens", "needs", "recomputing"):
        table.add_column(column, justify="left" if column == "method" else "right")
    for card in cards:
        table.add_column(f"{card.memory_bytes / GIB:.0f} GiB", justify="center")
    last = ""
    for line in lines:
        cells = [_cell(line, card.memory_bytes) for card in cards]
        name = "" if line.method == last else SHOWN[line.method]
        table.add_row(name, f"{line.length:,}", size(line.kept), size(line.recomputed), *cells)
        last = line.method
    return table


def _cell(line: Line, memory: int) -> Text:
    if line.kept <= PLAIN_SHARE * memory:
        return Text("yes", "green")
    if line.recomputed <= PLAIN_SHARE * memory:
        return Text("recompute", "yellow")
    if line.recomputed <= memory:
        return Text("tight", "yellow")
    return Text("no", "red")
