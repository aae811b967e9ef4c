"""Quantised bases through bitsandbytes, kept fit for training.

bitsandbytes owns the formats and the kernels. Two of its habits change state or function in evaluation mode, on the
CPU, and would make validation spoil training; both are switched off by keeping its layers in training mode:

* Linear4bit repacks its weight at the first evaluation-mode forward where the processor has AVX512-BF16. After that
  the backward reads the repacked bytes as if they were in the old order, and sizes must divide by its block.
* Linear8bitLt on the CPU rounds the *activations* to 8 bits in evaluation mode but not in training mode: validation
  would measure another function than the one that is trained. (On CUDA it rounds them in both.)

A third fault is of the CPU kernel that dequantises NF4: where a row is no whole number of blocks it may take another
block's constant (bitsandbytes 0.50.2: wrong for rows of 32 or 96, right for 44 or 172). Blocks run through the whole
weight, so such a weight is dequantised as one long row, which is right for every size.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import logging
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from lorafit.errors import ModelError
from lorafit.hardware import kind_of
from lorafit.model.settings import Quantization

# bitsandbytes warns for every 8-bit product that it casts its input, which is what was asked for.
logging.getLogger("bitsandbytes.autograd._functions").setLevel(logging.ERROR)


def quantization_config(kind: Quantization, double: bool, dtype: torch.dtype) -> Any:
    """The transformers configuration of a quantised load, or None for `none`.

    NF4 and double quantisation: QLoRA, arXiv 2305.14314, section 3. 8-bit: LLM.int8(), arXiv 2208.07339.
    """
    if kind == "none":
        return None
    _bitsandbytes()
    from transformers import BitsAndBytesConfig

    if kind == "int8":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=double,
        bnb_4bit_compute_dtype=dtype,
    )


def _bitsandbytes() -> Any:
    try:
        import bitsandbytes
    except ImportError:
        raise ModelError(
            "model.quantization needs bitsandbytes, which is not installed: pip install bitsandbytes.\n"
            "Or train on the base as it is with model.quantization=none."
        ) from None
    return bitsandbytes


@functools.cache
def _steady_classes() -> dict[type, type]:
    """bitsandbytes' layer classes, each to a subclass whose evaluation mode does nothing."""
    bnb = _bitsandbytes()

    class Linear4bit(bnb.nn.Linear4bit):  # type: ignore[name-defined]
        def train(self, mode: bool = True) -> Any:
            return super().train(True)

        def forward(self, x: Tensor) -> Tensor:
            if has_ragged_rows(self):
                product: Tensor = _RaggedLinear.apply(x, self)
                return product if self.bias is None else product + self.bias.to(product.dtype)
            return super().forward(x)  # type: ignore[no-any-return]

    class Linear8bitLt(bnb.nn.Linear8bitLt):  # type: ignore[name-defined]
        def train(self, mode: bool = True) -> Any:
            return super().train(True)

    return {bnb.nn.Linear4bit: Linear4bit, bnb.nn.Linear8bitLt: Linear8bitLt}


def stay_in_training_mode(model: nn.Module) -> None:
    """Keep every bitsandbytes layer of the model in training mode, whatever `model.eval()` says later."""
    for module in model.modules():
        if steady := _steady_classes().get(type(module)):
            module.__class__ = steady
            module.train()


