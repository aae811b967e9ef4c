"""Which layers an adapter goes on: found by structure, so that no list of model names is needed."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from torch import nn
from transformers.pytorch_utils import Conv1D

from lorafit.errors import AdapterError

QUERY_VALUE = {"q_proj", "v_proj", "q", "v", "query", "value", "wq", "wv", "q_lin", "v_lin"}
# One layer makes query, key and value here; GPT-2 calls it c_attn.
FUSED = {"c_attn", "qkv_proj", "query_key_value", "qkv", "Wqkv", "W_pack", "in_proj", "attn_qkv"}


def linear_layers(model: Any) -> dict[str, nn.Module]:
    """Every linear layer (bitsandbytes' and GPT-2's Conv1D too) but the output head, by its path."""
    head = model.get_output_embeddings()
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, (nn.Linear, Conv1D)) and module is not head
    }


def in_and_out(layer: nn.Module) -> tuple[int, int]:
    """(inputs, outputs) of a linear layer; 4-bit weights are packed, so their own shape does not tell."""
    if isinstance(layer, Conv1D):
        return int(layer.nx), int(layer.nf)
    assert isinstance(layer, nn.Linear)
    return layer.in_features, layer.out_features


def select(model: Any, targets: str | list[str]) -> tuple[list[str], list[str]]:
    """(paths of the layers that `targets` names, entries of a list that matched none).

    Raises AdapterError, listing the linear layers there are, when nothing matches or a regular expression is broken.
    """
    layers = linear_layers(model)
    if isinstance(targets, list):
        found = {entry: [name for name in layers if _named(name, entry)] for entry in targets}
        chosen = [name for name in layers if any(name in names for names in found.values())]
        unmatched = [entry for entry, names in found.items() if not names]
    else:
        chosen, unmatched = [name for name in layers if _matches(name, targets)], []
    if not chosen:
        raise AdapterError(
            f"adapter.targets: {targets!r} matches none of the linear layers of this model.\n"
            f"There are: {', '.join(kinds(layers))}. Use some of these names, or all-linear."
        )
    return chosen, unmatched


def kinds(names: Iterable[str]) -> list[str]:
    """Paths with their layer numbers taken out and repeats removed: `model.layers.*.mlp.up_proj`."""
    return list(dict.fromkeys(re.sub(r"\.\d+(?=\.)", ".*", name) for name in names))


def _matches(name: str, targets: str) -> bool:
    if targets == "all-linear":
        return True
    last = name.rpartition(".")[2]
    in_attention = any("attn" in part.lower() or "attention" in part.lower() for part in name.split("."))
    if targets == "attention":
        return in_attention
    if targets == "attention-qv":
        return in_attention and last in QUERY_VALUE | FUSED
    if re.fullmatch(r"[\w.]+", targets):
        return _named(name, targets)
    try:
        return re.fullmatch(targets, name) is not None
    except re.error as error:
        raise AdapterError(f"adapter.targets: {targets!r} is not a regular expression: {error}.") from None


def _named(name: str, entry: str) -> bool:
    return name == entry or name.endswith(f".{entry}")


def shortest_names(model: Any, chosen: list[str]) -> list[str]:
    """The shortest path endings that name `chosen` and no other module, as PEFT matches them.

    They are what adapter_config.json holds: `q_proj` reads better than 32 paths, and fits a deeper sister model.
    """
    everything = [name for name, _ in model.named_modules()]
    wanted = set(chosen)
    for parts in (1, 2, 3):
        endings = sorted({".".join(name.split(".")[-parts:]) for name in chosen})
        if {name for name in everything if any(_named(name, ending) for ending in endings)} == wanted:
            return endings
    return sorted(chosen)
