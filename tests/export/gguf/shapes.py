"""Tiny random models of the families that GGUF knows, in the shapes that go wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers

SIZES = {
    "vocab_size": 520,  # more rows than the tokenizer has tokens
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 44,
    "max_position_embeddings": 256,
}
GEMMA = {**SIZES, "head_dim": 12, "query_pre_attn_scalar": 12, "sliding_window": 6}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 4.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
YARN = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 64}
SHAPES: dict[str, Callable[[], Any]] = {
    "llama": lambda: transformers.LlamaConfig(**SIZES, tie_word_embeddings=True),
    "llama-biased": lambda: transformers.LlamaConfig(**SIZES, attention_bias=True, mlp_bias=True),
    "llama-wide-heads": lambda: transformers.LlamaConfig(**SIZES, head_dim=12),
    "llama3-rope": lambda: transformers.LlamaConfig(**SIZES, rope_parameters=LLAMA3),
    "yarn-rope": lambda: transformers.LlamaConfig(**SIZES, rope_parameters=YARN),
    "linear-rope": lambda: transformers.LlamaConfig(
        **SIZES, rope_parameters={"rope_type": "linear", "rope_theta": 10000.0, "factor": 2.0}
    ),
    "mistral": lambda: transformers.MistralConfig(**SIZES, sliding_window=128),
    "qwen2": lambda: transformers.Qwen2Config(**SIZES, tie_word_embeddings=True),
    "qwen3": lambda: transformers.Qwen3Config(**SIZES, head_dim=12),
    "gemma": lambda: transformers.GemmaConfig(**SIZES, head_dim=12),
    "gemma2": lambda: transformers.Gemma2Config(**GEMMA, attn_logit_softcapping=5.0, final_logit_softcapping=3.0),
    "gemma3": lambda: transformers.Gemma3TextConfig(**{**GEMMA, "num_hidden_layers": 6}),
    "gpt2": lambda: transformers.GPT2Config(
        vocab_size=520, n_embd=32, n_layer=2, n_head=4, n_inner=76, n_positions=256, bos_token_id=0, eos_token_id=0
    ),
}
PROMPTS = [[5 + i, 6, 200 - i, 9, 11 + 7 * i, 40, 300 + i, 8] for i in range(4)]


def made(folder: Path, config: Any, tokenizer: Any) -> Path:
    """A model with random weights and random norms and biases, so that a forgotten one shows."""
    torch.manual_seed(7)
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_((0.3 if parameter.dim() == 1 else 0.1) * torch.randn_like(parameter))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def opened(folder: Path) -> Any:
    return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
