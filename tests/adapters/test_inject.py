from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers

from lorafit.adapters.inject import inject
from lorafit.adapters.settings import AdapterSettings
from lorafit.errors import AdapterError
from lorafit.hardware import Hardware
from lorafit.model.load import Base, load_base

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


def test_full_fine_tuning_trains_everything(llama: Path) -> None:
    injection = inject(load_base(llama, CPU), AdapterSettings(method="none"), seed=0)
    assert injection.trainable == injection.total


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


def test_a_trained_bias_of_a_quantised_layer_has_a_gradient(bases: Callable[[str], Path]) -> None:
    """Rows of 32 go through our own product, which must not lose the bias."""
    injection = inject(load_base(bases("qwen2"), CPU, "nf4"), AdapterSettings(rank=2, train_bias=True), seed=0)
    injection.model(input_ids=torch.tensor([[5, 9, 200, 7]])).logits.logsumexp(-1).sum().backward()
    biases = [p for n, p in injection.model.named_parameters() if n.endswith("bias") and p.requires_grad]
    assert len(biases) == 6
    # A key's bias shifts all scores of a query alike: its gradient is zero but for rounding.
    assert all(p.grad is not None for p in biases)
    assert sum(float(p.grad.abs().max()) > 1e-4 for p in biases if p.grad is not None) >= 4


def test_experts_without_an_adapter_are_said() -> None:
    config = transformers.Qwen3MoeConfig(
        vocab_size=64, hidden_size=32, intermediate_size=32, moe_intermediate_size=16, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=1, num_experts=4, num_experts_per_tok=2, head_dim=16,
    )  # fmt: skip
    model = transformers.AutoModelForCausalLM.from_config(config)
    warnings = inject(Base(model, Path(), CPU, "none"), AdapterSettings(rank=2), seed=0).warnings
    assert any("experts" in w and "get no adapter" in w for w in warnings)
