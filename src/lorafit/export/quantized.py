"""A merged model kept in bitsandbytes' NF4 or 8 bits, which transformers opens by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForCausalLM
from transformers.pytorch_utils import Conv1D

from lorafit.adapters.targets import in_and_out
from lorafit.memory import freed_memory_goes_back
from lorafit.model.load import empty_model, quiet_transformers
from lorafit.model.quantize import quantization_config
from lorafit.model.settings import Quantization

FORMATS: tuple[Quantization, ...] = ("nf4", "int8")
BLOCK = 64


def write_quantized(
    merged: Path, folder: Path, form: Quantization, dtype: torch.dtype, shard_bytes: int, remote_code: bool = False
) -> tuple[str, ...]:
    """Write config and weights of the model in `merged` to `folder` in `form`, the rest in `dtype`; returns remarks.

    The head stays as it is, as transformers does it. So do 4-bit layers whose rows are no whole number of blocks:
    bitsandbytes dequantises those wrongly on the CPU.
    """
    settings = quantization_config(form, True, dtype)
    model = empty_model(merged, remote_code)
    kept = _odd_layers(model) if form == "nf4" else []
    head = [name for name, layer in model.named_modules() if layer is model.get_output_embeddings()]
    settings.llm_int8_skip_modules = [*head, *kept]
    with quiet_transformers(), freed_memory_goes_back():
        quantized = AutoModelForCausalLM.from_pretrained(
            merged,
            dtype=dtype,
            quantization_config=settings,
            device_map={"": "cpu"},
            local_files_only=True,
            trust_remote_code=remote_code,
        )
        quantized.save_pretrained(folder, max_shard_size=shard_bytes)
    if not kept:
        return ()
    return (f"{len(kept)} layers are not in 4 bits: blocks of {BLOCK} do not divide their rows",)


def _odd_layers(model: Any) -> list[str]:
    layers = {name: one for name, one in model.named_modules() if isinstance(one, (nn.Linear, Conv1D))}
    return [name for name, layer in layers.items() if in_and_out(layer)[0] % BLOCK]
