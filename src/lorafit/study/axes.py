"""What a study varies: methods, dotted keys and seeds, multiplied out to runs."""

from __future__ import annotations

import difflib
import hashlib
import itertools
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from lorafit.errors import RecipeError
from lorafit.recipe import METHODS, Recipe, load_recipe

METHOD, SEED = "method", "train.seed"
# What the study itself sets for every run.
OWN = {"name": "the study names its runs", "output": "use --output", SEED: "use --seeds"}
LONGEST_NAME = 40

Axes = dict[str, list[Any]]


@dataclass(frozen=True, slots=True)
class Planned:
    """A run to be. settings: the value of each axis, the seed apart; name: its folder."""

    name: str
    settings: Mapping[str, Any]
    seed: int
    recipe: Recipe


def method_axis(text: str) -> Axes:
    """The axis of `--methods full,lora`. Raises RecipeError for an unknown method, with the nearest."""
    names = list(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))
    for name in names:
        if name not in METHODS:
            near = difflib.get_close_matches(name, METHODS, n=1)
            hint = f"Did you mean {near[0]}? " if near else ""
            raise RecipeError(f"--methods: there is no method {name!r}. {hint}Methods: {', '.join(METHODS)}.")
    if not names:
        raise RecipeError(f"--methods names none. Methods: {', '.join(METHODS)}.")
    return {METHOD: names}


def value_axes(texts: Iterable[str]) -> Axes:
    """The axes of `--set key=value,value`; values are YAML. Raises RecipeError for what is not written so."""
    axes: Axes = {}
    for text in texts:
        key, equals, listed = (part.strip() for part in text.partition("="))
        if not equals or not key:
            raise RecipeError(f"--set {text}: it is written key=value,value, for instance adapter.rank=1,2,4.")
        if key in OWN:
            raise RecipeError(f"--set {key}: {OWN[key]}.")
        if key in axes:
            raise RecipeError(f"--set {key} is given twice; put its values behind one another: {key}=1,2.")
        try:
            values = yaml.safe_load(f"[{listed}]")
        except yaml.YAMLError:
            raise RecipeError(
                f"--set {text}: the values are not YAML; put those with special signs in quotes."
            ) from None
        if not values:
            raise RecipeError(f"--set {text}: no values behind the equals sign.")
        axes[key] = _distinct(map(_number, values))
    return axes


def merged(stored: Axes, asked: Axes) -> Axes:
    """The values of both, numbers in order; the keys have to be the same."""
    return {key: _in_order(_distinct([*stored.get(key, []), *values])) for key, values in asked.items()}


def runs_of(base: Recipe, axes: Axes, seeds: Sequence[int], folder: str) -> list[Planned]:
    """Every combination of values with every seed, the seeds of one combination behind one another.

    folder: where the run folders go. Raises RecipeError with every fault that a value makes.
    """
    faults: dict[str, None] = {}
    runs: list[Planned] = []
    labels = _short_keys(axes)
    for values in itertools.product(*axes.values()):
        settings = dict(zip(axes, values, strict=True))
        stem = "-".join(_slug(labels[key], value) for key, value in settings.items()) or "run"
        for seed in seeds:
            name = f"{stem}-seed-{seed}"
            # What was not set stays so: some defaults depend on one another.
            flags = {**base.model_dump(mode="json", exclude_unset=True), "name": name, "output": folder}
            words = [f"{key}={_json(value)}" for key, value in _flat_settings(settings)]
            try:
                recipe = load_recipe(None, [*words, f"{SEED}={seed}"], flags)
            except RecipeError as error:
                faults |= dict.fromkeys(error.faults)
            else:
                runs.append(Planned(name, settings, seed, recipe))
    if faults:
        raise RecipeError("The study cannot be made of this recipe:\n" + "\n".join(f"  {fault}" for fault in faults))
    return runs


def label(settings: Mapping[str, Any]) -> str:
    """The values of a run as a person reads them: `rank 8, lora`."""
    keys = _short_keys(settings)
    parts = (f"{keys[key]} {shown(value)}" if keys[key] else shown(value) for key, value in settings.items())
    return ", ".join(parts) or "as written"


def short_key(key: str, keys: Iterable[str]) -> str:
    """A key without its part of the recipe where that is clear; `method` speaks for itself."""
    return _short_keys(keys)[key] or key


def shown(value: Any) -> str:
    return value if isinstance(value, str) else _json(value)


def _flat_settings(settings: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        yield from METHODS[value].items() if key == METHOD else [(key, value)]


def _distinct(values: Iterable[Any]) -> list[Any]:
    """Each once; 1 and true are two, as they are in YAML."""
    return list({_json(value): value for value in values}.values())


def _in_order(values: list[Any]) -> list[Any]:
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    return sorted(values) if numbers else values


def _short_keys(keys: Iterable[str]) -> dict[str, str]:
    keys = list(keys)
    lasts = [key.rpartition(".")[2] for key in keys]
    return {
        key: "" if key == METHOD else last.replace("_", " ") if lasts.count(last) == 1 else key
        for key, last in zip(keys, lasts, strict=True)
    }


def _slug(key: str, value: Any) -> str:
    """A value as a part of a folder's name; with a hash where not all of it can stand there."""
    whole = f"{key.replace(' ', '-')}-{shown(value)}".removeprefix("-")
    text = re.sub(r"[^\w.-]+", "-", whole).strip("-.")[:LONGEST_NAME]
    return text if text == whole else f"{text}-{hashlib.sha256(whole.encode()).hexdigest()[:6]}"


def _number(value: Any) -> Any:
    """1e-3, which PyYAML reads as a text, is a number."""
    return float(value) if isinstance(value, str) and re.fullmatch(r"[-+]?\d+\.?\d*[eE][-+]?\d+", value) else value


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)
