"""lorafit demo: the whole pipeline on the built-in model and data."""

from __future__ import annotations

import argparse
from typing import Any


def add_parser(verbs: Any) -> None:
    parser = verbs.add_parser(
        "demo",
        help="the whole pipeline on the built-in model and data",
        description="Fine-tune the built-in base with QLoRA on the built-in data and show it before and after.",
    )
    parser.add_argument("--output", default="runs", metavar="FOLDER", help="the folder for the run folder (runs)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from lorafit.demo import run_demo

    result = run_demo(args.output)
    print(f"run folder: {result.folder}")
    print(f"next: lorafit chat {result.folder}    lorafit export {result.folder} --to merged")
    return 130 if result.interrupted else 0
