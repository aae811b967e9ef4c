"""PEFT's LoRA layers with a faster forward for the case they are made for; every other case falls through to PEFT's.

The classes hold no state: they are put on by changing the class of layers that PEFT created, so parameters, saving,
merging and switching stay PEFT's own. The case: one plain LoRA (rsLoRA's scale is as good as any), active and not
merged, on a frozen nn.Linear or bitsandbytes' Linear4bit or Linear8bitLt, without hooks. DoRA, several adapters at
once, merged or switched-off adapters, trained biases and Conv1D are PEFT's.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from peft.tuners.lora import layer as peft_layer
from torch import Tensor, nn

from lorafit.adapters.dropout import PlacedDropout
from lorafit.hardware import kind_of
from lorafit.model.quantize import computed_weight, is_quantized
from lorafit.ops.dropout import Mask
from lorafit.ops.lora_linear import LoraLinear


class _Fast:
    """The forward that the fast layers share, over PEFT's."""

    def forward(self: Any, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        name = None if args or kwargs else _fast_adapter(self, x)
        if name is None:
            result: Tensor = super().forward(x, *args, **kwargs)  # type: ignore[misc]
            return result
        product: Tensor = LoraLinear.apply(
            x,
            self.lora_A[name].weight,
            self.lora_B[name].weight,
            functools.partial(frozen_weight, self.base_layer, x.dtype),
            functools.partial(frozen_product, self.base_layer),
            self.scaling[name],
            dropout_mask(self.lora_dropout[name]),
        )
        return product


class FastLinear(_Fast, peft_layer.Linear):
    """PEFT's LoRA on nn.Linear."""


def frozen_weight(layer: Any, dtype: torch.dtype) -> Tensor:
    """The weight [out, in] that a frozen layer computes with."""
    weight: Tensor = computed_weight(layer, dtype) if is_quantized(layer) else layer.weight
    return weight


def frozen_product(layer: Any, x_TI: Tensor) -> Tensor:
    """x W^T + b of a frozen layer, [tokens, out]: in 8 bits bitsandbytes' own product, which keeps nothing here."""
    if type(layer.weight).__name__ == "Int8Params":
        product: Tensor = layer(x_TI)
        return product
    return nn.functional.linear(x_TI, frozen_weight(layer, x_TI.dtype), layer.bias)


def dropout_mask(dropout: nn.Module) -> Mask | None:
    """The mask of a placed dropout at its place, None when nothing is dropped."""
    if not isinstance(dropout, PlacedDropout) or not dropout.training or dropout.p == 0:
        return None
    return dropout.mask()


def _fast_adapter(layer: Any, x: Tensor) -> str | None:
    """The one adapter of the case that is made fast, or None for PEFT's own forward."""
    if layer.disable_adapters or layer.merged:
        return None
    active = [name for name in layer.active_adapters if name in layer.lora_A]
    if len(active) != 1:
        return None
    (name,) = active
    base, a, b, dropout = layer.base_layer, layer.lora_A[name], layer.lora_B[name], layer.lora_dropout[name]
    plain = (
        name not in layer.lora_variant
        and type(a) is nn.Linear
        and type(b) is nn.Linear
        and b.bias is None
        and isinstance(dropout, (nn.Identity, PlacedDropout))
    )
    # An 8-bit layer takes any type, and has no type of its own.
    own_dtype = getattr(base, "compute_dtype", x.dtype) if is_quantized(base) else base.weight.dtype
    computes_alike = x.dtype == own_dtype
    frozen = not base.weight.requires_grad and (base.bias is None or not base.bias.requires_grad)
    same_bias = base.bias is None or base.bias.dtype == x.dtype
    hooked = any(m._forward_hooks or m._forward_pre_hooks or m._backward_hooks for m in (base, a, b, dropout))
    autocast = torch.is_autocast_enabled(kind_of(x.device))
    return name if plain and computes_alike and frozen and same_bias and not hooked and not autocast else None


@functools.cache
def _fast_classes() -> dict[type, type]:
    classes: dict[type, type] = {peft_layer.Linear: FastLinear}
    try:
        from peft.tuners.lora.bnb import Linear4bit, Linear8bitLt
    except ImportError:  # bitsandbytes is not installed
        return classes
    return {
        **classes,
        Linear4bit: type("FastLinear4bit", (_Fast, Linear4bit), {"__doc__": "PEFT's LoRA on 4 bits."}),
        Linear8bitLt: type("FastLinear8bitLt", (_Fast, Linear8bitLt), {"__doc__": "PEFT's LoRA on 8 bits."}),
    }


def make_fast(model: nn.Module) -> tuple[int, int]:
    """Change the class of every LoRA layer that can be fast; (how many were, how many stay PEFT's own)."""
    fast = slow = 0
    for module in model.modules():
        if not isinstance(module, peft_layer.LoraLayer):
            continue
        better = _fast_classes().get(type(module))
        if better is None or getattr(module, "fan_in_fan_out", False) or module.lora_variant:
            slow += 1
        else:
            module.__class__ = better
            fast += 1
    return fast, slow


def make_plain(model: nn.Module) -> None:
    """Undo `make_fast`: every layer is PEFT's own again."""
    plain = {fast: slow for slow, fast in _fast_classes().items()}
    for module in model.modules():
        if type(module) in plain:
            module.__class__ = plain[type(module)]
