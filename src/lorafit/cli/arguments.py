"""What several verbs read from the command line alike."""

from __future__ import annotations

import argparse


def recipe_and_overrides(args: argparse.Namespace) -> tuple[str | None, list[str]]:
    """The recipe's file, which may be left out, and the key=value pairs after it."""
    if args.recipe and "=" in args.recipe:
        return None, [args.recipe, *args.overrides]
    return args.recipe, list(args.overrides)
