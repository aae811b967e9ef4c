"""lorafit compare: methods side by side on the same data and seed, measured."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from lorafit.errors import RecipeError
from lorafit.recipe import METHODS, load_recipe


def add_parser(verbs: Any) -> None:
    parser = verbs.add_parser(
        "compare",
        help="train with several methods and compare what each gives and costs",
        description="Train the recipe with each method on the same data and seed: `lorafit compare recipe.yaml "
        "--methods full,lora,qlora,int8`. Stopped, the same command goes on.",
    )
    parser.add_argument(
        "--methods", default=",".join(METHODS), metavar="A,B", help=f"of {', '.join(METHODS)} (all of them)"
    )
    add_study_arguments(parser)
    parser.set_defaults(run=run)


def add_study_arguments(parser: argparse.ArgumentParser) -> None:
    """What compare and sweep have in common."""
    parser.add_argument("recipe", help="a recipe (YAML); key=value pairs after it change single settings")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="settings that override the recipe")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=A,B",
        help="values of a setting; more than once: all together",
    )
    parser.add_argument("--seeds", type=int, default=1, metavar="N", help="seeds for each, from the recipe's on (1)")
    parser.add_argument("--name", metavar="NAME", help="the study's folder (the recipe's name and the verb)")
    parser.add_argument("--output", type=Path, default=Path("studies"), metavar="FOLDER", help="where to (studies)")
    parser.add_argument("--retry", action="store_true", help="also what failed before")
    parser.add_argument("--yes", action="store_true", help="also hundreds of runs")
    parser.add_argument("--trust-remote-code", action="store_true", help="run the model folder's own code (off)")


def run(args: argparse.Namespace) -> int:
    from lorafit.study.axes import method_axis, value_axes

    return conduct_study(args, {**method_axis(args.methods), **value_axes(args.set)})


def conduct_study(args: argparse.Namespace, axes: dict[str, list[Any]]) -> int:
    """Raises RecipeError for a faulty recipe or command."""
    if args.seeds < 1:
        raise RecipeError(f"--seeds {args.seeds}: at least one.")
    recipe = load_recipe(args.recipe, args.overrides)
    name = args.name or f"{Path(args.recipe).stem}-{args.verb}"

    from lorafit.study.conduct import conduct

    _, code = conduct(recipe, axes, args.seeds, args.output / name, args.retry, args.yes, args.trust_remote_code)
    return code
