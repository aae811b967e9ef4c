"""Fold what a run trained into the weights that it was trained against, shard by shard, and write a plain model.

After QLoRA those weights are the dequantised 4-bit ones: the 16-bit original is another function than was trained.
A tensor of the base is read, folded in float32, rounded once, and written with its shard; no model is ever whole in
memory. Where a trained layer is no tensor of its own in the shards (transformers splits or joins some weights while
loading), `whole.py` merges the model as one.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers.pytorch_utils import Conv1D

from lorafit.errors import ExportError
from lorafit.export.fold import Adapter, check_fits, folded
from lorafit.export.weights import ShardWriter, Weights, cast
from lorafit.memory import freed_memory_goes_back
from lorafit.model.hub import read_config
from lorafit.model.load import empty_model
from lorafit.model.quantize import dequantized_weight, is_quantized
from lorafit.run import read_json, write_text

EOS = "eos_token_id"
TOKENS = (EOS, "bos_token_id", "pad_token_id")


@dataclass(frozen=True, slots=True)
class Trained:
    """What a merge is made of. base: the folder of the weights; computes_in: what the run computed in; adapter: None
    after full fine-tuning, when `base` is what was trained; quantized: the tuned model of a QLoRA run, whose
    dequantised weights are folded into, or None to fold into the base as it is stored."""

    base: Path
    computes_in: torch.dtype
    adapter: Adapter | None
    quantized: Any | None = None
    remote_code: bool = False


class Shards:
    """The tensors of the base, each with the parameter that it is and with what was trained of it."""

    def __init__(self, trained: Trained) -> None:
        """Raises ModelError for a base that cannot be read and AdapterError for an adapter of another one."""
        self.trained = trained
        self._weights = Weights(trained.base)
        model = empty_model(trained.base, trained.remote_code)
        self._prefix = f"{model.base_model_prefix}."
        self._turned = {f"{name}.weight" for name, layer in model.named_modules() if isinstance(layer, Conv1D)}
        self._parameters = {name: tuple(value.shape) for name, value in model.state_dict().items()}
        turned = {name: shape[::-1] if name in self._turned else shape for name, shape in self._parameters.items()}
        if trained.adapter:
            check_fits(trained.adapter, turned, trained.base)
        self._quantized = _quantized_layers(trained.quantized)

    def obstacle(self) -> str | None:
        """Why the model cannot be merged shard by shard: a changed parameter that is no tensor of the shards."""
        adapter = self.trained.adapter
        changed = {f"{path}.weight" for path in (*self._quantized, *(adapter.layers if adapter else ()))}
        changed |= set(adapter.replaced) if adapter else set()
        stored = {self._parameter(name): shape for name, shape in self._weights.shapes.items()}
        for name in sorted(changed):
            if stored.get(name) != self._parameters.get(name):
                return f"{name} is no tensor of its own in the files of {self.trained.base}"
        return None

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Every tensor by its name in the base, with what was trained in it. Raises ExportError for a sum that is not
        finite."""
        for name, stored in self._weights.tensors():
            yield name, self._merged(self._parameter(name), stored)

    @torch.no_grad()
    def _merged(self, name: str, stored: Tensor) -> Tensor:
        adapter, path = self.trained.adapter, name.removesuffix(".weight")
        if adapter and name in adapter.replaced:
            return adapter.replaced[name]
        if path in self._quantized:
            weight = dequantized_weight(self._quantized[path]).float().cpu()
        else:
            weight = cast(stored, self.trained.computes_in)
            weight = weight.T if name in self._turned else weight
        if adapter and path in adapter.layers:
            weight = folded(adapter, path, weight)
        return weight.T if name in self._turned else weight

    def _parameter(self, stored: str) -> str:
        """What the model calls a tensor: some checkpoints leave the name of the inner model out."""
        return stored if stored in self._parameters else f"{self._prefix}{stored}"


def _quantized_layers(tuned: Any) -> Mapping[str, Any]:
    """Path in the base model to each layer that keeps its weight in a bitsandbytes format."""
    if tuned is None:
        return {}
    inner = tuned.get_base_model() if hasattr(tuned, "peft_config") else tuned
    layers = {name: getattr(layer, "base_layer", layer) for name, layer in inner.named_modules()}
    return {name: layer for name, layer in layers.items() if is_quantized(layer) and not name.endswith(".base_layer")}


def write_merged(shards: Shards, folder: Path, dtype: torch.dtype, shard_bytes: int) -> None:
    """Write the weights to `folder` in `dtype`, in files of at most `shard_bytes` (one tensor may be larger)."""
    writer = ShardWriter(folder, shard_bytes)
    with freed_memory_goes_back():
        for name, tensor in shards.tensors():
            writer.add(name, cast(tensor, dtype))
        writer.close()


def write_surroundings(trained: Trained, tokenizer: Any, stop_ids: Sequence[int], folder: Path, dtype: str) -> None:
    """Config, generation config, tokenizer with its chat template, and the model's own code where it was allowed.

    An answer ends at what ended it in training, whatever the base's own files say.
    """
    config = {name: value for name, value in read_config(trained.base).items() if name != "torch_dtype"}
    for part in (config, config.get("text_config")):
        if isinstance(part, dict):
            part["dtype"] = dtype
    if rows := _trained_vocabulary(trained.adapter):
        config.get("text_config", config)["vocab_size"] = rows
    for name, content in (
        ("config.json", config),
        ("generation_config.json", generation_config(trained.base, config, stop_ids)),
    ):
        write_text(folder / name, json.dumps(content, ensure_ascii=False, indent=2) + "\n")
    tokenizer.save_pretrained(folder)
    if trained.remote_code:
        for code in trained.base.glob("*.py"):
            shutil.copyfile(code, folder / code.name)


def generation_config(base: Path, config: Mapping[str, Any], stop_ids: Sequence[int]) -> dict[str, Any]:
    """The base's own generation config, or what its config.json says of tokens, ended by `stop_ids` too."""
    file = base / "generation_config.json"
    if file.is_file():
        kept = read_json(file)
    else:
        kept = {name: config[name] for name in TOKENS if config.get(name) is not None}
    own = kept.get(EOS)
    ends = dict.fromkeys([*stop_ids, *(own if isinstance(own, list) else [] if own is None else [own])])
    if ends:
        kept[EOS] = next(iter(ends)) if len(ends) == 1 else list(ends)
    return kept


def _trained_vocabulary(adapter: Adapter | None) -> int | None:
    """Rows of an embedding that was trained as a whole, which may be more than the base's."""
    tables = [value for value in (adapter.replaced if adapter else {}).values() if value.dim() == 2]
    return tables[0].shape[0] if tables else None


def check_empty(target: Path) -> None:
    """Raises ExportError where something stands already: nothing is ever overwritten."""
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ExportError(f"{target} exists already and is not empty. Name another folder with --output.")
