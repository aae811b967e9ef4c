"""The model families that GGUF export knows: what llama.cpp computes for each, and where that differs from
transformers.

llama.cpp fixes much of an architecture in its code (activations, which layers slide, the scale of attention). A config
that asks for something else would load and answer wrongly, so it is refused here, before anything is written. Read from
llama.cpp's src/models and the tensor maps of the gguf package.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from lorafit.errors import ExportError
from lorafit.export.gguf.rope import rope_fault

TANH_GELU = ("gelu_pytorch_tanh", "gelu_new", "gelu_fast")


@dataclass(frozen=True, slots=True)
class Family:
    """name: GGUF's architecture; fault: why a config of this model type cannot be written, or None.

    rotary_pairs: q and k rows are reordered, as llama.cpp turns neighbouring rows of a head together, transformers rows
    half a head apart. norm_offset: norms multiply by 1 + w. slides: llama.cpp knows its sliding window.
    """

    name: str
    title: str
    fault: Callable[[Any], str | None]
    rotary_pairs: bool = False
    norm_offset: bool = False
    slides: bool = False


def _gated(activation: tuple[str, ...]) -> Callable[[Any], str | None]:
    def fault(config: Any) -> str | None:
        used = getattr(config, "hidden_activation", None) or config.hidden_act
        if used not in activation:
            return f"its activation is {used}, llama.cpp computes {activation[0]}"
        if getattr(config, "use_bidirectional_attention", None):
            return "it attends in both directions"
        return rope_fault(config)

    return fault


def _gemma_slides(period: int) -> Callable[[Any], str | None]:
    """Every `period`-th layer of Gemma 2 and 3 sees the whole text, and attention has the scale of its head."""

    def fault(config: Any) -> str | None:
        expected = [
            "full_attention" if (layer + 1) % period == 0 else "sliding_attention"
            for layer in range(config.num_hidden_layers)
        ]
        if list(config.layer_types) != expected:
            return f"its layers do not slide in llama.cpp's order (every {period}. layer sees everything)"
        # The largest Gemma models scale by hidden size / heads; llama.cpp knows them by their number of layers.
        largest = config.num_hidden_layers == {2: 46, 6: 62}[period]
        scale = config.hidden_size / config.num_attention_heads if largest else config.head_dim
        if config.query_pre_attn_scalar != scale:
            return f"its query_pre_attn_scalar is {config.query_pre_attn_scalar}, llama.cpp computes with {scale:g}"
        return _gated(TANH_GELU)(config)

    return fault


def _gpt2(config: Any) -> str | None:
    if config.activation_function not in TANH_GELU:
        return f"its activation is {config.activation_function}, llama.cpp computes gelu_new"
    if not config.scale_attn_weights or config.scale_attn_by_inverse_layer_idx:
        return "its attention is scaled otherwise than GPT-2's"
    if config.add_cross_attention:
        return "it has cross-attention"
    return None


_SWISH = _gated(("silu", "swish"))

# By transformers' model_type. Mistral is Llama with a window, which llama.cpp leaves out (metadata.py says the rest).
FAMILIES: dict[str, Family] = {
    "llama": Family("llama", "Llama", _SWISH, rotary_pairs=True),
    "mistral": Family("llama", "Mistral", _SWISH, rotary_pairs=True),
    "qwen2": Family("qwen2", "Qwen2", _SWISH),
    "qwen3": Family("qwen3", "Qwen3", _SWISH),
    "gemma": Family("gemma", "Gemma", _gated(TANH_GELU), norm_offset=True),
    "gemma2": Family("gemma2", "Gemma 2", _gemma_slides(2), norm_offset=True, slides=True),
    "gemma3_text": Family("gemma3", "Gemma 3 (text)", _gemma_slides(6), norm_offset=True, slides=True),
    "gpt2": Family("gpt2", "GPT-2", _gpt2),
}


def supports(config: Mapping[str, Any] | Any) -> str | None:
    """Why a model cannot become GGUF, as one sentence for people; None when it can.

    `config` is the content of a config.json or a transformers config.
    """
    read = _as_config(config) if isinstance(config, Mapping) else config
    kind = config.get("model_type") if isinstance(config, Mapping) else config.model_type
    family = FAMILIES.get(str(kind))
    if family is None:
        known = ", ".join(one.title for one in FAMILIES.values())
        return f"GGUF export does not know the architecture {kind!r}. It knows {known}."
    if getattr(read, "quantization_config", None):
        return "GGUF export starts from 16- or 32-bit weights, and these are quantised. Merge first."
    fault = family.fault(read)
    return None if fault is None else f"GGUF export cannot write this {family.title} model: {fault}."


def family_of(config: Any) -> Family:
    """The family of a transformers config. Raises ExportError where `supports` names a fault."""
    fault = supports(config)
    if fault is not None:
        raise ExportError(fault)
    return FAMILIES[config.model_type]


def pair_rotary_rows(weight: Tensor, heads: int) -> Tensor:
    """Rows [heads * d, ...] from transformers' order in a head (0, d/2, 1, d/2 + 1, ... lie half a head apart) to
    llama.cpp's, where rows that turn together are neighbours."""
    size = len(weight) // heads
    return weight.reshape(heads, 2, size // 2, *weight.shape[1:]).transpose(1, 2).reshape(weight.shape)


def transformed(family: Family, config: Any, name: str, weight: Tensor) -> Tensor:
    """A weight (or bias, or the B of an adapter [out, rank]) of the linear layer or norm `name`, as llama.cpp computes
    with it: [out, in]."""
    if family.rotary_pairs and (".q_proj." in name or ".k_proj." in name):
        heads = config.num_attention_heads if ".q_proj." in name else config.num_key_value_heads
        return pair_rotary_rows(weight, heads)
    if family.norm_offset and name.endswith("norm.weight"):
        return weight.float() + 1
    return weight


def _as_config(content: Mapping[str, Any]) -> Any:
    from transformers import AutoConfig

    kind = str(content.get("model_type"))
    if kind not in FAMILIES:
        return None
    return AutoConfig.for_model(kind, **{key: value for key, value in content.items() if key != "model_type"})
