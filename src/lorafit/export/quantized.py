"""A merged model kept in bitsandbytes' NF4 or 8 bits, which transformers opens by itself."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn
from transformers import AutoModelForCausalLM

from lorafit.adapters.targets import in_and_out, linear_layers
from lorafit.errors import ExportError
from lorafit.memory import freed_memory_goes_back
from lorafit.model.load import empty_model, quiet_transformers
from lorafit.model.quantize import quantization_config
from lorafit.model.settings import Quantization

FORMATS: tuple[Quantization, ...] = ("nf4", "int8")
# What bitsandbytes' 4-bit kernels for the CPU need: other inputs they dequantise wrongly, other outputs they refuse.
INPUTS, OUTPUTS = 64, 32


def write_quantized(
    merged: Path, folder: Path, form: Quantization, dtype: torch.dtype, shard_bytes: int, remote_code: bool = False
) -> tuple[str, ...]:
    """Write config and weights of the model in `merged` to `folder` in `form`, the rest in `dtype`; returns remarks.

    The head stays as it is, as transformers does it; so do layers of sizes that bitsandbytes cannot compute with in 4
    bits. Raises ExportError when all are such.
    """
    settings = quantization_config(form, True, dtype)
    model = empty_model(merged, remote_code)
    layers = linear_layers(model)
    kept = [name for name, layer in layers.items() if form == "nf4" and not _fits(layer)]
    if len(kept) == len(layers):
        raise ExportError(
            f"No layer of this model can be kept in 4 bits: none has inputs in blocks of {INPUTS} and outputs in "
            f"blocks of {OUTPUTS}. --format int8 can."
        )
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
    return (f"{len(kept)} layers are not in 4 bits: their sizes do not divide by {INPUTS} and {OUTPUTS}",)


def _fits(layer: nn.Module) -> bool:
    inputs, outputs = in_and_out(layer)
    return inputs % INPUTS == 0 and outputs % OUTPUTS == 0
