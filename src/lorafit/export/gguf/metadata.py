"""A transformers config as GGUF's model keys."""

from __future__ import annotations

from typing import Any

from lorafit.export.gguf.families import Family
from lorafit.export.gguf.rope import add_rope


def head_size(config: Any) -> int:
    """Width of one attention head."""
    chosen = getattr(config, "head_dim", None)
    return int(chosen or config.hidden_size // config.num_attention_heads)


def context_length(config: Any, family: Family) -> tuple[int, str | None]:
    """The tokens that the file says the model takes, and a remark where that is less than the config says.

    llama.cpp has no sliding window for Llama, Qwen2 and Qwen3: within the window nothing differs, beyond it everything
    would, so the context ends there.
    """
    longest = int(config.max_position_embeddings)
    kinds = getattr(config, "layer_types", None)
    slides = "sliding_attention" in kinds if kinds else True
    window = getattr(config, "sliding_window", None) if slides and not family.slides else None
    if window is None or window >= longest:
        return longest, None
    return int(window), (
        f"llama.cpp has no sliding window for {family.title}: the file says {window} tokens of context (the window), "
        f"not {longest}"
    )


def add_model(writer: Any, config: Any, family: Family, name: str) -> list[str]:
    """Write the model's keys with gguf's writer; returns remarks for people."""
    context, remark = context_length(config, family)
    writer.add_name(name)
    writer.add_context_length(context)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_head_count(config.num_attention_heads)
    writer.add_vocab_size(config.vocab_size)
    if family.name == "gpt2":
        writer.add_feed_forward_length(config.n_inner or 4 * config.hidden_size)
        writer.add_layer_norm_eps(config.layer_norm_epsilon)
        return []
    size = head_size(config)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(size)
    writer.add_value_length(size)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    add_rope(writer, config, size)
    if family.slides:
        writer.add_sliding_window(config.sliding_window)
        _add_soft_caps(writer, config)
    return [remark] if remark else []


def _add_soft_caps(writer: Any, config: Any) -> None:
    for cap, add in (
        (config.attn_logit_softcapping, writer.add_attn_logit_softcapping),
        (config.final_logit_softcapping, writer.add_final_logit_softcapping),
    ):
        if cap is not None:
            add(float(cap))
