from __future__ import annotations

from pathlib import Path

import peft
import torch

from lorafit.adapters.inject import inject
from lorafit.adapters.pissa import lora_layers, principal_factors
from lorafit.adapters.settings import AdapterSettings
from lorafit.hardware import Hardware
from lorafit.model.load import checkpoint_weight, load_base
from lorafit.model.quantize import dequantized_weight

CPU = Hardware(torch.device("cpu"), torch.float32, "a test")


def test_the_factors_are_the_best_approximation() -> None:
    """Eckart-Young: the error is the root of the sum of the squares of the singular values left out."""
    weight = torch.randn(20, 12, generator=torch.Generator().manual_seed(0))
    a, b = principal_factors(weight, rank=5, scaling=2.0)
    values = torch.linalg.svdvals(weight)
    assert a.shape == (5, 12) and b.shape == (20, 5)
    assert torch.allclose((weight - 2.0 * b @ a).norm(), values[5:].norm(), rtol=1e-5)


def test_the_start_equals_pefts_own(llama: Path) -> None:
    ours = inject(load_base(llama, CPU), AdapterSettings(rank=4, alpha=8, variant="pissa"), seed=0).model
    config = peft.LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", init_lora_weights="pissa")
    theirs = peft.get_peft_model(load_base(llama, CPU).model, config)
    reference = dict(lora_layers(theirs))
    count = 0
    for name, layer in lora_layers(ours):
        update = layer.get_delta_weight("default")
        assert torch.allclose(update, reference[name].get_delta_weight("default"), atol=1e-5)
        assert torch.allclose(layer.base_layer.weight, reference[name].base_layer.weight, atol=1e-5)
        count += 1
    assert count == 14


def test_on_a_quantised_base_the_residual_is_quantised(llama: Path) -> None:
    """The factors come from the checkpoint's weight, so base + adapter is nearer to it than the quantised weight is."""
    base = load_base(llama, CPU, "nf4")
    model = inject(base, AdapterSettings(rank=8, alpha=8, variant="pissa"), seed=0).model
    plain = load_base(llama, CPU, "nf4").model
    nearer = 0
    layers = list(lora_layers(model))
    for name, layer in layers:
        original = checkpoint_weight(base.folder, base.model, name)
        ours = dequantized_weight(layer.base_layer).float() + layer.get_delta_weight("default")
        nearer += int((ours - original).norm() < (dequantized_weight(plain.get_submodule(name)) - original).norm())
    assert nearer == len(layers)
