"""A quantised base is read from its shards, not mapped: nothing of them stays behind, and the weights are the same."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from transformers import modeling_utils

from lorafit.errors import ModelError
from lorafit.hardware import Hardware
from lorafit.model.load import load_base
from lorafit.model.settings import Quantization

CPU = Hardware(torch.device("cpu"), torch.float32, "a test")
MAPS = Path("/proc/self/maps")


@pytest.mark.skipif(not MAPS.is_file(), reason="this system does not tell what is mapped")
@pytest.mark.parametrize(("quantization", "mapped"), [("none", True), ("nf4", False), ("int8", False)])
def test_only_a_base_used_as_it_lies_stays_mapped(
    llama: Path, tmp_path: Path, quantization: Quantization, mapped: bool
) -> None:
    folder = shutil.copytree(llama, tmp_path / "base")  # bases of other tests may still be mapped
    base = load_base(folder, CPU, quantization)
    assert (str(folder.resolve()) in MAPS.read_text()) is mapped
    weights = load_file(llama / "model.safetensors")
    embedding = base.model.get_input_embeddings().weight
    assert torch.equal(embedding, weights["model.embed_tokens.weight"])


def test_transformers_is_left_as_it_was(llama: Path, tmp_path: Path) -> None:
    load_base(llama, CPU, "nf4")
    assert modeling_utils.safe_open is safe_open
    (tmp_path / "config.json").write_text((llama / "config.json").read_text())
    with pytest.raises(ModelError):
        load_base(tmp_path, CPU, "nf4")
    assert modeling_utils.safe_open is safe_open
