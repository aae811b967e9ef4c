"""The fast layer under PEFT: equal to PEFT's own in the case it is made for, and out of the way in every other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest
import torch

from lorafit.adapters.fast import FastLinear, make_fast, make_plain
from lorafit.adapters.inject import Injection, inject
from lorafit.adapters.settings import AdapterSettings
from lorafit.data.pack import prefix_numbers
from lorafit.hardware import Hardware
from lorafit.model.load import load_base
from lorafit.ops import lora_linear

CPU = Hardware(torch.device("cpu"), torch.float32, "a test")
IDS = torch.tensor([[5, 9, 200, 7, 31, 8, 90]])


def trained(folder: Path, quantization: str = "none", **settings: Any) -> Injection:
    injection = inject(load_base(folder, CPU, quantization), AdapterSettings(rank=4, alpha=8, **settings), seed=3)  # type: ignore[arg-type]
    with torch.no_grad():
        for number, parameter in enumerate(p for p in injection.model.parameters() if p.requires_grad):
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(number)))
    injection.place.prefixes = prefix_numbers(IDS[0].numpy())
    return injection


def outcome(model: Any) -> list[torch.Tensor]:
    """Logits, then every gradient of a loss that uses them all."""
    model.zero_grad()
    logits = model(input_ids=IDS).logits
    logits.logsumexp(-1).sum().backward()
    return [logits.detach(), *(p.grad.clone() for p in model.parameters() if p.grad is not None)]


def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Counts the products of the fast layer."""
    counted: list[int] = []
    right = lora_linear.LoraLinear.forward

    def counting(*args: Any) -> torch.Tensor:
        counted.append(1)
        return right(*args)

    monkeypatch.setattr(lora_linear.LoraLinear, "forward", staticmethod(counting))
    return counted


@pytest.mark.parametrize("quantization", ["none", "nf4", "int8"])
@pytest.mark.parametrize("settings", [{}, {"dropout": 0.3}, {"variant": "rslora"}, {"variant": "pissa"}])
def test_it_equals_pefts_own_forward(
    bases: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, quantization: str, settings: dict[str, Any]
) -> None:
    injection = trained(bases("qwen2"), quantization, **settings)  # query, key and value have biases
    model = injection.model.train()
    assert (injection.fast, injection.slow) == (14, 0)
    counted = calls(monkeypatch)
    fast = outcome(model)
    assert len(counted) == 14
    make_plain(model)
    for one, other in zip(fast, outcome(model), strict=True):
        assert (one - other).abs().max() <= 1e-5 * other.abs().max() + 1e-7
    assert len(counted) == 14


@pytest.mark.parametrize(
    ("family", "quantization", "settings"),
    [("llama", "none", {"variant": "dora"}), ("gpt2", "none", {})],
)
def test_other_cases_stay_pefts_and_this_is_said(
    bases: Callable[[str], Path], family: str, quantization: str, settings: dict[str, Any]
) -> None:
    injection = trained(bases(family), quantization, **settings)
    assert injection.fast == 0 and injection.slow > 0
    assert any("PEFT's own forward" in line for line in injection.lines())


def test_it_steps_aside_for_what_peft_does_with_adapters(llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = trained(llama).model.eval()
    counted = calls(monkeypatch)
    tuned = model(input_ids=IDS).logits
    assert len(counted) == 14
    with model.disable_adapter():
        base = model(input_ids=IDS).logits
    model.merge_adapter()
    merged = model(input_ids=IDS).logits
    model.unmerge_adapter()
    hook = model.get_base_model().model.layers[0].mlp.up_proj.lora_A["default"].register_forward_hook(lambda *a: None)
    model(input_ids=IDS)
    hook.remove()
    assert len(counted) == 14 + 13, "switched off and merged: none; a hook: one layer less"
    assert torch.allclose(merged, tuned, atol=1e-5) and not torch.allclose(base, tuned, atol=1e-2)
    model.add_adapter("second", peft.LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM"))
    model.base_model.set_adapter(["default", "second"])
    counted.clear()
    model(input_ids=IDS)
    assert len(counted) == 12, "two adapters at once are PEFT's, in both query projections"


def test_the_class_is_taken_off_again(llama: Path) -> None:
    model = trained(llama).model
    assert sum(type(m) is FastLinear for m in model.modules()) == 14
    make_plain(model)
    assert not any(isinstance(m, FastLinear) for m in model.modules())
    assert make_fast(model) == (14, 0)


def test_a_missing_scale_would_be_seen(llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = trained(llama).model
    right = lora_linear.LoraLinear.forward

    def unscaled(ctx: Any, x: Any, a: Any, b: Any, weight: Any, bias: Any, scaling: float, mask: Any) -> torch.Tensor:
        return right(ctx, x, a, b, weight, bias, 1.0, mask)

    monkeypatch.setattr(lora_linear.LoraLinear, "forward", staticmethod(unscaled))
    wrong = outcome(model)
    make_plain(model)
    assert not torch.allclose(wrong[0], outcome(model)[0], atol=1e-3)
