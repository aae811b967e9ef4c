"""A merged folder opens in plain transformers and gives the greedy tokens of what was trained (margin-aware)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from lorafit.adapters.inject import inject
from lorafit.adapters.settings import AdapterSettings
from lorafit.errors import ExportError, SelfCheckFailed
from lorafit.export import merge as merging
from lorafit.export.check import compare_greedy, next_token_logits
from lorafit.export.merge import merge
from lorafit.hardware import DTYPES, Hardware
from lorafit.model.load import Base, load_base

PROMPTS = [[5 + i, 6, 200 - i, 9] for i in range(32)]
CASES = [
    ("llama", "none", "plain", "float32"),
    ("llama", "none", "dora", "float32"),
    ("llama", "none", "pissa", "float32"),
    ("gpt2", "none", "rslora", "float32"),
    ("gpt2", "nf4", "plain", "float32"),
    ("llama", "nf4", "plain", "float32"),
    ("llama", "nf4", "pissa", "float32"),
    ("llama", "int8", "plain", "float32"),
    ("qwen2", "none", "plain", "bfloat16"),
    ("even-llama", "nf4", "dora", "bfloat16"),
]


def trained(base: Base, **settings: Any) -> Any:
    model = inject(base, AdapterSettings(rank=4, alpha=8, **settings), seed=3).model.eval()
    with torch.no_grad():
        for number, parameter in enumerate(p for p in model.parameters() if p.requires_grad):
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(number)))
    return model


@pytest.mark.parametrize(("family", "quantization", "variant", "dtype"), CASES)
def test_a_merged_model_answers_like_the_tuned_one(
    bases: Callable[[str], Path],
    tokenizer: Any,
    tmp_path: Path,
    family: str,
    quantization: str,
    variant: str,
    dtype: str,
) -> None:
    hardware = Hardware(torch.device("cpu"), DTYPES[dtype], "a test")
    base = load_base(bases(family), hardware, quantization)  # type: ignore[arg-type]
    tuned = trained(base, variant=variant)
    merged = merge(base, tuned, tokenizer, PROMPTS, [0], tmp_path / "merged", DTYPES[dtype])
    assert merged.fold.holds and merged.fold.prompts == 32 and merged.fold.tokens > 100
    assert merged.fold.largest_difference < 1e-4
    opened = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "merged", dtype=torch.float32).eval()
    plain = load_base(bases(family), hardware).model.float().eval()
    text = PROMPTS[0] * 3
    wanted = next_token_logits(tuned, text, 4)
    found = compare_greedy([wanted], [next_token_logits(opened, text, 4)])
    if dtype == "float32":
        assert merged.file.holds and found.holds
        assert found.largest_difference < 1e-4
    else:  # 16-bit rounding of the run's own arithmetic
        assert found.largest_difference < 0.1
    assert (next_token_logits(plain, text, 4) - wanted).abs().max() > 0.1, "the adapter changed nothing"
    assert {"config.json", "model.safetensors", "tokenizer.json", "self_check.json"} <= {
        p.name for p in (tmp_path / "merged").iterdir()
    }


def test_trained_biases_and_norms_are_merged(bases: Callable[[str], Path], tokenizer: Any, tmp_path: Path) -> None:
    base = load_base(bases("qwen2"), Hardware(torch.device("cpu"), torch.float32, "a test"))
    tuned = trained(base, train_bias=True, train_norms=True)
    wanted = next_token_logits(tuned, PROMPTS[0], 1)
    merge(base, tuned, tokenizer, PROMPTS[:2], [0], tmp_path / "merged", torch.float32)
    opened = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "merged", dtype=torch.float32).eval()
    assert torch.allclose(next_token_logits(opened, PROMPTS[0], 1), wanted, atol=1e-4)


def test_a_wrong_fold_is_refused_and_leaves_nothing(
    llama: Path, tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = load_base(llama, Hardware(torch.device("cpu"), torch.float32, "a test"))
    tuned = trained(base)
    real = merging._in_float32

    def forgets_the_adapter(*args: Any) -> Any:
        model = real(*args)
        monkeypatch.setattr(model, "merge_and_unload", lambda **kwargs: model.unload())
        return model

    monkeypatch.setattr(merging, "_in_float32", forgets_the_adapter)
    with pytest.raises(SelfCheckFailed, match="The fold is wrong"):
        merge(base, tuned, tokenizer, PROMPTS, [0], tmp_path / "merged", torch.float32)
    assert not (tmp_path / "merged").exists()


def test_another_weight_than_the_trained_one_is_refused(
    llama: Path, tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Folding into the original instead of the dequantised weight, or into nothing, would be seen."""
    for dtype in ("float32", "bfloat16"):
        base = load_base(llama, Hardware(torch.device("cpu"), DTYPES[dtype], "a test"), "nf4")
        tuned = trained(base)
        for wrong in (lambda trained, name: None, lambda trained, name: None if "proj" not in name else torch.zeros(1)):
            monkeypatch.setattr(merging, "_weight_of", wrong)
            with pytest.raises(SelfCheckFailed, match="q_proj would not compute what was trained"):
                merge(base, tuned, tokenizer, PROMPTS[:2], [0], tmp_path / "merged", torch.float32)
    assert not (tmp_path / "merged").exists()


def test_a_folder_with_something_in_it_is_never_replaced(llama: Path, tokenizer: Any, tmp_path: Path) -> None:
    base = load_base(llama, Hardware(torch.device("cpu"), torch.float32, "a test"))
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.txt").write_text("mine")
    with pytest.raises(ExportError, match="exists already and is not empty"):
        merge(base, trained(base), tokenizer, PROMPTS[:2], [0], tmp_path / "precious", torch.float32)
    assert (tmp_path / "precious" / "thesis.txt").read_text() == "mine"
