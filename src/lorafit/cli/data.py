"""lorafit data: the report of data files, as the model will see them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lorafit.cli.arguments import positive

if TYPE_CHECKING:
    from lorafit.observe.console import Console

REJECTED = 5  # rows that are named


def add_parser(verbs: Any) -> None:
    parser = verbs.add_parser(
        "data",
        help="look at data files as the model will see them",
        description="Read data files, render them for a model, and say what is in them, problems first; no weights are "
        "needed. Of the samples, what is trained on is green; in a pipe it stands between ⟦ and ⟧.",
    )
    parser.add_argument("files", nargs="+", metavar="FILE", help="files, folders, hub data sets as in data.train")
    parser.add_argument("--model", required=True, help="whose tokenizer and template are used: a folder, a hub id, ...")
    parser.add_argument("--held-out", default="0", metavar="DATA", help="held-out data, or a share to split off (0)")
    parser.add_argument("--template", default="auto", help="the chat template (auto)")
    parser.add_argument("--max-length", type=int, default=2048, help="the longest sample in tokens (2048)")
    parser.add_argument("--epochs", type=float, default=3.0, help="for the number of updates (3)")
    parser.add_argument("--batch-size", type=positive, default=16, help="for the number of updates (16)")
    parser.add_argument("--samples", type=int, default=5, help="how many samples to show (5)")
    parser.add_argument("--html", type=Path, metavar="OUT.html", help="write the report as a page, too")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report as JSON, too")
    parser.add_argument("--trust-remote-code", action="store_true", help="run the model folder's own code (off)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from lorafit.observe.console import Console
    from lorafit.reading import look_at_data
    from lorafit.report.data_page import write_data_page
    from lorafit.run import write_json

    console = Console()
    data = {
        "train": args.files[0] if len(args.files) == 1 else args.files,
        "held_out": args.held_out,
        "template": args.template,
        "max_length": args.max_length,
    }
    train = {"epochs": args.epochs, "batch_size": args.batch_size}
    prepared, report = look_at_data(args.model, data, train, console, max(0, args.samples), args.trust_remote_code)
    for rejected in prepared.rejected[:REJECTED]:
        console.say(f"  left out  {rejected}")
    for example in report["examples"]:
        _show(console, example)
    if args.json:
        write_json(args.json, report)
        console.say(f"\nwritten: {args.json}")
    if args.html:
        console.say(f"\nwritten: {write_data_page(report, args.model, args.html)}")
    return 0


def _show(console: Console, example: dict[str, Any]) -> None:
    from rich.text import Text

    console.say(
        f"\n{example['file']}, row {example['row']}, {example['why']}: {example['tokens']} tokens, "
        f"{example['supervised_tokens']} trained on",
        style="bold",
    )
    text = Text()
    for piece, trained in example["stretches"]:
        if console.terminal.is_terminal:
            text.append(piece, style="green" if trained else "dim")
        else:
            text.append(f"⟦{piece}⟧" if trained else piece)
    console.terminal.print(text, soft_wrap=True)  # no line break that the model does not see
