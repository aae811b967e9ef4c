"""A run opened again: its model ready to answer, to be merged and taken away."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from lorafit import hardware
from lorafit.adapters.save import load_trained
from lorafit.data.template import PLAIN_STOPS, ChatTemplate, Renderer, choose_template
from lorafit.errors import LorafitError
from lorafit.export.gguf import Exported, export_gguf, reference_of
from lorafit.export.merge import ANSWER_TOKENS, Merged, merge
from lorafit.identity import file_hash
from lorafit.model.hub import find_model, load_tokenizer, read_config
from lorafit.model.load import Base, load_base, longest_sequence, quiet_transformers
from lorafit.observe.console import Console
from lorafit.recipe import Recipe, load_recipe
from lorafit.records import Message
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


def open_run(path: str | Path, checkpoint: int | None = None, remote_code: bool = False) -> Opened:
    """Load what a run trained: its best weights, or those of a checkpoint.

    Raises RunError for a folder that is no run, AdapterError or ModelError when its parts are missing.
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
    folder = trained if full else find_model(recipe.model.name, recipe.model.revision, remote_code)
    tokenizer = load_tokenizer(trained, remote_code)
    base = load_base(folder, chosen, recipe.model.quantization, recipe.model.double_quantization, remote_code)
    model = base.model.eval() if full else load_trained(base, recipe.adapter, trained)
    name = read_json(run.data)["template"]
    stops = (PLAIN_STOPS[name],) if name in PLAIN_STOPS else ()
    template = ChatTemplate(name, run.template.read_text(encoding="utf-8"), stops)
    return Opened(run, recipe, base, model, Renderer(tokenizer, template), trained)


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


def export_merged(opened: Opened, target: Path, dtype: str, console: Console) -> Merged:
    """Merge a run and check the result on the prompts that the run put aside for it.

    dtype `auto` keeps float32 where the base is stored so, and bfloat16 otherwise.
    """
    stored = str(read_config(opened.base.folder).get("dtype") or read_config(opened.base.folder).get("torch_dtype"))
    if dtype == "auto":
        dtype = stored if stored in hardware.DTYPES else "bfloat16"
    _, prompts = _put_aside(opened)
    return merge(
        opened.base,
        opened.model,
        opened.renderer.tokenizer,
        prompts,
        opened.renderer.stop_ids,
        target,
        hardware.DTYPES[dtype],
        console.say,
    )


def export_to_gguf(opened: Opened, form: str, target: Path, console: Console) -> Exported:
    """The merged model as a GGUF file, which llama.cpp opens and answers with like transformers does.

    The run is merged first where it has not been yet; `target` is a new folder.
    """
    folder = opened.run.path / "export" / "merged"
    if not folder.is_dir():
        export_merged(opened, folder, "auto", console)
    dialogues, prompts = _put_aside(opened)
    with console.working(f"answering as {folder.name} does"):
        with quiet_transformers():
            model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        reference = reference_of(model, prompts, opened.renderer.stop_ids, ANSWER_TOKENS)
    del model
    name = opened.run.path.resolve().name
    return export_gguf(folder, target, form, opened.renderer, reference, dialogues, name, console.say)


def _put_aside(opened: Opened) -> tuple[list[list[Message]], list[list[int]]]:
    """The prompts that a run keeps for checks, as turns and as ids; without those that leave no room for an answer."""
    lines = (opened.run.self_check / "prompts.jsonl").read_text(encoding="utf-8").splitlines()
    dialogues = [[Message(**turn) for turn in json.loads(line)] for line in lines]
    prompts = [opened.renderer.prompt_ids(dialogue) for dialogue in dialogues]
    longest = longest_sequence(opened.model)
    kept = [i for i, ids in enumerate(prompts) if longest is None or len(ids) + ANSWER_TOKENS <= longest]
    return [dialogues[i] for i in kept], [prompts[i] for i in kept]
