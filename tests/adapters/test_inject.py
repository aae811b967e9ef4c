from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from lorafit.adapters.inject import inject
from lorafit.adapters.settings import AdapterSettings
from lorafit.errors import AdapterError
from lorafit.hardware import Hardware
from lorafit.model.load import load_base

CPU = Hardware(torch.device("cpu"), torch.float32, "a test")


def test_the_report_says_what_matched_and_what_did_not(llama: Path) -> None:
    injection = inject(load_base(llama, CPU), AdapterSettings(rank=4, targets="attention-qv"), seed=0)
    assert injection.matched == (
        ("model.layers.*.self_attn.q_proj", 2, 32, 32),
        ("model.layers.*.self_attn.v_proj", 2, 32, 16),
    )
    assert "model.layers.*.mlp.up_proj" in injection.left
    assert injection.trainable == 2 * 4 * (32 + 32) + 2 * 4 * (32 + 16)
    assert injection.trainable == sum(p.numel() for p in injection.model.parameters() if p.requires_grad)
    text = "\n".join(injection.lines())
    assert "q_proj  2 x [32 -> 32]" in text
    assert f"{injection.trainable:,} parameters are trained" in text and f"{injection.total:,}" in text


def test_adapters_are_float32_on_a_16_bit_base(llama: Path) -> None:
    base = load_base(llama, Hardware(torch.device("cpu"), torch.bfloat16, "a test"))
    trained = [p for p in inject(base, AdapterSettings(rank=2), seed=0).model.parameters() if p.requires_grad]
    assert trained and all(p.dtype == torch.float32 for p in trained)


def test_the_seed_decides_the_start(llama: Path) -> None:
    def start(seed: int) -> torch.Tensor:
        model = inject(load_base(llama, CPU), AdapterSettings(rank=2), seed=seed).model
        return next(p for n, p in model.named_parameters() if "lora_A" in n)

    assert torch.equal(start(1), start(1))
    assert not torch.equal(start(1), start(2))


def test_a_fresh_adapter_changes_nothing(llama: Path) -> None:
    ids = torch.tensor([[5, 9, 200, 7]])
    plain = load_base(llama, CPU).model.eval()(input_ids=ids).logits
    for variant in ("plain", "rslora", "dora", "pissa"):
        model = inject(load_base(llama, CPU), AdapterSettings(rank=4, variant=variant), seed=0).model.eval()  # type: ignore[arg-type]
        assert torch.allclose(model(input_ids=ids).logits, plain, atol=2e-5), variant


def test_warnings_name_unmatched_targets_and_ranks_that_are_too_large(llama: Path) -> None:
    settings = AdapterSettings(rank=40, targets=["q_proj", "nothing_like_it"])
    warnings = inject(load_base(llama, CPU), settings, seed=0).warnings
    assert any("'nothing_like_it' matches no linear layer" in w for w in warnings)
    assert any("adapter.rank=40 is larger than the smallest side of a target (32)" in w for w in warnings)


def test_no_match_lists_the_layers(llama: Path) -> None:
    with pytest.raises(AdapterError, match=r"matches none.*\n.*model\.layers\.\*\.self_attn\.q_proj"):
        inject(load_base(llama, CPU), AdapterSettings(targets=["qkv"]), seed=0)


def test_full_fine_tuning_trains_everything_but_not_a_quantised_base(llama: Path) -> None:
    injection = inject(load_base(llama, CPU), AdapterSettings(method="none"), seed=0)
    assert injection.trainable == injection.total
    with pytest.raises(AdapterError, match="cannot train a base in nf4"):
        inject(load_base(llama, CPU, "nf4"), AdapterSettings(method="none"), seed=0)


def test_norms_and_biases_are_trained_on_request(bases: Callable[[str], Path]) -> None:
    base = load_base(bases("qwen2"), CPU)  # Qwen 2 has biases on query, key and value
    injection = inject(base, AdapterSettings(rank=2, train_bias=True, train_norms=True), seed=0)
    trained = [n for n, p in injection.model.named_parameters() if p.requires_grad]
    assert any(n.endswith("q_proj.base_layer.bias") for n in trained)
    assert any("input_layernorm" in n for n in trained)
    assert any("cannot be switched off cleanly" in w for w in injection.warnings)


def test_dora_on_nf4_with_ragged_rows_is_refused(llama: Path) -> None:
    with pytest.raises(AdapterError, match="no multiple of 64"):
        inject(load_base(llama, CPU, "nf4"), AdapterSettings(variant="dora"), seed=0)
