"""The model of a plan: transformers', PEFT's and bitsandbytes' own modules on meta tensors, which have shapes and types
but no memory."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PreTrainedConfig

from lorafit.adapters.inject import Injection, inject
from lorafit.adapters.settings import AdapterSettings
from lorafit.hardware import Hardware
from lorafit.model.load import Base, switch_dropout_off
from lorafit.model.quantize import quantization_config, stay_in_training_mode
from lorafit.model.settings import Quantization

BLOCK, STATE_BLOCK = 64, 256  # weights to an NF4 constant, constants to a constant of theirs (arXiv 2305.14314, 3)


def with_layers(config: PreTrainedConfig, layers: int) -> PreTrainedConfig:
    """The same model with another number of layers; kinds of layers (sliding, full) go on in their order."""
    config = copy.deepcopy(config)
    text = config.get_text_config()
    for name, value in list(vars(text).items()):
        if isinstance(value, (list, tuple)) and len(value) == text.num_hidden_layers:
            setattr(text, name, type(value)(value[i % len(value)] for i in range(layers)))
    text.num_hidden_layers = layers
    return config


def meta_base(
    config: PreTrainedConfig, dtype: torch.dtype, quantization: Quantization, double: bool, remote_code: bool = False
) -> Base:
    """A frozen base as `load_base` makes it, without memory."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)  # also of the biases of exchanged layers
    try:
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config, trust_remote_code=remote_code)
        if quantization != "none":
            _quantize(model, quantization, double, dtype)
            stay_in_training_mode(model)
    finally:
        torch.set_default_dtype(before)
    model.requires_grad_(False)
    switch_dropout_off(model)
    return Base(model, Path(), Hardware(torch.device("meta"), dtype, "planned"), quantization, remote_code)


def meta_model(base: Base, adapter: AdapterSettings, seed: int = 0) -> Injection:
    """The base with its adapter, as `inject` makes it."""
    with torch.device("meta"):
        return inject(base, adapter, seed)


def _quantize(model: Any, quantization: Quantization, double: bool, dtype: torch.dtype) -> None:
    """What a quantised load leaves: transformers exchanges the layers by its own rule, then the weights get shapes."""
    from bitsandbytes.nn import Linear4bit, Linear8bitLt
    from transformers.integrations.bitsandbytes import replace_with_bnb_linear
    from transformers.quantizers.base import get_keys_to_not_convert

    config = quantization_config(quantization, double, dtype)
    # PEFT goes by these.
    model.is_loaded_in_4bit, model.is_loaded_in_8bit = quantization == "nf4", quantization == "int8"
    replace_with_bnb_linear(model, get_keys_to_not_convert(model), config)
    for module in model.modules():
        if isinstance(module, Linear4bit):
            _fill_nf4(module, double, dtype)
        elif isinstance(module, Linear8bitLt):
            _fill_int8(module)


def _fill_nf4(layer: Any, double: bool, dtype: torch.dtype) -> None:
    """Give a Linear4bit the packed weight and the constants that quantising would leave."""
    from bitsandbytes.functional import QuantState
    from bitsandbytes.nn import Params4bit

    weights = layer.in_features * layer.out_features
    blocks = -(-weights // BLOCK)
    state = QuantState(
        absmax=_empty(blocks, dtype=torch.uint8 if double else torch.float32),
        shape=torch.Size((layer.out_features, layer.in_features)),
        code=_empty(16),
        blocksize=BLOCK,
        quant_type="nf4",
        dtype=dtype,
    )
    if double:
        state.nested, state.offset = True, _empty()
        state.state2 = QuantState(
            absmax=_empty(-(-blocks // STATE_BLOCK)), blocksize=STATE_BLOCK, code=_empty(256), dtype=torch.float32
        )
    weight = torch.Tensor._make_subclass(Params4bit, _empty((weights + 1) // 2, 1, dtype=torch.uint8))
    weight.requires_grad = False
    weight.blocksize, weight.compress_statistics, weight.quant_type = BLOCK, double, "nf4"
    weight.quant_state, weight.quant_storage, weight.bnb_quantized, weight.module = state, torch.uint8, True, layer
    layer.weight, layer.quant_state = weight, state


def _fill_int8(layer: Any) -> None:
    """Give a Linear8bitLt its rows of 8 bits and a constant a row (LLM.int8(), arXiv 2208.07339)."""
    from bitsandbytes.nn import Int8Params

    rows = _empty(layer.out_features, layer.in_features, dtype=torch.int8)
    layer.weight = Int8Params(rows, requires_grad=False, CB=rows, SCB=_empty(layer.out_features))


def held_constants(model: nn.Module) -> list[Tensor]:
    """The constants of quantised weights, which are attributes and not parameters."""
    found: list[Tensor] = []
    for parameter in model.parameters():
        state = getattr(parameter, "quant_state", None)
        for part in (state, getattr(state, "state2", None)):
            if part is not None:
                found += [t for t in (part.absmax, part.code, part.offset) if isinstance(t, Tensor)]
        constants = getattr(parameter, "SCB", None)
        if isinstance(constants, Tensor):
            found.append(constants)
    # After its first forward an 8-bit layer has them in a state of its own.
    states = (getattr(getattr(module, "state", None), "SCB", None) for module in model.modules())
    found += [constants for constants in states if isinstance(constants, Tensor)]
    return found


def _empty(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.empty(shape, dtype=dtype, device="meta")
