"""What several verbs read from the command line alike."""

from __future__ import annotations

import argparse


def recipe_and_overrides(args: argparse.Namespace) -> tuple[str | None, list[str]]:
    """The recipe's file, which may be left out, and the key=value pairs after it."""
    if args.recipe and "=" in args.recipe:
        return None, [args.recipe, *args.overrides]
    return args.recipe, list(args.overrides)


def positive(text: str) -> int:
    """An argparse type: a whole number from 1 on."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"should be 1 or more, found {text}")
    return number


def port(text: str) -> int:
    """An argparse type: where a server listens; 0 for a free one."""
    number = int(text)
    if not 0 <= number < 65536:
        raise argparse.ArgumentTypeError(f"should be from 0 to 65535, found {text}")
    return number
