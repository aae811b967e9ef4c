"""The merge of a model as one, for those whose trained layers are no tensors of their own on the disk.

It is PEFT's merge of the float32 model, which has to fit into memory, and transformers' way of saving it.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM
from transformers.pytorch_utils import Conv1D

from lorafit.export.merge import Trained
from lorafit.model.load import quiet_transformers
from lorafit.model.quantize import dequantized_weight, is_quantized


def write_whole(trained: Trained, folder: Path, dtype: torch.dtype, shard_bytes: int) -> None:
    """Write config and weights to `folder` in `dtype`, in files of at most `shard_bytes`."""
    merged = merged_model(trained).to(dtype)
    with quiet_transformers():
        merged.save_pretrained(folder, max_shard_size=shard_bytes)


def merged_model(trained: Trained) -> Any:
    """The model in float32 on the CPU, with what was trained in it."""
    from peft import PeftModel, set_peft_model_state_dict

    with quiet_transformers():
        plain = AutoModelForCausalLM.from_pretrained(
            trained.base, dtype=trained.computes_in, local_files_only=True, trust_remote_code=trained.remote_code
        ).float()
    if trained.quantized is not None:
        _copy_dequantized(trained.quantized, plain)
    if trained.adapter is None:
        return plain
    config = copy.copy(trained.adapter.config)
    # A quantised GPT-2 has ordinary linear layers where the plain one has Conv1D.
    config.fan_in_fan_out = any(isinstance(module, Conv1D) for module in plain.modules())
    with torch.random.fork_rng(devices=[]):
        reference = PeftModel(plain, config)
    set_peft_model_state_dict(reference, dict(trained.adapter.state))
    return reference.merge_and_unload(safe_merge=True)


@torch.no_grad()
def _copy_dequantized(quantized: Any, plain: nn.Module) -> None:
    inner = quantized.get_base_model() if hasattr(quantized, "peft_config") else quantized
    for name, layer in plain.named_modules():
        if isinstance(layer, (nn.Linear, Conv1D)):
            trained = inner.get_submodule(name)
            trained = getattr(trained, "base_layer", trained)
            if is_quantized(trained):
                weight: Tensor = dequantized_weight(trained).float()
                layer.weight.copy_(weight.T if isinstance(layer, Conv1D) else weight)
