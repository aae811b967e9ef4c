"""A run opened again: its parts found, its model ready to answer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lorafit import hardware
from lorafit.adapters.save import load_trained
from lorafit.data.template import PLAIN_STOPS, ChatTemplate, Renderer, choose_template
from lorafit.errors import LorafitError
from lorafit.identity import file_hash
from lorafit.model.hub import find_model, load_tokenizer
from lorafit.model.load import Base, load_base
from lorafit.recipe import Recipe, load_recipe
from lorafit.run import RunFolder, read_json


@dataclass(frozen=True, slots=True)
class Opened:
    """A run's model, ready to answer: the tuned model on its base, and the renderer that it was trained with."""

    run: RunFolder
    recipe: Recipe
    base: Base
    model: Any
    renderer: Renderer
    trained: Path | None = None

    def fingerprint(self) -> dict[str, str]:
        """What tells this model from another: hashes of its configuration and weights, and of what was trained."""
        folders = {"base": self.base.folder} | ({"trained": self.trained} if self.trained else {})
        return {
            f"{name}: {path.name}": file_hash(path)
            for name, folder in folders.items()
            for path in sorted((*folder.glob("*config.json"), *folder.glob("*.safetensors*")))
        }

    @property
    def is_bare(self) -> bool:
        """Whether there is nothing but a base."""
        return self.model is self.base.model and self.recipe.adapter.method == "lora"

    @property
    def method(self) -> str:
        """What was done to the base, in words."""
        if self.is_bare:
            return ""
        if self.recipe.adapter.method == "none":
            return "full fine-tuning"
        return {"none": "LoRA", "nf4": "QLoRA (nf4)", "int8": "LoRA on 8 bits"}[self.base.quantization]

    @property
    def has_base_below(self) -> bool:
        """Whether the adapter can be switched off to hear the base: not after full fine-tuning, with trained biases,
        or where the quantised base is PiSSA's residual."""
        adapter = self.recipe.adapter
        residual = adapter.variant == "pissa" and self.base.quantization != "none"
        return adapter.method == "lora" and not adapter.train_bias and not residual


@dataclass(frozen=True, slots=True)
class Located:
    """A run's parts, no model loaded yet. base: the folder of the base, which after full fine-tuning is `trained`."""

    run: RunFolder
    recipe: Recipe
    base: Path
    trained: Path
    renderer: Renderer
    hardware: hardware.Hardware
    remote_code: bool = False

    def open(self) -> Opened:
        """Raises AdapterError or ModelError when the parts do not fit."""
        model = self.recipe.model
        base = load_base(self.base, self.hardware, model.quantization, model.double_quantization, self.remote_code)
        full = self.recipe.adapter.method == "none"
        tuned = base.model.eval() if full else load_trained(base, self.recipe.adapter, self.trained)
        return Opened(self.run, self.recipe, base, tuned, self.renderer, self.trained)


def locate_run(path: str | Path, checkpoint: int | None = None, remote_code: bool = False) -> Located:
    """Find what a run trained: its best weights, or those of a checkpoint.

    Raises RunError for a folder that is no run, ModelError when the base or a tokenizer is missing.
    """
    run = RunFolder.open(path)
    recipe = load_recipe(run.recipe)
    full = recipe.adapter.method == "none"
    trained = run.model if full else run.adapter
    if checkpoint is not None:
        trained = run.checkpoints / f"{checkpoint:06d}"
    if not trained.is_dir():
        state = read_json(run.status).get("state", "unknown") if run.status.is_file() else "unknown"
        raise LorafitError(f"{run.path} holds no trained weights at {trained.name} (its state is {state}).")
    chosen = hardware.choose(recipe.model.device, recipe.model.dtype)
    base = trained if full else find_model(recipe.model.name, recipe.model.revision, remote_code)
    name = read_json(run.data)["template"]
    stops = (PLAIN_STOPS[name],) if name in PLAIN_STOPS else ()
    template = ChatTemplate(name, run.template.read_text(encoding="utf-8"), stops)
    renderer = Renderer(load_tokenizer(trained, remote_code), template)
    return Located(run, recipe, base, trained, renderer, chosen, remote_code)


def open_run(path: str | Path, checkpoint: int | None = None, remote_code: bool = False) -> Opened:
    """Load what a run trained: its best weights, or those of a checkpoint.

    Raises RunError for a folder that is no run, AdapterError or ModelError when its parts are missing.
    """
    return locate_run(path, checkpoint, remote_code).open()


def open_bare(
    name: str,
    adapter: Path | None = None,
    template: str = "auto",
    quantization: str = "none",
    remote_code: bool = False,
) -> Opened:
    """A model that is no run: a folder or a hub id, alone or with a PEFT adapter; its run folder is evaluations/NAME.

    Raises ModelError, AdapterError and DataError when the parts are missing or do not fit.
    """
    recipe = Recipe(model={"name": name, "quantization": quantization}, data={"train": "none", "template": template})
    chosen = hardware.choose(recipe.model.device, recipe.model.dtype)
    folder = find_model(name, None, remote_code)
    tokenizer = load_tokenizer(folder, remote_code)
    renderer = Renderer(tokenizer, choose_template(tokenizer, template))
    base = load_base(folder, chosen, recipe.model.quantization, remote_code=remote_code)
    model = base.model.eval() if adapter is None else load_trained(base, recipe.adapter, adapter)
    return Opened(RunFolder(bare_folder(name, adapter)), recipe, base, model, renderer, adapter)


def bare_folder(name: str, adapter: Path | None = None) -> Path:
    """Where what is found out about a model that is no run is kept."""
    return Path("evaluations") / (Path(name).name if adapter is None else f"{Path(name).name}+{adapter.name}")