class _RaggedLinear(torch.autograd.Function):
    """x @ W.T with W dequantised in the forward and again in the backward; nothing but the layer is kept."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: Any) -> Tensor:
        ctx.layer = layer
        return x @ dequantized_weight(layer).to(x.dtype).T

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, None]:
        (gradient,) = gradients
        return gradient @ dequantized_weight(ctx.layer).to(gradient.dtype), None


def has_ragged_rows(layer: Any) -> bool:
    """Whether a 4-bit layer on the CPU has rows that are no whole number of blocks."""
    return bool(kind_of(layer.weight.device) == "cpu" and layer.in_features % layer.weight.blocksize)


def is_quantized(layer: nn.Module) -> bool:
    """Whether a linear layer keeps its weight in a bitsandbytes format."""
    return type(getattr(layer, "weight", None)).__name__ in ("Params4bit", "Int8Params")


def dequantized_weight(layer: Any) -> Tensor:
    """The weight of a quantised linear layer as the layer computes with it, [out, in]."""
    from bitsandbytes import functional

    weight = layer.weight
    if type(weight).__name__ == "Params4bit":
        state = weight.quant_state
        if has_ragged_rows(layer):
            state = copy.copy(state)
            state.shape = torch.Size([state.shape.numel()])
        return functional.dequantize_4bit(weight.data, state).view(weight.quant_state.shape)  # type: ignore[no-any-return]
    rows, constants = _rows_and_constants(layer)
    return rows.float() * (constants.float().unsqueeze(1) / 127.0)


def _rows_and_constants(layer: Any) -> tuple[Tensor, Tensor]:
    """An 8-bit layer's weight, int8 [out, in], and its constants, float32 [out]: in its state after the first call."""
    state, weight = layer.state, layer.weight
    return weight.data if state.CB is None else state.CB, weight.SCB if state.SCB is None else state.SCB


class SharedWeights:
    """Dequantised weights handed on from a recomputation to the backward after it, which then dequantises nothing.

    Kept are the weights of the last recomputation alone, each until it is asked for.
    """

    def __init__(self) -> None:
        self._kept: dict[nn.Module, Tensor] = {}
        self._filling = False

    @contextlib.contextmanager
    def recomputing(self) -> Iterator[None]:
        """Within this block weights are dequantised and kept; after it they are given away."""
        self._kept.clear()
        self._filling = True
        try:
            yield
        finally:
            self._filling = False

    def weight(self, layer: Any, dtype: torch.dtype) -> Tensor:
        """The weight of a quantised layer, [out, in]."""
        kept = None if self._filling else self._kept.pop(layer, None)
        weight = dequantized_weight(layer).to(dtype) if kept is None else kept
        if self._filling:
            self._kept[layer] = weight
        return weight


@contextlib.contextmanager
def sharing_weights(part: nn.Module, shared: SharedWeights) -> Iterator[None]:
    """Within this block `computed_weight` of the 4-bit layers under `part` goes through `shared`."""
    # PEFT's layers show the weight of the base layer within them as theirs.
    layers = [layer for layer in part.modules() if type(layer._parameters.get("weight")).__name__ == "Params4bit"]
    for layer in layers:
        layer.shared_weights = shared  # type: ignore[assignment]
    try:
        yield
    finally:
        for layer in layers:
            del layer.shared_weights


def computed_weight(layer: Any, dtype: torch.dtype) -> Tensor:
    """The weight of a quantised layer in the dtype of a product, [out, in]: dequantised here, or shared."""
    if type(layer.weight).__name__ == "Int8Params":  # in the order of bitsandbytes' own backward
        rows, constants = _rows_and_constants(layer)
        return rows.to(dtype, copy=True).mul_(constants.unsqueeze(1).mul(1.0 / 127.0))
    shared: SharedWeights | None = getattr(layer, "shared_weights", None)
    return dequantized_weight(layer).to(dtype) if shared is None else shared.weight(layer, dtype)


def requantize(layer: Any, weight: Tensor) -> None:
    """Replace the weight of a quantised layer by `weight` ([out, in]), quantised in the layer's own format."""
    bnb = _bitsandbytes()
    device = layer.weight.device
    if type(layer.weight).__name__ == "Params4bit":
        old = layer.weight
        layer.weight = bnb.nn.Params4bit(
            weight.detach().to("cpu").contiguous(),
            requires_grad=False,
            blocksize=old.blocksize,
            compress_statistics=old.compress_statistics,
            quant_type=old.quant_type,
            quant_storage=old.quant_storage,
            module=layer,
        ).to(device)
        return
    layer.weight = bnb.nn.Int8Params(
        weight.detach().to("cpu", torch.float16).contiguous(), requires_grad=False, has_fp16_weights=False
    ).to(device)
    layer.state.CB = layer.state.SCB = None
    layer.init_8bit_state()
