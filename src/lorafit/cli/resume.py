"""lorafit resume: go on with a run that was stopped, or make a finished one longer."""

from __future__ import annotations

import argparse
from typing import Any

from lorafit.cli.train import say_result


def add_parser(verbs: Any) -> None:
    parser = verbs.add_parser(
        "resume",
        help="go on with a run that was stopped",
        description="Go on from the newest whole checkpoint, to the same bits as if the run had never been stopped. "
        "`lorafit resume runs/NAME train.epochs=5` makes a run longer.",
    )
    parser.add_argument("run_folder", help="a run folder, such as runs/NAME")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="epochs, max_updates, patience, intervals")
    parser.add_argument(
        "--anyway", action="store_true", help="go on although data, recipe, base or versions have changed"
    )
    parser.add_argument("--trust-remote-code", action="store_true", help="run the model folder's own code (off)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from lorafit.resuming import resume

    return say_result(resume(args.run_folder, args.overrides, args.anyway, args.trust_remote_code))
