"""lorafit report: one page that shows a run."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add_parser(verbs: Any) -> None:
    parser = verbs.add_parser(
        "report",
        help="a run as one page for the browser",
        description="Make one self-contained page of a run folder: findings, curves, answers before and after, memory "
        "planned and measured, data, recipe. Works for a run that goes on or has failed, too.",
    )
    parser.add_argument("run_folder", type=Path, help="a run folder, such as runs/NAME")
    parser.add_argument("--output", type=Path, metavar="FILE", help="where to (RUN/report.html)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from lorafit.report.page import write_report

    print(f"report: {write_report(args.run_folder, args.output)}")
    return 0
