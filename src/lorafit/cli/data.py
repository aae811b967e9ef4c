"""lorafit data: what is in a data file, and samples with what is trained on in colour."""

from __future__ import annotations

import argparse
from typing import Any


def add_parser(verbs: Any) -> None:
    parser = verbs.add_parser(
        "data",
        help="look at a data file as the model will see it",
        description="Read a data file, render it for a model, and show samples. What is trained on is green; in a pipe "
        "it stands between ⟦ and ⟧.",
    )
    parser.add_argument("file", help="JSON or JSONL in Alpaca or messages form, or `builtin`")
    parser.add_argument("--model", required=True, help="the base whose tokenizer and template are used")
    parser.add_argument("--template", default="auto", help="the chat template (auto)")
    parser.add_argument("--max-length", type=int, default=2048, help="the longest sample in tokens (2048)")
    parser.add_argument("--samples", type=int, default=2, help="how many samples to show (2)")
    parser.add_argument("--trust-remote-code", action="store_true", help="run the model folder's own code (off)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from rich.text import Text

    from lorafit.data.inspect import stretches
    from lorafit.observe.console import Console
    from lorafit.reading import look_at_data

    console = Console()
    prepared, renderer = look_at_data(
        args.model, args.file, args.template, args.max_length, console, args.trust_remote_code
    )
    for rejected in prepared.rejected[:20]:
        console.warn(str(rejected))
    for sample in prepared.training.samples[: args.samples]:
        console.say(f"\n{sample.source}: {len(sample)} tokens, {sample.supervised_tokens} trained on", style="bold")
        text = Text()
        for piece, trained in stretches(renderer, sample):
            if console.terminal.is_terminal:
                text.append(piece, style="green" if trained else "dim")
            else:
                text.append(f"⟦{piece}⟧" if trained else piece)
        console.terminal.print(text, soft_wrap=True)  # no line break that the model does not see
    return 0
