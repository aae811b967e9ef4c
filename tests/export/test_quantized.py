"""Four bits where bitsandbytes can compute with them, in a folder that transformers opens by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers
from tests.conftest import LLAMA_LIKE

from lorafit.export.answers import next_token_logits
from lorafit.export.quantized import write_quantized


def test_layers_of_odd_sizes_stay_as_they_are(tmp_path: Path) -> None:
    torch.manual_seed(1)
    sizes: dict[str, Any] = {**LLAMA_LIKE, "hidden_size": 64}
    model = transformers.AutoModelForCausalLM.from_config(transformers.LlamaConfig(**sizes), dtype=torch.float32)
    model.save_pretrained(tmp_path / "merged")
    remarks = write_quantized(tmp_path / "merged", tmp_path / "out", "nf4", torch.float32, 10**9)
    assert remarks == ("6 layers are not in 4 bits: their sizes do not divide by 64 and 32",)
    opened = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out").eval()
    layer = opened.model.layers[1]
    kinds = [type(one).__name__ for one in (layer.self_attn.q_proj, layer.mlp.up_proj, layer.mlp.down_proj)]
    assert kinds == ["Linear4bit", "Linear", "Linear"]
    assert torch.equal(layer.mlp.down_proj.weight, model.model.layers[1].mlp.down_proj.weight)
    exact, rounded = (next_token_logits(one.eval(), [5, 6, 7, 8], 1) for one in (model, opened))
    assert 0 < (exact - rounded).norm() < 0.3 * exact.norm()
