"""A transformers folder, read tensor by tensor: a model larger than memory is never whole in it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.pytorch_utils import Conv1D

from lorafit.errors import ExportError
from lorafit.export.gguf.families import Family, family_of, transformed
from lorafit.export.gguf.metadata import head_size
from lorafit.export.gguf.rope import llama3_factors
from lorafit.model.load import quiet_transformers


@dataclass(frozen=True, slots=True)
class Source:
    """One tensor of the model: its name in GGUF and in transformers, its shape in GGUF ([out, in])."""

    gguf_name: str
    name: str
    shape: tuple[int, ...]
    transposed: bool


class Checkpoint:
    """The weights of a folder, as llama.cpp computes with them."""

    def __init__(self, folder: Path) -> None:
        """Raises ExportError for an architecture that is not known, and for a weight that the shards lack."""
        from gguf import MODEL_ARCH_NAMES, get_tensor_name_map

        self.folder = folder
        self.config = read_config(folder)
        self.family: Family = family_of(self.config)
        self._shards = _shards_by_name(folder)
        with quiet_transformers(), torch.device("meta"):
            model = AutoModelForCausalLM.from_config(self.config)
        self._prefix = f"{model.base_model_prefix}."
        self._conv1d = {f"{name}.weight" for name, module in model.named_modules() if isinstance(module, Conv1D)}
        arch = next(arch for arch, name in MODEL_ARCH_NAMES.items() if name == self.family.name)
        self._names = get_tensor_name_map(arch, self.config.num_hidden_layers)
        self.sources = [self._source(name, weight) for name, weight in model.state_dict().items() if self._kept(name)]
        self._check_whole()

    def tensors(self) -> Iterator[tuple[Source, Tensor]]:
        """Each tensor of `sources`, float32, in their order. Raises ExportError for a shard that cannot be read, or a
        shape that the config does not have."""
        for source in self.sources:
            weight = self._read(source.name).float()
            if source.transposed:
                weight = weight.T
            if tuple(weight.shape) != source.shape:
                found, asked = list(weight.shape), list(source.shape)
                raise ExportError(f"{source.name} in {self.folder} is {found}; its config.json asks for {asked}.")
            yield source, transformed(self.family, self.config, source.name, weight).contiguous()

    def frequency_factors(self) -> Tensor | None:
        """What the rotary frequencies are divided by (Llama 3's scaling), float32 [head / 2], or None."""
        return llama3_factors(self.config, head_size(self.config))

    def _kept(self, name: str) -> bool:
        # Of a tied pair GGUF has the embedding alone; llama.cpp then takes it for the head.
        return not (name == "lm_head.weight" and self.config.tie_word_embeddings)

    def _source(self, name: str, weight: Tensor) -> Source:
        transposed = name in self._conv1d
        shape = tuple(weight.shape[::-1] if transposed else weight.shape)
        gguf_name = self._names.get_name(name, try_suffixes=(".weight", ".bias"))
        if gguf_name is None:
            raise ExportError(f"{name} of {self.folder} has no place in GGUF's {self.family.name} architecture.")
        return Source(gguf_name, name, shape, transposed)

    def _stored(self, name: str) -> str:
        return name if name in self._shards else name.removeprefix(self._prefix)

    def _check_whole(self) -> None:
        missing = [source.name for source in self.sources if self._stored(source.name) not in self._shards]
        if missing:
            raise ExportError(
                f"{self.folder} lacks {len(missing)} weights that its config.json asks for "
                f"({', '.join(missing[:4])}{', ...' if len(missing) > 4 else ''})."
            )

    def _read(self, name: str) -> Tensor:
        shard = self._shards[self._stored(name)]
        try:
            with safe_open(shard, framework="pt") as tensors:
                weight: Tensor = tensors.get_tensor(self._stored(name))
        except (SafetensorError, OSError) as error:
            raise ExportError(f"{shard} cannot be read: {error}") from error
        return weight


def read_config(folder: Path) -> Any:
    """The transformers config of a folder. Raises ExportError when there is none."""
    try:
        return AutoConfig.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise ExportError(f"{folder} cannot be read as a model: {' '.join(str(error).split())[:200]}") from error


def _shards_by_name(folder: Path) -> dict[str, Path]:
    index = folder / "model.safetensors.index.json"
    try:
        if index.is_file():
            weights = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
            return {name: folder / shard for name, shard in weights.items()}
        shard = folder / "model.safetensors"
        with safe_open(shard, framework="pt") as tensors:
            return dict.fromkeys(tensors.keys(), shard)
    except (OSError, SafetensorError, json.JSONDecodeError, KeyError) as error:
        raise ExportError(f"The weights in {folder} cannot be read: {error}") from error
