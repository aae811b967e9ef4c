"""What is to be served: the base and the adapters that a command line names, put together."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lorafit.errors import AdapterError, RecipeError
from lorafit.model.settings import ModelSettings, Quantization
from lorafit.recipe import load_recipe
from lorafit.run import RunFolder
from lorafit.serve.adapter import recipe_of


@dataclass(frozen=True, slots=True)
class Wanted:
    """base: a folder or a hub id; adapters: (name, path) in order; run: the short form, a run and the base below it."""

    run: str | None = None
    base: str | None = None
    adapters: tuple[tuple[str, str], ...] = ()
    folder: Path | None = None
    quantization: Quantization | None = None
    remote_code: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """How the base is loaded, and what comes onto it. alone: a run that can have nobody beside it."""

    model: ModelSettings
    adapters: tuple[tuple[str, str], ...]
    folder: Path | None = None
    alone: RunFolder | None = None

    @property
    def base_name(self) -> str:
        """The base's own name among the models: the hub id, or the name of its folder."""
        path = Path(self.model.name).expanduser()
        return path.resolve().name if path.is_dir() else self.model.name


def named_adapter(text: str) -> tuple[str, str]:
    """(name, path) of NAME=PATH. Raises RecipeError."""
    name, found, path = text.partition("=")
    if not (name and found and path):
        raise RecipeError(f"--adapter {text}: name the model too, as in --adapter legal=runs/a")
    return name, path


def plan(wanted: Wanted) -> Plan:
    """Which base, and what on it. Raises RecipeError, RunError or AdapterError."""
    adapters = wanted.adapters
    if wanted.run is not None:
        if wanted.base is not None:
            raise RecipeError(f"{wanted.run} brings its own base: leave --base out, or name the run by --adapter.")
        run = RunFolder.open(wanted.run)
        model, alone = _of_run(run)
        if alone:
            if adapters or wanted.folder:
                raise AdapterError(f"{run.path} changed the base's own weights: it is served without other adapters.")
            return Plan(model, (), alone=run)
        adapters = ((run.path.resolve().name, wanted.run), *adapters)
    else:
        recipes = [recipe for _, path in adapters if (recipe := recipe_of(path)) is not None]
        if wanted.base is None and not recipes:
            raise RecipeError(
                "Nothing to serve: name a run (lorafit serve runs/NAME), or --base and --adapter NAME=RUN"
            )
        model = recipes[0].model if recipes else ModelSettings(name=wanted.base or "")
        if wanted.base is not None:
            model = model.model_copy(update={"name": wanted.base, "revision": None})
    if wanted.folder is not None and not wanted.folder.is_dir():
        raise AdapterError(f"--adapters-folder: there is no folder {wanted.folder}.")
    if wanted.quantization is not None:
        model = model.model_copy(update={"quantization": wanted.quantization})
    found = Plan(model, adapters, wanted.folder)
    names = [found.base_name, *(name for name, _ in adapters)]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise RecipeError(f"Two models would have the name {twice}: name the adapters otherwise, --adapter NAME=RUN")
    return found


def _of_run(run: RunFolder) -> tuple[ModelSettings, bool]:
    """The base of a run, and whether the run changed it."""
    recipe = load_recipe(run.recipe)
    adapter = recipe.adapter
    residual = adapter.variant == "pissa" and recipe.model.quantization != "none"
    return recipe.model, adapter.method == "none" or adapter.train_bias or residual
