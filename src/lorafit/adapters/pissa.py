"""PiSSA: the adapter starts as the principal part of a weight, the base keeps the residual (arXiv 2404.02948).

    W = B0 A0 * scaling + R      with B0, A0 from the largest singular values (equations 2 to 4 of the paper)

With a quantised base the factors come from the 16-bit weight and R is quantised (section 3, QPiSSA). What is saved is
an ordinary LoRA of twice the rank on the *original* weight, [B, -B0] [A; A0], so that any tool can open it. On a
quantised base that form differs from what was trained by the rounding of W against that of R; lorafit itself rebuilds
the residual base from the saved factors and so runs exactly what was trained.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from lorafit.model.load import Base, checkpoint_weight
from lorafit.model.quantize import is_quantized, requantize

ADAPTER = "default"


def principal_factors(weight: Tensor, rank: int, scaling: float) -> tuple[Tensor, Tensor]:
    """(A0 [rank, in], B0 [out, rank]), float32; scaling * B0 @ A0 is the best such part of weight [out, in]."""
    left, values, right = torch.linalg.svd(weight.float(), full_matrices=False)
    root = (values[:rank] / scaling).sqrt()
    return root.unsqueeze(1) * right[:rank], left[:, :rank] * root


def lora_layers(model: Any) -> Iterator[tuple[str, Any]]:
    """(path in the base model, PEFT layer) of every LoRA layer of a PEFT model."""
    for name, module in model.get_base_model().named_modules():
        if hasattr(module, "lora_A") and hasattr(module, "base_layer"):
            yield name, module


def start_from_principal_factors(model: Any, base: Base) -> None:
    """Set every adapter to its principal factors and every base weight to its residual; the factors are kept.

    They are kept beside each layer (`pissa_start`), for the conversion when saving.
    """
    for name, layer in lora_layers(model):
        with torch.no_grad():
            weight = _original_weight(layer, base, name)
            a0, b0 = principal_factors(weight, layer.r[ADAPTER], layer.scaling[ADAPTER])
            if a0.shape[0] < layer.r[ADAPTER]:  # a rank above the smaller side leaves columns without a direction
                short = layer.r[ADAPTER] - a0.shape[0]
                a0 = torch.nn.functional.pad(a0, (0, 0, 0, short))
                b0 = torch.nn.functional.pad(b0, (0, short))
            layer.lora_A[ADAPTER].weight.copy_(a0)
            layer.lora_B[ADAPTER].weight.copy_(b0)
            _set_residual(layer, weight, a0, b0)
        layer.pissa_start = (a0.clone(), b0.clone())


def as_ordinary_lora(model: Any, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A PEFT adapter state of rank r as one of rank 2r on the original weights: B A - B0 A0 = [B, -B0] [A; A0]."""
    starts = dict(lora_layers(model))
    converted = {}
    for key, value in state.items():
        path = key.removeprefix("base_model.model.")
        owner, _, kind = path.removesuffix(".weight").rpartition(".")
        if kind in ("lora_A", "lora_B"):
            a0, b0 = starts[owner].pissa_start
            parts = [value, a0.to(value)] if kind == "lora_A" else [value, -b0.to(value)]
            value = torch.cat(parts, dim=0 if kind == "lora_A" else 1).contiguous()
        converted[key] = value
    return converted


def restore_residual(model: Any, base: Base) -> None:
    """Turn a loaded ordinary LoRA of rank 2r back: the second half into the base, which is quantised again."""
    for name, layer in lora_layers(model):
        with torch.no_grad():
            a, b = layer.lora_A[ADAPTER].weight, layer.lora_B[ADAPTER].weight
            rank = a.shape[0] // 2
            a0, b0 = a[rank:].clone(), -b[:, rank:].clone()
            _set_residual(layer, _original_weight(layer, base, name), a0, b0)
            a[rank:].zero_()
            b[:, rank:].zero_()


def _original_weight(layer: Any, base: Base, name: str) -> Tensor:
    plain = layer.get_base_layer()
    if is_quantized(plain):
        weight = checkpoint_weight(base.folder, base.model, name)
        return weight.to(plain.weight.device, torch.float32)
    weight = plain.weight.detach().float()
    rows: Tensor = weight.T if layer.fan_in_fan_out else weight
    return rows


def _set_residual(layer: Any, weight: Tensor, a0: Tensor, b0: Tensor) -> None:
    plain = layer.get_base_layer()
    residual = weight - layer.scaling[ADAPTER] * (b0 @ a0)
    if is_quantized(plain):
        requantize(plain, residual)
    else:
        plain.weight.copy_(residual.T if layer.fan_in_fan_out else residual)
