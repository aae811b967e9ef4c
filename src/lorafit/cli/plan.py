"""lorafit plan: what fits, how fast, and where the memory goes, before anything is downloaded."""

from __future__ import annotations

import argparse
import contextlib
import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lorafit.cli.arguments import recipe_and_overrides
from lorafit.errors import RecipeError
from lorafit.recipe import METHODS, load_recipe

FLAGS: tuple[tuple[str, str, Any, str, str], ...] = (
    ("--model", "model.name", str, "NAME", "a hub id, a folder, a config.json, or a built-in shape such as llama-2-7b"),
    ("--data", "data.train", str, "FILE", "plan for these samples; without, 16 examples of 2,048 tokens an update"),
    ("--max-length", "data.max_length", int, "TOKENS", "the longest sample in tokens (2048)"),
    ("--rank", "adapter.rank", int, "R", "columns of the low-rank update (16)"),
    ("--targets", "adapter.targets", str, "LAYERS", "which layers get an adapter (all-linear)"),
    ("--batch-size", "train.batch_size", int, "N", "examples in one update (16)"),
)


def add_parser(verbs: Any) -> None:
    parser = verbs.add_parser(
        "plan",
        help="say what fits, how fast, before anything is downloaded",
        description="Simulate the training step on tensors without memory: `lorafit plan --model Qwen/Qwen3-8B --gpu "
        "24GB`, or `lorafit plan recipe.yaml --gpu rtx4090`. Of the model its config.json is all that is needed.",
        epilog="Exit code 0 when it fits, 3 when it does not.",
    )
    parser.add_argument("recipe", nargs="?", help="a recipe (YAML); key=value pairs after it change single settings")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="settings that override recipe and flags")
    parser.add_argument("--method", choices=METHODS, help="lora, qlora, int8 or full; with --fit: only this one")
    for flag, setting, kind, shown, text in FLAGS:
        parser.add_argument(flag, dest=setting, type=kind, metavar=shown, help=text)
    parser.add_argument("--gpu", default="this", help="a card (rtx4090, a100-40gb), a size (24GB), cpu, or this (this)")
    parser.add_argument("--cards", type=Path, metavar="FILE", help="a YAML file with cards of your own")
    parser.add_argument(
        "--allow", choices=("rank", "length"), action="append", default=[], metavar="rank|length",
        help="with --fit: a smaller rank, or shorter samples, where the settings do not fit; may be given twice",
    )  # fmt: skip
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--fit", action="store_true", help="search the fastest settings that fit, with the runners-up")
    mode.add_argument("--table", action="store_true", help="which method fits on which card, at which length")
    parser.add_argument("--explain", action="store_true", help="print every constant with its source")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the plan here (plan.json)")
    parser.add_argument("--trust-remote-code", action="store_true", help="run the model folder's own code (off)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    recipe_file, overrides = recipe_and_overrides(args)
    given = vars(args)
    flags = {setting: given[setting] for _, setting, _, _, _ in FLAGS if given[setting] is not None}
    if args.method:
        flags |= METHODS[args.method]
    if not recipe_file and "model.name" not in flags and not any(o.startswith("model.name=") for o in overrides):
        raise RecipeError(
            "Nothing to plan. Name a model (lorafit plan --model Qwen/Qwen3-8B --gpu 24GB) or a recipe "
            "(lorafit plan recipe.yaml --gpu rtx4090)."
        )
    if args.allow and not args.fit:
        raise RecipeError("--allow says what --fit may change: add --fit.")
    with_data = bool(recipe_file) or "data.train" in flags or any(o.startswith("data.train=") for o in overrides)
    recipe = load_recipe(recipe_file, overrides, flags if with_data else {"data.train": "none", **flags})

    with _rare_collections():
        from lorafit.planning import plan_recipe

        return plan_recipe(
            recipe,
            gpu=args.gpu,
            cards=args.cards,
            with_data=with_data,
            free_method=not args.method and not recipe_file,
            fit=args.fit,
            allow=args.allow,
            table=args.table,
            explain=args.explain,
            to=args.json,
            remote_code=args.trust_remote_code,
        )


@contextlib.contextmanager
def _rare_collections() -> Iterator[None]:
    """Python looks for cycles seldom: what imports make stays, and looking through it again takes a fifth of a plan."""
    before = gc.get_threshold()
    gc.set_threshold(100_000, 50, 1000)
    try:
        yield
    finally:
        gc.set_threshold(*before)
