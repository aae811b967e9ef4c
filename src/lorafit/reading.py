"""The data of a recipe, read and rendered for its model: no weights are needed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lorafit import builtin, hardware
from lorafit.data.inspect import report_lines
from lorafit.data.prepare import Prepared, prepare
from lorafit.data.template import Renderer, choose_template
from lorafit.model.hub import find_description, load_tokenizer
from lorafit.model.load import empty_model, longest_sequence
from lorafit.observe.console import Console
from lorafit.recipe import Recipe, parse_recipe
from lorafit.records import Sample


def model_of(recipe: Recipe, remote_code: bool) -> tuple[Path, hardware.Hardware, Any]:
    chosen = hardware.choose(recipe.model.device, recipe.model.dtype)
    folder = find_description(recipe.model.name, recipe.model.revision, remote_code)
    return folder, chosen, load_tokenizer(folder, remote_code)


def read(recipe: Recipe, tokenizer: Any, empty: Any, console: Console) -> tuple[Renderer, Prepared]:
    renderer = Renderer(tokenizer, choose_template(tokenizer, recipe.data.template))
    tokenizer.chat_template = renderer.template.jinja  # so that every folder saved with this tokenizer carries it
    return renderer, prepare_data(recipe, renderer, longest_sequence(empty), console)


def read_again(recipe: Recipe, remote_code: bool, console: Console) -> tuple[hardware.Hardware, Renderer, Prepared]:
    """What a run that exists already is carried out with; its recipe is settled."""
    folder, chosen, tokenizer = model_of(recipe, remote_code)
    return chosen, *read(recipe, tokenizer, empty_model(folder, remote_code), console)


def samples_of(recipe: Recipe, remote_code: bool, console: Console) -> Sequence[Sample]:
    """The training samples of a recipe, without the model's weights or its device (`lorafit plan` with data)."""
    folder = find_description(recipe.model.name, recipe.model.revision, remote_code)
    tokenizer = load_tokenizer(folder, remote_code)
    renderer = Renderer(tokenizer, choose_template(tokenizer, recipe.data.template))
    longest = longest_sequence(empty_model(folder, remote_code))
    recipe = recipe.model_copy(update={"data": recipe.data.model_copy(update={"held_out": held_out_of(recipe)})})
    return prepare_data(recipe, renderer, longest, console).training.samples


def look_at_data(
    model: str, train: str, template: str, max_length: int, console: Console, remote_code: bool = False
) -> tuple[Prepared, Renderer]:
    """The data report of one file for one model, without loading the model's weights."""
    settings = {"train": train, "held_out": 0.0, "template": template, "max_length": max_length, "bad_rows": "drop"}
    recipe = parse_recipe({"model": {"name": model}, "data": settings})
    folder, _, tokenizer = model_of(recipe, remote_code)
    renderer = Renderer(tokenizer, choose_template(tokenizer, template))
    longest = longest_sequence(empty_model(folder, remote_code))
    return prepare_data(recipe, renderer, longest, console), renderer


def held_out_of(recipe: Recipe) -> float | str:
    """As asked; the built-in data brings a held-out file of its own."""
    brought = recipe.data.train == builtin.NAME and "held_out" not in recipe.data.model_fields_set
    return builtin.NAME if brought else recipe.data.held_out


def prepare_data(recipe: Recipe, renderer: Renderer, longest: int | None, console: Console) -> Prepared:
    """Read and render the data, with its report; the model's own limit bounds data.max_length."""
    data = recipe.data
    max_length = data.max_length
    if longest is not None and longest < max_length:
        console.say(f"samples are bounded to the model's {longest} tokens (data.max_length is {max_length})")
        max_length = longest
    train = str(builtin.TRAIN) if data.train == builtin.NAME else data.train
    held_out = str(builtin.HELD_OUT) if data.held_out == builtin.NAME else data.held_out
    with console.working("reading the data"):
        prepared = prepare(
            renderer, train, held_out, max_length, data.too_long, data.bad_rows, data.limit, recipe.train.seed
        )
    for what, figure in report_lines(prepared):
        console.say(f"{what:>10}  {figure}")
    for text in prepared.warnings:
        console.warn(text)
    return prepared
