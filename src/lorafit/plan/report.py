"""A plan to look at: the verdict, a bar of the budget with what fills it, times, and what would change it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from lorafit.plan.answer import ALLOCATOR, CONTEXT, HEAP, Plan
from lorafit.plan.clock import Band
from lorafit.plan.fit import Candidate, Change, Choice
from lorafit.plan.semantics import NOTES
from lorafit.plan.simulate import (
    ACTIVATIONS,
    ADAPTER,
    BACKWARD,
    CONSTANTS,
    GRADIENTS,
    LOSS,
    OPTIMIZER,
    WEIGHTS,
    WORKSPACE,
)

WIDTH = 60
VERDICT = {
    "yes": ("fits", "bold green"),
    "tight": ("is tight", "bold yellow"),
    "no": ("does not fit", "bold red"),
}
# The letters are for pipes, where colours are lost.
PARTS = {
    WEIGHTS: ("W", "blue"),
    CONSTANTS: ("Q", "bright_blue"),
    ADAPTER: ("A", "cyan"),
    GRADIENTS: ("G", "magenta"),
    OPTIMIZER: ("O", "bright_magenta"),
    ACTIVATIONS: ("a", "green"),
    BACKWARD: ("b", "bright_green"),
    LOSS: ("L", "yellow"),
    WORKSPACE: ("w", "bright_yellow"),
    ALLOCATOR: ("s", "white"),
    HEAP: ("h", "white"),
    CONTEXT: ("c", "bright_black"),
}


def size(count: int) -> str:
    """Bytes in GB (10^9), from 1 MB on with three places."""
    return f"{count / 1e9:.2f} GB" if abs(count) >= 1e9 else f"{count / 1e6:,.0f} MB"


def duration(band: Band) -> str:
    """A band of seconds in the unit that reads best."""
    for unit, seconds in (("days", 86400.0), ("h", 3600.0), ("min", 60.0), ("s", 1.0)):
        if band.high >= 2 * seconds or unit == "s":
            return f"{band.low / seconds:.3g} to {band.high / seconds:.3g} {unit}"
    raise AssertionError("unreachable")


def headline(plan: Plan) -> Text:
    word, style = VERDICT[plan.verdict]
    text = Text(f"{plan.method} of {plan.model} ")
    text.append(word, style)
    text.append(f" on {plan.device}: {size(plan.needed)} of {size(plan.budget)}")
    left = f", {size(plan.margin)} to spare" if plan.margin >= 0 else f", {size(-plan.margin)} too much"
    return text.append(left)


def bar(plan: Plan) -> Text:
    """The parts to scale against the budget, which ends at the bracket."""
    scale = WIDTH / max(plan.budget, plan.needed)
    text, done, drawn = Text("["), 0, 0
    end = round(plan.budget * scale)
    for name, count in _ordered(plan):
        letter, colour = PARTS[name]
        done += count
        for cell in range(drawn, round(done * scale)):
            if cell == end:
                text.append("]", "bold red")
            text.append(letter, f"{colour} reverse")
        drawn = round(done * scale)
    if drawn < end:
        text.append("·" * (end - drawn) + "]", "dim")
    elif drawn == end:
        text.append("]", "bold")
    return text


def parts_table(plan: Plan) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 1))
    table.add_column()
    table.add_column()
    table.add_column(justify="right")
    table.add_column(justify="right", style="dim")
    for name, count in _ordered(plan):
        letter, colour = PARTS[name]
        table.add_row(Text(letter, f"{colour} reverse"), name, size(count), f"{count / plan.needed:.0%}")
    return table


def candidates_table(candidates: Sequence[Candidate], tokens_of: Callable[[Choice], int], shown: int = 8) -> Table:
    """The best settings first (`--fit`)."""
    table = Table(title="the fastest that fit, and the runners-up", title_justify="left", title_style="bold")
    for column in ("base", "recompute", "tokens a pass", "optimizer"):
        table.add_column(column)
    for column in ("needs", "tokens/s"):
        table.add_column(column, justify="right")
    table.add_column("")
    bases = {"none": "16 or 32 bits", "int8": "8 bits", "nf4": "4 bits (nf4)"}
    for candidate in candidates[:shown]:
        choice, rate = candidate.choice, "unknown"
        if candidate.seconds is not None:
            tokens = tokens_of(choice)
            rate = f"{tokens / candidate.seconds.high:,.0f} to {tokens / candidate.seconds.low:,.0f}"
        verdict = Text(*VERDICT[candidate.verdict])
        cells = (bases[choice.quantization], choice.recompute, f"{choice.tokens_per_pass:,}", choice.optimizer)
        table.add_row(*cells, size(candidate.needed), rate, verdict)
    return table


def changes_table(changes: Sequence[Change]) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 1))
    for justify in ("left", "right", "right", "left"):
        table.add_column(justify=justify)
    for change in changes:
        saved = Text(f"{'-' if change.saved >= 0 else '+'}{size(abs(change.saved))}")
        saved.stylize("green" if change.saved >= 0 else "yellow")
        time = "" if change.time is None else f"{change.time - 1:+.0%} time"
        table.add_row(change.sentence, saved, time, Text(" ".join(change.overrides), "dim"))
    return table


def lines(plan: Plan) -> Iterator[str]:
    """What else there is to say."""
    where = {"forward": "the forward", "backward": "the backward", "update": "the optimizer's update"}[plan.phase]
    yield f"the peak is in {where}, at {plan.operation}; {size(plan.peak)} of tensors"
    if plan.reserved is not None and plan.retries:
        again = "once" if plan.retries == 1 else f"{plan.retries} times"
        yield f"the allocator has to give memory back and ask again {again}: slower than planned"
    if plan.paged:
        yield f"{size(plan.paged)} of optimizer state is paged: it can go to the host's memory, which slows updates"
    if plan.host:
        yield f"{size(plan.host)} of activations are kept in the host's memory"
    rate = plan.tokens_per_second()
    if plan.update_seconds is not None and rate is not None:
        run, told = plan.run_seconds(), ""
        if run is not None:
            told = f"; all {plan.updates:,} updates {duration(run)}"
        yield (
            f"an update of {plan.tokens:,} tokens: {duration(plan.update_seconds)} "
            f"({rate.low:,.0f} to {rate.high:,.0f} tokens/s){told}"
        )
    else:
        yield "no time is predicted: the speed of this device is not known (name a card instead of a size)"
    yield f"{plan.trained:,} parameters are trained, of a base of {plan.parameters:,}"


def figure(plan: Plan, changes: Sequence[Change] = ()) -> RenderableType:
    """All of it, for the terminal."""
    shown: list[RenderableType] = [headline(plan), bar(plan), parts_table(plan)]
    shown += [Text(line) for line in lines(plan)]
    if changes:
        shown += [Text("what would change it", "bold"), changes_table(changes)]
    if plan.assumptions:
        shown += [Text(f"assumed: {'; '.join(plan.assumptions)}", "dim")]
    return Group(*shown)


def explanation(plan: Plan, source: str) -> Iterator[str]:
    """Every constant with its source, for --explain."""
    yield f"device: {source}"
    for name, text in NOTES.items():
        yield f"{name}: {text}"
    yield "versions traced: " + ", ".join(f"{name} {number}" for name, number in plan.versions.items())


def _ordered(plan: Plan) -> list[tuple[str, int]]:
    return [(name, plan.parts[name]) for name in PARTS if name in plan.parts]
