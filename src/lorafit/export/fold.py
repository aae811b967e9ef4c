"""An adapter folded into the weights of its base, one layer at a time.

The arithmetic is PEFT's own merge, of a model that has one layer: what PEFT does to the whole model comes out.
"""

from __future__ import annotations

import copy
import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from lorafit.errors import AdapterError, ExportError

PREFIX = "base_model.model."


@dataclass(frozen=True, slots=True)
class Adapter:
    """What was trained. layers: path of a layer to its adapter, names within the layer to tensors; replaced: names of
    the base's own parameters (norms, biases) to what they became; state: all of it, as PEFT names it."""

    config: Any
    layers: Mapping[str, Mapping[str, Tensor]]
    replaced: Mapping[str, Tensor]
    state: Mapping[str, Tensor]
    source: str


def read_adapter(folder: Path) -> Adapter:
    """The adapter of a folder. Raises AdapterError when it cannot be read or its rank is not its config's."""
    from peft import PeftConfig

    try:
        config = PeftConfig.from_pretrained(str(folder))
        state = load_file(folder / "adapter_model.safetensors")
    except (SafetensorError, OSError, ValueError, TypeError, KeyError) as error:
        raise AdapterError(f"The adapter in {folder} cannot be read: {' '.join(str(error).split())}") from error
    return adapter_of(config, state, str(folder))


def adapter_of(config: Any, state: Mapping[str, Tensor], source: str) -> Adapter:
    """The adapter in a PEFT state (as `get_peft_model_state_dict` gives it). Raises as `read_adapter` does."""
    layers: dict[str, dict[str, Tensor]] = {}
    replaced: dict[str, Tensor] = {}
    for key, value in state.items():
        name = key.removeprefix(PREFIX)
        path, found, kind = name.partition(".lora_")
        if found:
            layers.setdefault(path, {})[f"lora_{kind}"] = value
        else:
            replaced[name.replace(".base_layer.", ".")] = value
    for path, tensors in layers.items():
        _check_rank(config, path, tensors, source)
    return Adapter(config, layers, replaced, state, source)


def _check_rank(config: Any, path: str, tensors: Mapping[str, Tensor], source: str) -> None:
    patterns = {pattern: rank for pattern, rank in config.rank_pattern.items() if re.search(rf"(^|\.){pattern}$", path)}
    wanted = next(iter(patterns.values()), config.r)
    ranks = [
        tensors[name].shape[side] for name, side in (("lora_A.weight", 0), ("lora_B.weight", 1)) if name in tensors
    ]
    if len(ranks) != 2:
        raise AdapterError(f"The adapter in {source} has half of {path}: {', '.join(tensors)}.")
    if ranks != [wanted, wanted]:
        raise AdapterError(
            f"The adapter in {source} is of rank {ranks[0]} at {path}; its adapter_config.json says {wanted}.\n"
            "The two files are of different runs: copy both from one."
        )


def check_fits(adapter: Adapter, shapes: Mapping[str, tuple[int, ...]], base: Path) -> None:
    """shapes: of the base's parameters, matrices as [out, in]. Raises AdapterError for an adapter of another base."""
    for path, tensors in adapter.layers.items():
        shape = shapes.get(f"{path}.weight")
        if shape is None:
            near = difflib.get_close_matches(path, [name.removesuffix(".weight") for name in shapes], n=1)
            hint = f" (the nearest is {near[0]})" if near else ""
            raise _other_base(adapter, base, f"{path} is no layer of that model{hint}")
        made_for = (tensors["lora_B.weight"].shape[0], tensors["lora_A.weight"].shape[1])
        if shape != made_for:
            raise _other_base(adapter, base, f"{path} is {list(shape)} there, and {list(made_for)} in the adapter")
    for name, value in adapter.replaced.items():
        if name not in shapes:
            raise _other_base(adapter, base, f"{name} is no parameter of that model")
        if shapes[name][1:] != tuple(value.shape)[1:] or (value.dim() == 1 and shapes[name] != tuple(value.shape)):
            raise _other_base(
                adapter, base, f"{name} is {list(shapes[name])} there, {list(value.shape)} in the adapter"
            )


def _other_base(adapter: Adapter, base: Path, what: str) -> AdapterError:
    return AdapterError(f"The adapter in {adapter.source} is not of the base {base}: {what}.")


def folded(adapter: Adapter, path: str, weight: Tensor) -> Tensor:
    """The weight [out, in] of the layer `path` with its adapter in it, float32.

    Raises ExportError when the sum is not finite.
    """
    from peft import inject_adapter_in_model, set_peft_model_state_dict

    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
    layer.weight = nn.Parameter(weight.float(), requires_grad=False)
    config = copy.copy(adapter.config)
    config.fan_in_fan_out = False  # GPT-2's Conv1D has been turned
    config.modules_to_save, config.bias = None, "none"
    tree = _tree(path, layer)
    with torch.random.fork_rng(devices=[]):  # PEFT draws a start that is thrown away
        inject_adapter_in_model(config, tree)
    state = {f"{path}.{name}": value for name, value in adapter.layers[path].items()}
    set_peft_model_state_dict(tree, state)
    adapted: Any = tree.get_submodule(path)
    try:
        adapted.merge(safe_merge=True)
    except ValueError as error:
        raise ExportError(f"{path} cannot be folded: {error}") from error
    merged: Tensor = adapted.get_base_layer().weight.data
    return merged


def _tree(path: str, layer: nn.Module) -> nn.Module:
    """A model that has `layer` at `path` and nothing else."""
    for name in reversed(path.split(".")):
        parent = nn.Module()
        parent.add_module(name, layer)
        layer = parent
    return layer
