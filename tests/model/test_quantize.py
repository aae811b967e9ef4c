from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from lorafit.hardware import Hardware
from lorafit.model.load import checkpoint_weight, count_parameters, load_base
from lorafit.model.quantize import dequantized_weight, is_quantized, requantize, stay_in_training_mode

CPU = Hardware(torch.device("cpu"), torch.float32, "a test")


@pytest.mark.parametrize("family", ["llama", "gpt2", "even-llama"])
@pytest.mark.parametrize("quantization", ["nf4", "int8"])
def test_a_layer_computes_with_its_dequantised_weight_in_both_modes(
    bases: Callable[[str], Path], family: str, quantization: str
) -> None:
    base = load_base(bases(family), CPU, quantization)  # type: ignore[arg-type]
    layers = {n: m for n, m in base.model.named_modules() if is_quantized(m)}
    assert layers and "lm_head" not in layers
    for name, layer in layers.items():
        x = torch.randn(3, layer.in_features, generator=torch.Generator().manual_seed(1))
        wanted = torch.nn.functional.linear(x, dequantized_weight(layer).float(), layer.bias)
        for mode in (True, False, True):
            base.model.train(mode)
            with torch.no_grad():
                assert torch.allclose(layer(x), wanted, rtol=1e-5, atol=1e-6), f"{name}, training={mode}"
        original = checkpoint_weight(base.folder, base.model, name)
        error = (dequantized_weight(layer).float() - original).abs().max() / original.abs().max()
        # The widest gap between NF4 levels is 0.3 of a block's largest weight; int8 has 127 steps a row.
        assert 0 < error < (0.17 if quantization == "nf4" else 0.01)


def test_a_single_token_goes_through_the_same_weight(llama: Path) -> None:
    """bitsandbytes has another kernel for one row, the case of generation."""
    base = load_base(llama, CPU, "nf4")
    layer = base.model.model.layers[0].mlp.down_proj
    x = torch.randn(1, layer.in_features)
    wanted = torch.nn.functional.linear(x, dequantized_weight(layer))
    assert torch.allclose(layer(x), wanted, rtol=1e-5, atol=1e-6)


def test_double_quantization_is_on_by_default_and_can_be_off(llama: Path) -> None:
    for double in (True, False):
        base = load_base(llama, CPU, "nf4", double_quantization=double)
        assert base.model.model.layers[0].mlp.up_proj.weight.quant_state.nested is double


@pytest.mark.parametrize("quantization", ["nf4", "int8"])
def test_requantize_replaces_the_weight_in_the_layers_own_format(llama: Path, quantization: str) -> None:
    base = load_base(llama, CPU, quantization)  # type: ignore[arg-type]
    layer = base.model.model.layers[1].self_attn.v_proj
    new = torch.randn(layer.out_features, layer.in_features, generator=torch.Generator().manual_seed(2))
    before = type(layer.weight)
    requantize(layer, new)
    assert type(layer.weight) is before
    assert (dequantized_weight(layer).float() - new).abs().max() < 0.17 * new.abs().max()
    x = torch.randn(4, layer.in_features)
    wanted = torch.nn.functional.linear(x, dequantized_weight(layer).float())
    assert torch.allclose(layer(x), wanted, rtol=1e-5, atol=1e-6)


def test_packed_weights_count_as_the_weights_they_stand_for(llama: Path) -> None:
    assert count_parameters(load_base(llama, CPU, "nf4").model) == count_parameters(load_base(llama, CPU).model)


@pytest.mark.parametrize("rows_of", [32, 44, 96, 172, 192, 77])
@pytest.mark.parametrize("nested", [True, False])
def test_every_weight_becomes_its_nearest_nf4_level(rows_of: int, nested: bool) -> None:
    """Computed here from the definition: blocks of 64 through the whole weight, each scaled by its largest."""
    import bitsandbytes

    weight = torch.randn(24, rows_of, generator=torch.Generator().manual_seed(rows_of))
    layer = bitsandbytes.nn.Linear4bit(rows_of, 24, bias=False, compress_statistics=nested, quant_type="nf4")
    layer.weight = bitsandbytes.nn.Params4bit(
        weight, requires_grad=False, compress_statistics=nested, quant_type="nf4", module=layer
    ).to("cpu")
    model = torch.nn.Sequential(layer)
    stay_in_training_mode(model)
    levels = layer.weight.quant_state.code
    blocks = torch.nn.functional.pad(weight.flatten(), (0, -weight.numel() % 64)).view(-1, 64)
    largest = blocks.abs().amax(1, keepdim=True)
    nearest = levels[((blocks / largest).unsqueeze(-1) - levels).abs().argmin(-1)] * largest
    wanted = nearest.flatten()[: weight.numel()].view_as(weight)
    # Double quantisation rounds the blocks' constants to 8 bits.
    bound = 0.05 if nested else 1e-6
    assert (dequantized_weight(layer) - wanted).abs().max() <= bound
    x = torch.eye(rows_of).requires_grad_()
    y = model.eval()(x)
    assert torch.allclose(y.detach().T, dequantized_weight(layer), atol=1e-6)
    y.sum().backward()
    assert torch.allclose(x.grad, dequantized_weight(layer).sum(0).expand_as(x), atol=1e-4)
