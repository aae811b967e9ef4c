"""An adapter as GGUF answers in llama.cpp as it does in PEFT; what the format cannot hold is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from tests.export.gguf.shapes import PROMPTS, opened

from lorafit.data.template import Renderer, choose_template
from lorafit.errors import ExportError
from lorafit.export.gguf import export_adapter_gguf, reference_of
from lorafit.export.gguf.lora import convert_adapter

pytest.importorskip("gguf", reason="GGUF export needs the gguf package")


def adapted(base: Path, folder: Path, **settings: Any) -> Any:
    """A PEFT model with a large random adapter, saved to `folder`."""
    torch.manual_seed(3)
    model = get_peft_model(opened(base), LoraConfig(**{"r": 4, "lora_alpha": 8, "task_type": "CAUSAL_LM", **settings}))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.copy_(0.2 * torch.randn_like(parameter))
    model.save_pretrained(folder, save_embedding_layers=False)
    return model.eval()


ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "up_proj", "down_proj"]
CASES = [
    ("llama-biased", {"target_modules": ALL}),
    (
        "llama",
        {"target_modules": ALL, "use_rslora": True, "alpha_pattern": {"k_proj": 2}, "rank_pattern": {"v_proj": 2}},
    ),
    ("gemma2", {"target_modules": ALL}),
    ("gpt2", {"target_modules": ["c_attn", "c_fc", "c_proj"], "fan_in_fan_out": True}),
]


@pytest.mark.parametrize(("shape", "settings"), CASES, ids=[case[0] for case in CASES])
def test_llama_cpp_answers_with_the_adapter_like_peft(
    shapes: Callable[[str], Path], chat_tokenizer: Any, tmp_path: Path, shape: str, settings: dict[str, Any]
) -> None:
    pytest.importorskip("xllamacpp", reason="the check runs llama.cpp, which comes in the xllamacpp wheel")
    model = adapted(shapes(shape), tmp_path / "adapter", **settings)
    reference = reference_of(model, PROMPTS, [0], 12)
    with model.disable_adapter():
        below = reference_of(model, PROMPTS, [0], 12)
    assert any(one != other for one, other in zip(reference.spans, below.spans, strict=True))
    renderer = Renderer(chat_tokenizer, choose_template(chat_tokenizer))
    done = export_adapter_gguf(tmp_path / "adapter", shapes(shape), tmp_path / "out", renderer, reference)
    assert done.comparison.broken == 0 and done.comparison.difference < 1e-3
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "Modelfile",
        "adapter.gguf",
        "self_check.json",
    ]


REFUSED = [
    ({"target_modules": ALL, "use_dora": True}, "DoRA"),
    ({"target_modules": ALL, "modules_to_save": ["embed_tokens"]}, "more than low-rank pairs"),
    ({"target_modules": [*ALL, "lm_head"]}, "does not hold apart"),
]


@pytest.mark.parametrize(("settings", "why"), REFUSED)
def test_what_the_format_cannot_hold_is_refused(
    shapes: Callable[[str], Path], tmp_path: Path, settings: dict[str, Any], why: str
) -> None:
    adapted(shapes("llama"), tmp_path / "adapter", **settings)
    with pytest.raises(ExportError, match=why):
        convert_adapter(tmp_path / "adapter", shapes("llama"), tmp_path / "a.gguf")
    assert not (tmp_path / "a.gguf").exists()


def test_a_folder_without_an_adapter_is_said(shapes: Callable[[str], Path], tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="cannot be read as a LoRA adapter"):
        convert_adapter(tmp_path, shapes("llama"), tmp_path / "a.gguf")
