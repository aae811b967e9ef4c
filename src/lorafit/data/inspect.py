"""The data report: what is in the samples, and a sample as stretches that are trained on or not."""

from __future__ import annotations

from collections.abc import Iterator

from lorafit.data.prepare import Prepared
from lorafit.data.template import Renderer
from lorafit.records import Sample


def stretches(renderer: Renderer, sample: Sample) -> Iterator[tuple[str, bool]]:
    """(text, trained) of a sample in order, decoded from the very tokens that are trained on.

    A character that is cut into several tokens stays whole: a stretch ends where the mask changes.
    """
    start, shown = 0, ""
    for end in range(1, len(sample) + 1):
        if end == len(sample) or sample.trained[end] != sample.trained[start]:
            # Decoded from the beginning: some tokenizers drop the space that the first token of a text brings.
            text = renderer.decode(sample.token_ids[:end])
            yield text[len(shown) :], bool(sample.trained[start])
            start, shown = end, text


def report_lines(prepared: Prepared) -> Iterator[tuple[str, str]]:
    """(what, figure) pairs of the data report, in plain words."""
    summary = prepared.summary
    yield "rows", f"{summary['rows']:,} in {summary['train']}"
    yield "template", summary["template"]
    for what, key in (("training", "training"), ("held out", "held_out_rows")):
        part = summary[key]
        if not part["samples"]:
            yield what, "none"
            continue
        share = part["supervised_tokens"] / part["tokens"]
        yield what, f"{part['samples']:,} samples, {part['tokens']:,} tokens, {share:.0%} of them trained on"
        yield "  length", f"{part['shortest']} to {part['longest']} tokens, half below {part['median']}"
    if summary["cut"]:
        yield (
            "cut",
            f"{summary['cut']:,} to {summary['max_length']} tokens, {summary['cut_within_answer']:,} in the answer",
        )
    if summary["rejected"]:
        yield "left out", f"{summary['rejected']:,} rows"
