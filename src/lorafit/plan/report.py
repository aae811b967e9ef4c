"""A plan to look at: the verdict, a bar of the budget with what fills it, times, and what would change it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from lorafit.plan.answer import ALLOCATOR, CONTEXT, HEAP, HEAP_LEAST, HEAP_SHARE, PLAIN_SHARE, Plan
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


# What an operation of torch is to a person; others keep their names.
OPERATIONS = {
    "mm": "a matrix product",
    "addmm": "a matrix product",
    "bmm": "a matrix product",
    "gemm_4bit": "a product with 4-bit weights",
    "dequantize_4bit": "unpacking 4-bit weights",
    "dequantize_blockwise": "unpacking 4-bit weights",
    "int8_mixed_scaled_mm": "a product with 8-bit weights",
    "int8_vectorwise_quant": "rounding to 8 bits",
    "_log_softmax": "the softmax of the loss",
    "_log_softmax_backward_data": "the gradient of the loss's softmax",
    "nll_loss_backward": "the gradient of the loss",
    "_softmax": "a softmax",
    "exp": "an exponential",
    "silu": "a gate's activation",
    "silu_backward": "the gradient of a gate's activation",
    "add": "a sum",
    "sub": "a difference",
    "mul": "an elementwise product",
    "div": "a quotient",
    "cat": "a concatenation",
    "clone": "a copy",
    "_to_copy": "a conversion",
    "zeros_like": "a fresh tensor of zeros",
    "embedding": "the embedding",
    "embedding_dense_backward": "the gradient of the embedding",
    "_foreach_norm": "the gradients' norm",
}
ATTENTION = "scaled_dot_product"


def operation_name(name: str) -> str:
    """An operation in plain words, with torch's name behind; in place or not."""
    words = OPERATIONS.get(name, OPERATIONS.get(name.removesuffix("_")))
    if ATTENTION in name:
        words = "the gradient of attention" if name.endswith("backward") else "attention"
    return f"{words} ({name})" if words else name


def size(count: int) -> str:
    """Bytes in GB (10^9), MB or kB."""
    if abs(count) >= 1e9:
        return f"{count / 1e9:.2f} GB"
    if abs(count) >= 1e6:
        return f"{count / 1e6:,.{0 if abs(count) >= 1e7 else 1}f} MB"
    return f"{count / 1e3:,.0f} kB"


UNITS = (("days", 86400.0), ("h", 3600.0), ("min", 60.0), ("s", 1.0))


def duration(band: Band) -> str:
    """A band of seconds in the largest unit of which it may be two, else in seconds."""
    unit, seconds = next((u for u in UNITS if band.high >= 2 * u[1]), UNITS[-1])
    low, high = (_three_places(value / seconds) for value in (band.low, band.high))
    return f"{low} to {high} {unit}"


def _three_places(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


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
    fits = any(candidate.fits for candidate in candidates)
    title = "the fastest that fit, and the runners-up" if fits else "none fits plainly; what needs least comes first"
    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    own = candidates[:shown]
    bases = {"none": "as it is", "int8": "8 bits", "nf4": "4 bits"}
    columns: dict[str, Callable[[Choice], str]] = {
        "base": lambda choice: bases[choice.quantization],
        "recompute": lambda choice: choice.recompute,
        "a pass": lambda choice: f"{choice.tokens_per_pass:,}",
        "optimizer": lambda choice: choice.optimizer,
    }
    more: dict[str, Callable[[Choice], str]] = {
        "rank": lambda choice: f"{choice.rank or 'as set'}",
        "length": lambda choice: f"{choice.max_length:,}" if choice.max_length else "as set",
    }
    varied = {name: cell for name, cell in more.items() if len({cell(c.choice) for c in candidates}) > 1}
    if varied and len({c.choice.optimizer for c in own}) == 1:
        del columns["optimizer"]  # for the width of a terminal
    columns |= varied
    for column in (*columns, "needs", "tokens/s", ""):
        left = column in ("base", "recompute", "optimizer", "")
        table.add_column(column, justify="left" if left else "right", no_wrap=True)
    for candidate in own:
        choice, rate = candidate.choice, "unknown"
        if candidate.seconds is not None:
            tokens = tokens_of(choice)
            rate = f"{tokens / candidate.seconds.high:,.0f}–{tokens / candidate.seconds.low:,.0f}"
        verdict = Text(*VERDICT[candidate.verdict])
        table.add_row(*(cell(choice) for cell in columns.values()), size(candidate.needed), rate, verdict)
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
    settings = plan.settings
    yield (
        f"planned in {settings['dtype']} with {settings['tokens_per_pass']:,} tokens a pass, recompute "
        f"{settings['recompute']}, optimizer {settings['optimizer']}"
    )
    where = {"forward": "the forward", "backward": "the backward", "update": "the optimizer's update"}[plan.phase]
    yield f"the peak is in {where}, at {operation_name(plan.operation)}; {size(plan.peak)} of tensors"
    if plan.retries and plan.verdict != "no":
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
    if CONTEXT in plan.parts:
        yield f"{CONTEXT}: {size(plan.parts[CONTEXT])}, what stands before the first tensor (plan/devices.py)"
    if HEAP in plan.parts:
        yield f"{HEAP}: {HEAP_SHARE:.0%} of all but weights and {size(HEAP_LEAST)}, from benchmarks/frontier.py"
    yield f"plain fit: up to {PLAIN_SHARE:.0%} of the memory, a margin of ours; above it is tight"
    yield "versions traced: " + ", ".join(f"{name} {number}" for name, number in plan.versions.items())


def _ordered(plan: Plan) -> list[tuple[str, int]]:
    return [(name, plan.parts[name]) for name in PARTS if name in plan.parts]
