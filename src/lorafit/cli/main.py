"""`lorafit VERB ...`: one verb a file.

Exit codes: 0 done, 2 bad input, 3 does not fit, 4 a self-check failed, 130 interrupted.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import warnings
from collections.abc import Sequence

from rich.console import Console

from lorafit import __version__
from lorafit.errors import LorafitError

VERBS = (
    "train", "resume", "plan", "advise", "data", "data_generate", "evaluate", "compare", "sweep",
    "chat", "serve", "export", "doctor", "report", "studio", "demo",
)  # fmt: skip
# Verbs that take key=value pairs.
WITH_SETTINGS = ("train", "resume", "plan", "compare", "sweep")


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lorafit", description="Fit a language model to your data, on your hardware.")
    parser.add_argument("--version", action="version", version=f"lorafit {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for verb in VERBS:
        importlib.import_module(f"lorafit.cli.{verb}").add_parser(verbs)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    # Libraries below warn one another of their next versions; a user can do nothing about it.
    warnings.filterwarnings("ignore", category=FutureWarning)
    parser = build_parser()
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:2] == ["data", "generate"]:  # a file of that name is ./generate
        words[:2] = ["data-generate"]
    args, rest = parser.parse_known_args(words)
    pairs = all("=" in word and not word.startswith("-") for word in rest)
    if rest and not (args.verb in WITH_SETTINGS and pairs):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:  # key=value pairs that stand after a flag
        args.overrides += rest
    terminal = Console(stderr=True, highlight=False)
    try:
        code: int = args.run(args)
        return code
    except LorafitError as error:
        terminal.print(f"error: {error}", style="red", markup=False, soft_wrap=True)
        return error.exit_code
    except KeyboardInterrupt:
        terminal.print("interrupted", style="yellow")
        return 130
    except BrokenPipeError:  # `lorafit data ... | head`
        sys.stderr.close()
        return 0


if __name__ == "__main__":
    sys.exit(main())
