"""An adapter on disk: what it is, and whether it belongs to the base. Only headers are read, no weights."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from peft import LoraConfig
from peft.utils.other import get_pattern_key
from safetensors import SafetensorError, safe_open

from lorafit.data.template import PLAIN_STOPS, ChatTemplate
from lorafit.errors import AdapterError, ModelError
from lorafit.identity import file_hash
from lorafit.model.hub import find_model, is_local
from lorafit.model.load import Base
from lorafit.recipe import Recipe, load_recipe
from lorafit.run import RunFolder, read_json

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."
_keys = itertools.count()


@dataclass(frozen=True, slots=True)
class Found:
    """What a path leads to: the folder of an adapter, and the run that it is of, if any."""

    folder: Path
    run: RunFolder | None = None
    recipe: Recipe | None = None

    @property
    def template(self) -> ChatTemplate | None:
        """The run's own."""
        if self.run is None:
            return None
        name = read_json(self.run.data)["template"]
        stops = (PLAIN_STOPS[name],) if name in PLAIN_STOPS else ()
        return ChatTemplate(name, self.run.template.read_text(encoding="utf-8"), stops)


@dataclass(eq=False, slots=True)
class Adapter:
    """One adapter as it was found once. Replaced, it is another object.

    key: its name within PEFT, another each time it is loaded. retired: no request may ask for it any more. remarks: for
    the log.
    """

    name: str
    folder: Path
    config: LoraConfig
    template: ChatTemplate | None
    remarks: tuple[str, ...] = ()
    retired: bool = False
    key: str = field(default_factory=lambda: f"a{next(_keys)}")

    def renew(self) -> None:
        """Take a new key."""
        self.key = f"a{next(_keys)}"


class Bearing:
    """What of a base an adapter has to fit. Made before any adapter is put on it."""

    def __init__(self, base: Base, name: str) -> None:
        self.base, self.name = base, name
        self.sizes = {
            path: features for path, module in base.model.named_modules() if (features := _features(module)) is not None
        }

    @cached_property
    def hashes(self) -> set[str]:
        return _hashes(self.base.folder)

    def is_named(self, name: str) -> bool:
        """Whether `name`, which an adapter gives as its base, is this one: the same folder or the same weights; where
        it is not on this disk, one of the same name."""
        if is_local(name):
            folder = find_model(name)
            return folder.resolve() == self.base.folder.resolve() or _hashes(folder) == self.hashes
        return _last(name) in (_last(self.name), _last(str(self.base.folder)))


def _features(module: Any) -> tuple[int, int] | None:
    """(inputs, outputs) of a linear layer, GPT-2's included; None for anything else."""
    if hasattr(module, "in_features") and hasattr(module, "out_features"):
        return int(module.in_features), int(module.out_features)
    return (int(module.nx), int(module.nf)) if hasattr(module, "nx") and hasattr(module, "nf") else None


def _hashes(folder: Path) -> set[str]:
    return {file_hash(path) for path in folder.glob("*.safetensors")}


def _last(name: str) -> str:
    """The last part of a hub id or a path; the model's name within the hub's cache."""
    cached = [part for part in Path(name).parts if part.startswith("models--")]
    return cached[-1].rpartition("--")[2] if cached else Path(name).name


def find(path: str | Path) -> Found:
    """A run folder, or a PEFT adapter's. Raises AdapterError or RunError."""
    folder = Path(path).expanduser()
    if (folder / CONFIG).is_file():
        return Found(folder)
    run = RunFolder.open(folder)
    recipe = load_recipe(run.recipe)
    if recipe.adapter.method == "none":
        raise AdapterError(
            f"{folder} is a full fine-tuning: it has no adapter, it is a model. Serve it alone: lorafit serve {folder}"
        )
    if not (run.adapter / CONFIG).is_file():
        raise AdapterError(f"{folder} holds no adapter (its state is {read_json(run.status).get('state', 'unknown')}).")
    return Found(run.adapter, run, recipe)


