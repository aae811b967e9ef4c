"""Rotary embeddings: what a transformers config says about them, in GGUF's keys.

linear divides positions; llama3 stretches slow frequencies (a tensor of factors in GGUF); yarn mixes both by frequency
(Peng et al. 2023, arXiv:2309.00071), which llama.cpp computes from the same figures.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

KINDS = ("default", "linear", "llama3", "yarn")


def rope_fault(config: Any) -> str | None:
    """Why llama.cpp cannot turn positions as this config asks, or None."""
    for rope in _parameters(config):
        kind = rope.get("rope_type", "default")
        if kind not in KINDS:
            return f"its rope scaling is {kind}; {', '.join(KINDS[1:])} can be written"
        if rope.get("partial_rotary_factor", 1.0) != 1.0:
            return "only a part of each head is rotated"
        if kind == "yarn" and not _plain_yarn(rope):
            return "its yarn scaling has no factor, or sets mscale or an attention_factor of its own"
    return None


def _plain_yarn(rope: dict[str, Any]) -> bool:
    if not rope.get("factor"):
        return False
    usual = 0.1 * math.log(rope["factor"]) + 1.0
    chosen = rope.get("attention_factor")
    return (
        not (rope.get("mscale") or rope.get("mscale_all_dim"))
        and (chosen is None or math.isclose(chosen, usual))
        and rope.get("truncate", True) is not False
    )


def _parameters(config: Any) -> list[dict[str, Any]]:
    rope = config.rope_parameters or {}
    return list(rope.values()) if "full_attention" in rope else [rope]


def global_rope(config: Any) -> dict[str, Any]:
    """The rotary parameters of the layers that see everything."""
    rope = config.rope_parameters
    found: dict[str, Any] = rope.get("full_attention", rope)
    return found


def add_rope(writer: Any, config: Any, head_size: int) -> None:
    """Write the rotary keys of `config` with gguf's writer."""
    from gguf import RopeScalingType

    rope = global_rope(config)
    writer.add_rope_dimension_count(head_size)
    writer.add_rope_freq_base(float(rope["rope_theta"]))
    local = config.rope_parameters.get("sliding_attention")
    if local is not None:
        writer.add_rope_freq_base_swa(float(local["rope_theta"]))
    kind = rope.get("rope_type", "default")
    if kind in ("linear", "yarn"):
        writer.add_rope_scaling_type(RopeScalingType(kind))
        writer.add_rope_scaling_factor(float(rope["factor"]))
    if kind == "yarn":
        writer.add_rope_scaling_orig_ctx_len(
            int(rope.get("original_max_position_embeddings") or config.max_position_embeddings)
        )
        writer.add_rope_scaling_yarn_beta_fast(float(rope.get("beta_fast") or 32))
        writer.add_rope_scaling_yarn_beta_slow(float(rope.get("beta_slow") or 1))


def llama3_factors(config: Any, head_size: int) -> Tensor | None:
    """What each of the head_size / 2 frequencies is divided by, float32, for llama3 scaling; None for other kinds.

    Waves longer than the original context / low_freq_factor are stretched by `factor`, those shorter than the original
    context / high_freq_factor are kept, and frequencies between them are interpolated (Llama 3.1's release).
    """
    rope = global_rope(config) if getattr(config, "rope_parameters", None) else {}
    if rope.get("rope_type") != "llama3":
        return None
    frequencies: Tensor = float(rope["rope_theta"]) ** -(torch.arange(0, head_size, 2, dtype=torch.float64) / head_size)
    turns = rope["original_max_position_embeddings"] * frequencies / (2 * math.pi)
    low, high = rope["low_freq_factor"], rope["high_freq_factor"]
    kept = ((turns - low) / (high - low)).clamp(0, 1)
    factors: Tensor = 1 / (kept + (1 - kept) / rope["factor"])
    return factors.float()
