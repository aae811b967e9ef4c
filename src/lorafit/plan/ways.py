"""Which way a run will take through a model, where there are no weights yet: asked of a small model of the same kind.

Whether documents can share a row and whether the head can be called by itself is found out by running the model
(model/forward.py). Neither depends on its size, so the answer of a small one with random weights is the answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForCausalLM, PreTrainedConfig

from lorafit.model.forward import choose_forward, plain_head
from lorafit.model.load import quiet_transformers, switch_dropout_off
from lorafit.plan.meta import with_layers
from lorafit.plan.simulate import period

# Few enough to build at once; more than the probe of `choose_forward` needs.
VOCABULARY, INNER, EXPERTS = 128, 64, 4
# Larger than the usual start (0.02), so that a neighbour's influence shows.
SPREAD = 0.05
INNER_NAMES = ("intermediate_size", "moe_intermediate_size", "shared_expert_intermediate_size", "ffn_dim", "n_inner")
EXPERT_NAMES = ("num_experts", "num_local_experts", "n_routed_experts")


@dataclass(frozen=True, slots=True)
class Ways:
    """packed: documents share rows. plain_head: the head is called by itself where it is frozen. reason: why not
    packed, in the words of `choose_forward`."""

    packed: bool
    plain_head: bool
    reason: str | None


def ways_of(config: PreTrainedConfig, remote_code: bool = False) -> Ways:
    """What `choose_forward` and `plain_head` find for a model of this config, whatever its size.

    Neither the config nor torch's random numbers are changed. An architecture that cannot be built small is taken to
    be one that cannot pack, and the reason says so.
    """
    try:
        model = _small_model(config, remote_code)
    except (OSError, ValueError, KeyError, RuntimeError, TypeError, AttributeError, IndexError, ImportError) as error:
        text = " ".join(str(error).split())[:200]
        return Ways(False, False, f"{config.model_type}: a small model of this kind cannot be built ({text})")
    forward, reason = choose_forward(model)
    return Ways(forward.packed, plain_head(model) is not None, reason)


def _small_model(config: PreTrainedConfig, remote_code: bool) -> nn.Module:
    """A frozen float32 model on the CPU, the same at every call."""
    small = _shrunk(config)
    # Buffers have their values from the model's own code, which draws its weights from torch's generator.
    with quiet_transformers(), torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.manual_seed(0)
        model: nn.Module = AutoModelForCausalLM.from_config(small, dtype=torch.float32, trust_remote_code=remote_code)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(SPREAD * torch.randn_like(parameter))
    model.requires_grad_(False)
    switch_dropout_off(model)
    return model


def _shrunk(config: PreTrainedConfig) -> PreTrainedConfig:
    """A copy with one period of layers, few heads and a small vocabulary; a head keeps its width, which rotary
    embeddings are made for."""
    small = with_layers(config, period(config, "none"))
    text: Any = small.get_text_config()
    heads = text.num_attention_heads
    grouped = getattr(text, "num_key_value_heads", None)
    width = getattr(text, "head_dim", None) or text.hidden_size // heads
    text.num_attention_heads = 2
    if grouped is not None:
        text.num_key_value_heads = 2 if grouped == heads else 1
    text.hidden_size = 2 * width
    text.vocab_size = VOCABULARY
    for name in INNER_NAMES:
        if isinstance(getattr(text, name, None), int):
            setattr(text, name, INNER)
    for name in EXPERT_NAMES:
        if isinstance(getattr(text, name, None), int):
            setattr(text, name, max(EXPERTS, getattr(text, "num_experts_per_tok", 0) or 0))
    for holder in (small, text):  # they would lie outside of the vocabulary
        for name in ("pad_token_id", "bos_token_id", "eos_token_id"):
            setattr(holder, name, None)
    return small
