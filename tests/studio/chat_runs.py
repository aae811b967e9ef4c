"""Run folders as the chat reads them: a recipe, a template, and weights that are there or not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from lorafit.run import write_json
from lorafit.studio.workspace import Workspace

RANK = 2
PLAIN = "{% for message in messages %}{{ message.content }}\n{% endfor %}"


def make_run(workspace: Workspace, name: str, base: str = "builtin", weights: str = "adapter", **settings: Any) -> Path:
    """settings: parts of the recipe, as `adapter={"method": "none"}`; weights: adapter, model, or empty for none."""
    folder = workspace.runs / name
    folder.mkdir()
    recipe = {"data": {"train": "builtin"}, **settings, "model": {"name": base, **settings.get("model", {})}}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    (folder / "template.jinja").write_text(PLAIN)
    write_json(folder / "data.json", {"template": "human-assistant"})
    write_json(folder / "status.json", {"state": "finished"})
    if weights:
        (folder / weights).mkdir()
        (folder / weights / ("adapter_config.json" if weights == "adapter" else "config.json")).write_text("{}")
    return folder


def fill_adapter(run: Path, layer: str, inputs: int, outputs: int) -> None:
    """An adapter on one layer, that changes nothing."""
    import numpy as np
    from safetensors.numpy import save_file

    content = {"peft_type": "LORA", "r": RANK, "lora_alpha": 4, "target_modules": [layer.rpartition(".")[2]]}
    content |= {"task_type": "CAUSAL_LM", "base_model_name_or_path": "builtin", "layers_to_transform": [0]}
    (run / "adapter" / "adapter_config.json").write_text(json.dumps(content))
    shapes = {"A": (RANK, inputs), "B": (outputs, RANK)}
    tensors = {f"base_model.model.{layer}.lora_{k}.weight": np.zeros(s, np.float32) for k, s in shapes.items()}
    save_file(tensors, run / "adapter" / "adapter_model.safetensors")
