"""lorafit train: from a recipe, or from a model and a data file, to a run folder."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lorafit.cli.arguments import recipe_and_overrides
from lorafit.errors import RecipeError
from lorafit.recipe import METHODS, load_recipe, settings_table

if TYPE_CHECKING:
    from lorafit.pipeline import Result

# Flag, the setting it writes, its type and its name in --help.
FLAGS: tuple[tuple[str, str, Any, str], ...] = (
    ("--model", "model.name", str, "NAME"),
    ("--data", "data.train", str, "FILE"),
    ("--held-out", "data.held_out", str, "FILE_OR_SHARE"),
    ("--max-length", "data.max_length", int, "TOKENS"),
    ("--template", "data.template", str, "NAME"),
    ("--rank", "adapter.rank", int, "R"),
    ("--targets", "adapter.targets", str, "LAYERS"),
    ("--epochs", "train.epochs", float, "N"),
    ("--batch-size", "train.batch_size", int, "N"),
    ("--learning-rate", "train.learning_rate", str, "RATE"),
    ("--seed", "train.seed", int, "N"),
    ("--name", "name", str, "NAME"),
    ("--output", "output", str, "FOLDER"),
)


def add_parser(verbs: Any) -> None:
    settings = "\n".join(f"  {name} ({default})\n      {text}" for name, default, text in settings_table())
    parser = verbs.add_parser(
        "train",
        help="fine-tune a model",
        description="Fine-tune a model: `lorafit train recipe.yaml train.epochs=2`, or\n"
        "`lorafit train --model FOLDER_OR_ID --data FILE --method qlora`.",
        epilog=f"settings, for the recipe or as key=value (default):\n{settings}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("recipe", nargs="?", help="a recipe (YAML); key=value pairs after it change single settings")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="settings that override recipe and flags")
    parser.add_argument("--method", choices=METHODS, help="shorthand for model.quantization and adapter.method")
    descriptions = {name: text for name, _, text in settings_table()}
    for flag, setting, kind, shown in FLAGS:
        parser.add_argument(flag, dest=setting, type=kind, metavar=shown, help=descriptions[setting])
    parser.add_argument("--streaming", action="store_true", help=descriptions["data.streaming"])
    parser.add_argument(
        "--no-self-check", action="store_true", help="do not compare the fast step with the plain one before training"
    )
    parser.add_argument(
        "--trust-remote-code", action="store_true", help="run Python code that the model's folder brings (off)"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    recipe_file, overrides = recipe_and_overrides(args)
    given = vars(args)
    flags = {setting: given[setting] for _, setting, _, _ in FLAGS if given[setting] is not None}
    if args.streaming:
        flags["data.streaming"] = True
    if args.no_self_check:
        flags["train.self_check"] = False
    if args.method:
        flags |= METHODS[args.method]
    if not recipe_file and not flags and not overrides:
        raise RecipeError(
            "Nothing to train. Name a recipe (lorafit train recipe.yaml), or a model and data "
            "(lorafit train --model FOLDER_OR_ID --data FILE)."
        )
    if recipe_file and (Path(recipe_file).parent / "status.json").is_file():
        flags.setdefault("name", None)  # the recipe of a run, run again: its name is taken
    recipe = load_recipe(recipe_file, overrides, flags)

    from lorafit.pipeline import finetune

    return say_result(finetune(recipe, remote_code=args.trust_remote_code))


def say_result(result: Result) -> int:
    """Where the run is and what to do next; returns the exit code."""
    print(f"run folder: {result.folder}")
    if result.interrupted:
        print(f"next: lorafit resume {result.folder}")
        return 130
    print(f"next: lorafit chat {result.folder}    lorafit export {result.folder} --to merged")
    return 0
