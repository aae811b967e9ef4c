"""What is evaluated: a run, or a model that is none, found but not loaded yet."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lorafit.errors import RecipeError
from lorafit.model.hub import find_description
from lorafit.observe.console import Console
from lorafit.opened import Opened, bare_folder, open_bare, open_run
from lorafit.reading import read_again
from lorafit.recipe import load_recipe
from lorafit.records import Conversation
from lorafit.run import RunFolder


@dataclass(frozen=True, slots=True)
class Subject:
    """open: loads it. folder: where its evaluations are kept. held_out: the rows of its own held-out data, None where
    it has none."""

    open: Callable[[], Opened]
    folder: Path
    max_new_tokens: int
    held_out: Callable[[], Iterator[Conversation]] | None


def subject_of(
    name: str,
    adapter: Path | None,
    checkpoint: int | None,
    template: str,
    quantization: str,
    remote_code: bool,
    console: Console,
) -> Subject:
    """Raises RunError, ModelError or RecipeError for what is neither a run nor a model, and for settings of the other
    kind."""
    path = Path(name)
    if path.is_dir() and not (path / "recipe.yaml").is_file() and (path / "config.json").is_file():
        is_run = False
    else:
        is_run = path.exists() or path.parent.name == "runs"
    if not is_run:
        if checkpoint is not None:
            raise RecipeError(f"--checkpoint is of a run, and {name} is a model.")
        if adapter is not None and not adapter.is_dir():
            raise RecipeError(f"No adapter folder {adapter}.")
        find_description(name, None, remote_code)  # said before anything is read
        if adapter is not None and (other := trained_on(adapter)) and Path(other).name != path.name:
            console.warn(f"{adapter} says that it was trained on {other}; on another base it is another function.")
        return Subject(
            lambda: open_bare(name, adapter, template, quantization, remote_code), bare_folder(name, adapter), 128, None
        )
    if adapter is not None:
        raise RecipeError(f"{name} is a run and has its own adapter; --adapter is for a model that is no run.")
    run = RunFolder.open(path)
    recipe = load_recipe(run.recipe)

    def held_out() -> Iterator[Conversation]:
        _, _, data = read_again(recipe, remote_code, console)
        return iter(data.held_out.conversations)

    return Subject(lambda: open_run(path, checkpoint, remote_code), path, recipe.evaluate.max_new_tokens, held_out)


def trained_on(adapter: Path) -> str:
    """The base that an adapter names, "" where it names none."""
    try:
        return str(json.loads((adapter / "adapter_config.json").read_text()).get("base_model_name_or_path") or "")
    except (OSError, ValueError):
        return ""  # said when it is loaded