def prepare(name: str, path: str | Path, bearing: Bearing) -> Adapter:
    """Look an adapter over. Raises AdapterError or RunError when it cannot be put on this base beside others."""
    found = find(path)
    try:
        content = json.loads((found.folder / CONFIG).read_text(encoding="utf-8"))
        kind = content["peft_type"]
        config = LoraConfig.from_pretrained(found.folder) if kind == "LORA" else None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise AdapterError(f"{found.folder / CONFIG} cannot be read: {error}") from error
    if not isinstance(config, LoraConfig):
        raise AdapterError(f"{found.folder} holds an adapter of the kind {kind}; LoRA is served.")
    _check_alone(found, config)
    _check_base(found, content, bearing)
    _check_shapes(found.folder, config, bearing)
    config.inference_mode = True
    config.init_lora_weights = True  # some starts (PiSSA's) would change the base's weights
    config.lora_dropout = 0.0
    remarks: tuple[str, ...] = ()
    if found.recipe is not None and found.recipe.model.quantization != bearing.base.quantization:
        remarks = (
            f"{name} was trained on its base in {found.recipe.model.quantization} weights and is served on "
            f"{bearing.base.quantization}: its answers are a little other ones",
        )
    return Adapter(name, found.folder, config, found.template, remarks)


def _check_alone(found: Found, config: LoraConfig) -> None:
    adapter = found.recipe.adapter if found.recipe else None
    residual = adapter is not None and adapter.variant == "pissa" and found.recipe.model.quantization != "none"  # type: ignore[union-attr]
    if config.bias != "none" or residual:
        raise AdapterError(
            f"{found.folder} changes the base's own weights, so it cannot be served beside others. "
            f"Serve it alone: lorafit serve {found.run.path if found.run else 'RUN'}"
        )


def _check_base(found: Found, content: dict[str, Any], bearing: Bearing) -> None:
    named = found.recipe.model.name if found.recipe else content.get("base_model_name_or_path")
    try:
        same = not named or bearing.is_named(str(named))
    except ModelError:
        same = False
    if not same:
        raise AdapterError(
            f"The adapter in {found.folder} is of another base: it was trained on {named}, and this is {bearing.name} "
            f"({bearing.base.folder}).\nServe it with --base {named}"
        )


def _check_shapes(folder: Path, config: LoraConfig, bearing: Bearing) -> None:
    """Every pair of factors is on a layer of the base, of its size and of the rank that the config says."""
    try:
        with safe_open(folder / WEIGHTS, framework="pt") as tensors:
            shapes = {key: tuple(tensors.get_slice(key).get_shape()) for key in tensors.keys()}
    except (OSError, SafetensorError) as error:
        raise AdapterError(f"{folder / WEIGHTS} cannot be read: {error}") from error
    seen = 0
    for key, shape in shapes.items():
        path, found, part = key.removeprefix(PREFIX).partition(".lora_")
        if not found or not part.startswith(("A.weight", "B.weight")):
            continue
        seen += 1
        layer = bearing.sizes.get(path)
        if layer is None:
            raise AdapterError(f"The adapter in {folder} is of another base: {bearing.name} has no layer {path}.")
        rank_key = get_pattern_key((config.rank_pattern or {}).keys(), path)
        rank = (config.rank_pattern or {}).get(rank_key, config.r)
        is_a = part.startswith("A")
        size, found_rank = (shape[1], shape[0]) if is_a else (shape[0], shape[1])
        if size != layer[0 if is_a else 1]:
            raise AdapterError(
                f"The adapter in {folder} is of another base: {path} is {layer[0]} to {layer[1]} in {bearing.name}, "
                f"lora_{part[0]} is made for {size}."
            )
        if found_rank != rank:
            raise AdapterError(
                f"The adapter in {folder} has rank {found_rank} at {path}, its {CONFIG} says {rank}. "
                "One of the two files is of another run: copy both anew."
            )
    if not seen and not any(".lora_embedding_" in key for key in shapes):
        raise AdapterError(f"{folder / WEIGHTS} holds no LoRA weights.")


def recipe_of(path: str | Path) -> Recipe | None:
    """The recipe of the run that an adapter is of; None for a plain PEFT folder. Raises AdapterError or RunError."""
    return find(path).recipe
