"""lorafit sweep: the same recipe with several values of its settings and several seeds, measured."""

from __future__ import annotations

import argparse
from typing import Any

from lorafit.cli.compare import add_study_arguments, conduct_study
from lorafit.errors import RecipeError


def add_parser(verbs: Any) -> None:
    parser = verbs.add_parser(
        "sweep",
        help="train with several values of a setting and compare",
        description="Train the recipe with each value: `lorafit sweep recipe.yaml --set adapter.rank=1,2,4,8 "
        "--seeds 3`. Several --set make a grid. Stopped, the same command goes on.",
    )
    add_study_arguments(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from lorafit.study.axes import value_axes

    if not args.set and args.seeds == 1:
        raise RecipeError("Nothing to vary: say --set adapter.rank=1,2,4,8, or --seeds 3.")
    return conduct_study(args, value_axes(args.set))
