from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from peft import LoraConfig
from safetensors.torch import save_file

from lorafit.errors import AdapterError
from lorafit.export.fold import adapter_of, folded, read_adapter

PATH = "model.layers.0.self_attn.q_proj"
CONFIG = LoraConfig(task_type="CAUSAL_LM", r=4, lora_alpha=8, target_modules=["q_proj"])


def state(rank: int = 4) -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(1)
    return {
        f"base_model.model.{PATH}.lora_A.weight": torch.randn(rank, 6, generator=draw),
        f"base_model.model.{PATH}.lora_B.weight": torch.randn(10, rank, generator=draw),
    }


def test_a_layer_is_its_weight_and_the_scaled_product() -> None:
    adapter = adapter_of(CONFIG, state(), "here")
    weight = torch.randn(10, 6)
    a, b = state().values()
    before = torch.get_rng_state()
    assert torch.allclose(folded(adapter, PATH, weight.clone()), weight + 2.0 * b @ a, atol=1e-6)
    assert torch.equal(torch.get_rng_state(), before)


def test_another_rank_than_the_config_says(tmp_path: Path) -> None:
    save_file(state(rank=3), tmp_path / "adapter_model.safetensors")
    CONFIG.save_pretrained(str(tmp_path))
    with pytest.raises(AdapterError, match=r"of rank 3 at .*q_proj; its adapter_config.json says 4"):
        read_adapter(tmp_path)


def test_an_adapter_that_cannot_be_read(tmp_path: Path) -> None:
    CONFIG.save_pretrained(str(tmp_path))
    with pytest.raises(AdapterError, match="cannot be read"):
        read_adapter(tmp_path)
    (tmp_path / "adapter_model.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{}")
    with pytest.raises(AdapterError, match="cannot be read"):
        read_adapter(tmp_path)
    (tmp_path / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": "many"}))
    with pytest.raises(AdapterError, match="cannot be read"):
        read_adapter(tmp_path)


def test_half_an_adapter(tmp_path: Path) -> None:
    half = dict(list(state().items())[:1])
    with pytest.raises(AdapterError, match="has half of"):
        adapter_of(CONFIG, half, "here")
