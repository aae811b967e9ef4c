"""lorafit advise: settings for a model, its data and a device, each with its reason and source."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from lorafit.errors import RecipeError


def add_parser(verbs: Any) -> None:
    parser = verbs.add_parser(
        "advise",
        help="propose every setting from your data, with reasons, and write a recipe",
        description="Look at the data, plan each method for the device, and propose a recipe: `lorafit advise --model "
        "Qwen/Qwen3-8B --data rows.json --gpu 24GB --output recipe.yaml`. Of the model only config.json and tokenizer "
        "are needed.",
        epilog="Exit code 0 when something fits, 3 when nothing does.",
    )
    parser.add_argument("--model", required=True, metavar="NAME", help="a hub id, a folder, or a shape: llama-2-7b")
    parser.add_argument("--data", required=True, nargs="+", metavar="FILE", help="files or folders, as in data.train")
    parser.add_argument("--gpu", default="this", help="a card (rtx4090, a100-40gb), a size (24GB), cpu, or this (this)")
    parser.add_argument(
        "--task", metavar="TASK", help="assistant, domain, code, style, json or classification (guessed)"
    )
    parser.add_argument(
        "--larger", nargs="+", default=[], metavar="NAME", help="larger models to try on the same device"
    )
    parser.add_argument("--tokenizer", metavar="NAME", help="count with this one where the model's is not at hand")
    parser.add_argument("--output", type=Path, metavar="RECIPE.yaml", help="write the recipe here")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the advice as JSON, too")
    parser.add_argument("--force", action="store_true", help="overwrite what --output and --json name")
    parser.add_argument("--trust-remote-code", action="store_true", help="run the model folder's own code (off)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from lorafit.advise.advice import advice
    from lorafit.advise.show import figure
    from lorafit.advise.write import check_output, write_recipe
    from lorafit.observe.console import Console
    from lorafit.run import write_json

    if args.output and args.output == args.json:
        raise RecipeError("--output and --json name the same file.")
    for flag, path in (("--output", args.output), ("--json", args.json)):
        if path is not None:
            check_output(path, args.force, flag)
    console = Console()
    found = advice(
        args.model, args.data, args.gpu, args.task, args.larger, args.tokenizer, console, args.trust_remote_code
    )
    console.show(figure(found))
    if args.json:
        write_json(args.json, found.to_json())
        console.say(f"written: {args.json}")
    if args.output:
        write_recipe(found, args.output)
        console.say(f"written: {args.output}; train with: lorafit train {args.output}")
    else:
        console.say("nothing was written: --output recipe.yaml writes this as a recipe that `lorafit train` takes")
    return 0
