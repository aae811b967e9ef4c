"""The data report as lines of a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

BLOCKS = "▁▂▃▄▅▆▇█"
# Why rows are left out; a rule of cleaning stands under its own name (clean.empty).
REASONS = {"row": "cannot be used", "length": "too long", "template": "refused by the template"}
MOST = 6  # languages, sources, reasons; the others are counted


def report_lines(report: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(what, figure) pairs of the data report, in plain words. report: data.json, or the part of it that there is."""
    yield from _rows(report)
    for what, key in (("training", "training"), ("held out", "held_out_rows")):
        part = report[key]
        if not part["samples"]:
            yield what, "none"
            continue
        share = part["supervised_tokens"] / part["tokens"]
        yield what, f"{part['samples']:,} samples, {part['tokens']:,} tokens, {share:.0%} of them trained on"
    for what, key in (("prompt", "prompt"), ("answer", "answer"), ("both", "sample")):
        if figures := length_words(report["lengths"][key]):
            yield what, figures
    yield "cut", cut_words(report)
    yield from _template(report)
    yield from _found(report)
    if languages := report.get("languages"):
        of = (
            f" (of {languages['looked_at']:,} answers)"
            if languages["looked_at"] < report["training"]["samples"]
            else ""
        )
        yield "language", counted_words(languages["counts"], share=True) + of
    if base := report.get("base"):
        yield "base", f"looks {_as_adjective(base['looks'])}: {'; '.join(base['evidence'])}"
    if report.get("first_window"):
        yield "stream", "these are figures of its first window"
    elif updates := report.get("updates"):
        yield "updates", updates_words(updates, report["training"]["samples"])


def _rows(report: dict[str, Any]) -> Iterator[tuple[str, str]]:
    kept = report["kept"]
    held = f", {kept['held_out']:,} held out" if report["held_out"] else ""
    yield "rows", f"{report['rows']:,} read from {report['train']}; {kept['training']:,} kept for training{held}"
    if report["rejected"]:
        reasons = {REASONS.get(reason, reason): count for reason, count in report["rejected_for"].items()}
        yield "left out", f"{report['rejected']:,} rows: {counted_words(reasons)}"
    sources = {name: figures for name, figures in report["sources"].items() if figures}
    tokens = sum(figures["tokens"] for figures in sources.values())
    if len(sources) > 1 and tokens:
        yield "sources", counted_words({name: figures["tokens"] for name, figures in sources.items()}, share=True)
    for forms in report["forms"].values():
        if len(forms) > 1:
            yield "forms", counted_words(forms)


def _template(report: dict[str, Any]) -> Iterator[tuple[str, str]]:
    facts = report.get("template_facts")
    if facts is None:
        yield "template", report["template"]
        return
    ends = " ".join(facts["end_of_turn"]) or "no token"
    yield "template", f"{facts['name']}, from {facts['origin']}; ends a turn with {ends}; {thinking_words(report)}"


def thinking_words(report: dict[str, Any]) -> str:
    """Thinking in the data against the template's mode."""
    facts, rows = report["template_facts"], report["counted"].get("thinking", 0)
    if facts["opens_thinking"]:
        mode = "opens a thinking block when it asks"
    elif facts["closes_thinking"]:
        mode = "brings an empty thinking block when it asks"
    else:
        mode = "shows thinking" if facts["thinking"] else "knows no thinking"
    return f"{mode}, {rows:,} rows have some" if rows else f"{mode}, no row has any"


def _found(report: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if unended := report["counted"].get("end_not_trained"):
        yield "unended", f"{unended:,} rows whose end-of-turn token is not trained on"
    if report["also_in_training"]:
        of = report["conversations"]["held_out"]
        yield "leakage", f"{report['also_in_training']:,} of {of:,} held-out prompts stand in the training rows too"
    for rule in (report["cleaning"] or {}).get("rules", ()):
        if rule["found"]:
            yield "cleaning", rule_words(rule)


def rule_words(rule: dict[str, Any]) -> str:
    """A cleaning rule of the receipt and what it did."""
    what, of = rule["rule"].replace("_", " "), f"of {rule['seen']:,} rows"
    if rule["dropped"]:
        done = f"{rule['dropped']:,} {of} dropped"
    elif rule["changed"]:
        done = f"{rule['changed']:,} {of} changed"
    else:
        done = f"{rule['found']:,} {of} found, nothing done"
    kinds = counted_words(rule["kinds"])
    return f"{what}: {done}" + (f" ({kinds})" if kinds else "")


def cut_words(report: dict[str, Any]) -> str:
    if not report["cut"]:
        return f"no row is longer than {report['max_length']:,} tokens and cut"
    kept = sum(report["conversations"].values())
    lost = report["cut_within_answer"]
    return (
        f"{report['cut']:,} of {kept:,} rows to {report['max_length']:,} tokens; {lost:,} ({lost / kept:.1%}) lose the "
        "end of their answer"
    )


def length_words(figures: dict[str, Any]) -> str:
    """A histogram in blocks and the percentiles; empty for nothing, and for lengths that are all 0."""
    if not figures["count"] or not figures["max"]:
        return ""
    low, high = figures["histogram"]["edges"][0], figures["histogram"]["edges"][-1]
    return (
        f"{low} {blocks(figures['histogram']['rows'])} {high}  half up to {figures['p50']:,} tokens, 95 % up to "
        f"{figures['p95']:,}, longest {figures['max']:,}"
    )


def blocks(counts: Sequence[int]) -> str:
    """Counts as blocks of eight heights, by the greatest; a dot for none."""
    most = max(counts, default=0)
    return "".join(BLOCKS[(8 * count - 1) // most] if count else "·" for count in counts)


def updates_words(updates: dict[str, Any], samples: int) -> str:
    capped = f", at most {updates['max_updates']:,}" if updates["max_updates"] else ""
    return (
        f"{updates['count']:,}: {samples:,} samples × {updates['epochs']:g} epochs / {updates['batch_size']} a "
        f"batch{capped}"
    )


def counted_words(counts: dict[str, int], share: bool = False) -> str:
    """The greatest of some counts, and how many others there are; as shares of them all where asked for."""
    total = sum(counts.values()) or 1
    ordered = sorted(counts.items(), key=lambda pair: -pair[1])
    words = [f"{name} {count / total:.1%}" if share else f"{name} {count:,}" for name, count in ordered[:MOST]]
    return ", ".join(words) + (f", {len(ordered) - MOST} more" if len(ordered) > MOST else "")


def _as_adjective(looks: str) -> str:
    return f"like {looks}" if looks.startswith("a ") else looks
