"""The shapes of the usual models, numbers only, so that a plan needs neither weights nor network.

Widths, layers and heads are those of each model's config.json, read in `litgpt/config.py` (Lightning-AI/litgpt at
0006c97), for Gemma also in `gemma/gm/nn/_gemma.py` (google-deepmind/gemma at 9fec24c), for LLaMA 1 in table 2 of
arXiv:2302.13971. Contexts and tied embeddings are from the config.json files. tests/plan/test_shapes.py holds the
published parameter count of each. What moves no memory (rotary bases, norm epsilons, initialisers) is left out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

Keys = dict[str, Any]

LLAMA: Keys = {"model_type": "llama", "vocab_size": 32_000, "tie_word_embeddings": False}
LLAMA_3: Keys = {**LLAMA, "vocab_size": 128_256}
LLAMA_3_TIED: Keys = {**LLAMA_3, "tie_word_embeddings": True}
SMOL: Keys = {**LLAMA, "vocab_size": 49_152, "tie_word_embeddings": True}
MISTRAL: Keys = {"model_type": "mistral", "vocab_size": 32_000, "tie_word_embeddings": False, "sliding_window": None}
MISTRAL_V01: Keys = {**MISTRAL, "sliding_window": 4096}
MISTRAL_V03: Keys = {**MISTRAL, "vocab_size": 32_768}
NEMO: Keys = {**MISTRAL, "vocab_size": 131_072}
QWEN_25: Keys = {"model_type": "qwen2", "vocab_size": 152_064, "tie_word_embeddings": False}
QWEN_25_TIED: Keys = {**QWEN_25, "vocab_size": 151_936, "tie_word_embeddings": True}
QWEN_3: Keys = {"model_type": "qwen3", "vocab_size": 151_936, "tie_word_embeddings": False}
QWEN_3_TIED: Keys = {**QWEN_3, "tie_word_embeddings": True}
GEMMA_2: Keys = {"model_type": "gemma2", "vocab_size": 256_000, "tie_word_embeddings": True, "sliding_window": 4096}
GEMMA_3: Keys = {"model_type": "gemma3_text", "vocab_size": 262_144, "tie_word_embeddings": True, "sliding_window": 512}
# The language part of a model that also reads images; its vocabulary has 64 more places.
GEMMA_3_IMAGES: Keys = {**GEMMA_3, "vocab_size": 262_208, "sliding_window": 1024}
PHI_3: Keys = {"model_type": "phi3", "vocab_size": 32_064, "tie_word_embeddings": False}
PHI_3_4K: Keys = {**PHI_3, "sliding_window": 2047}
PHI_3_128K: Keys = {**PHI_3, "sliding_window": 262_144}

# gemma-3-4b, 12b and 27b hold 419.8, 421.3 and 423.1 million parameters more than their language part.
IMAGES_LEFT_OUT = "the language part alone; the real model has an image encoder of 0.42 B parameters more"


@dataclass(frozen=True, slots=True)
class Shape:
    """One shape and the models that have it: names with braces as in a shell, each with its context in tokens.

    Names are hub ids, and a few short ones that people use (llama-33b, gemma-3-4b).
    """

    layers: int
    width: int
    feed_forward: int
    heads: int
    kv_heads: int
    head_dim: int
    family: Keys
    names: dict[str, int]

    @property
    def note(self) -> str:
        """What the numbers leave out of the real model."""
        return IMAGES_LEFT_OUT if self.family is GEMMA_3_IMAGES else ""

    def config(self, context: int) -> Keys:
        """The keys of config.json for a member with `context` tokens."""
        return {
            **self.family,
            "num_hidden_layers": self.layers,
            "hidden_size": self.width,
            "intermediate_size": self.feed_forward,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads,
            "head_dim": self.head_dim,
            "max_position_embeddings": context,
        }


# fmt: off
SHAPES = (
    # layers, width, feed-forward, heads, key-value heads, head
    Shape(32, 4096, 11008, 32, 32, 128, LLAMA, {
        "huggyllama/llama-7b": 2048, "meta-llama/Llama-2-7b{,-hf,-chat,-chat-hf}": 4096}),
    Shape(40, 5120, 13824, 40, 40, 128, LLAMA, {
        "huggyllama/llama-13b": 2048, "meta-llama/Llama-2-13b{,-hf,-chat,-chat-hf}": 4096}),
    Shape(60, 6656, 17920, 52, 52, 128, LLAMA, {"huggyllama/llama-30b": 2048, "llama-33b": 2048}),
    Shape(80, 8192, 22016, 64, 64, 128, LLAMA, {"huggyllama/llama-65b": 2048}),
    Shape(80, 8192, 28672, 64, 8, 128, LLAMA, {"meta-llama/Llama-2-70b{,-hf,-chat,-chat-hf}": 4096}),
    Shape(22, 2048, 5632, 32, 4, 64, LLAMA, {
        "TinyLlama/TinyLlama-1.1B{,-Chat-v1.0,-intermediate-step-1431k-3T}": 2048}),
    Shape(32, 4096, 14336, 32, 8, 128, LLAMA_3, {
        "meta-llama/{Meta-,}Llama-3-8B{,-Instruct}": 8192, "meta-llama/{Meta-,}Llama-3.1-8B{,-Instruct}": 131_072}),
    Shape(80, 8192, 28672, 64, 8, 128, LLAMA_3, {
        "meta-llama/{Meta-,}Llama-3-70B{,-Instruct}": 8192, "meta-llama/{Meta-,}Llama-3.1-70B{,-Instruct}": 131_072,
        "meta-llama/Llama-3.3-70B-Instruct": 131_072}),
    Shape(16, 2048, 8192, 32, 8, 64, LLAMA_3_TIED, {"meta-llama/Llama-3.2-1B{,-Instruct}": 131_072}),
    Shape(28, 3072, 8192, 24, 8, 128, LLAMA_3_TIED, {"meta-llama/Llama-3.2-3B{,-Instruct}": 131_072}),

    Shape(32, 4096, 14336, 32, 8, 128, MISTRAL_V01, {"mistralai/Mistral-7B{,-Instruct}-v0.1": 32_768}),
    Shape(32, 4096, 14336, 32, 8, 128, MISTRAL, {"mistralai/Mistral-7B-Instruct-v0.2": 32_768}),
    Shape(32, 4096, 14336, 32, 8, 128, MISTRAL_V03, {"mistralai/Mistral-7B{,-Instruct}-v0.3": 32_768}),
    Shape(40, 5120, 14336, 32, 8, 128, NEMO, {
        "mistralai/Mistral-Nemo-{Base,Instruct}-2407": 131_072, "mistral-nemo{,-12b}": 131_072}),

    Shape(24, 896, 4864, 14, 2, 64, QWEN_25_TIED, {"Qwen/Qwen2.5-0.5B{,-Instruct}": 32_768}),
    Shape(28, 1536, 8960, 12, 2, 128, QWEN_25_TIED, {
        "Qwen/Qwen2.5-1.5B": 131_072, "Qwen/Qwen2.5-1.5B-Instruct": 32_768}),
    Shape(36, 2048, 11008, 16, 2, 128, QWEN_25_TIED, {"Qwen/Qwen2.5-3B{,-Instruct}": 32_768}),
    Shape(28, 3584, 18944, 28, 4, 128, QWEN_25, {"Qwen/Qwen2.5-7B": 131_072, "Qwen/Qwen2.5-7B-Instruct": 32_768}),
    Shape(48, 5120, 13824, 40, 8, 128, QWEN_25, {"Qwen/Qwen2.5-14B": 131_072, "Qwen/Qwen2.5-14B-Instruct": 32_768}),
    Shape(64, 5120, 27648, 40, 8, 128, QWEN_25, {"Qwen/Qwen2.5-32B": 131_072, "Qwen/Qwen2.5-32B-Instruct": 32_768}),
    Shape(80, 8192, 29568, 64, 8, 128, QWEN_25, {"Qwen/Qwen2.5-72B": 131_072, "Qwen/Qwen2.5-72B-Instruct": 32_768}),

    Shape(28, 1024, 3072, 16, 8, 128, QWEN_3_TIED, {"Qwen/Qwen3-0.6B": 40_960, "Qwen/Qwen3-0.6B-Base": 32_768}),
    Shape(28, 2048, 6144, 16, 8, 128, QWEN_3_TIED, {"Qwen/Qwen3-1.7B": 40_960, "Qwen/Qwen3-1.7B-Base": 32_768}),
    Shape(36, 2560, 9728, 32, 8, 128, QWEN_3_TIED, {
        "Qwen/Qwen3-4B": 40_960, "Qwen/Qwen3-4B-Base": 32_768, "Qwen/Qwen3-4B-{Instruct,Thinking}-2507": 262_144}),
    Shape(36, 4096, 12288, 32, 8, 128, QWEN_3, {"Qwen/Qwen3-8B": 40_960, "Qwen/Qwen3-8B-Base": 32_768}),
    Shape(40, 5120, 17408, 40, 8, 128, QWEN_3, {"Qwen/Qwen3-14B": 40_960, "Qwen/Qwen3-14B-Base": 32_768}),
    Shape(64, 5120, 25600, 64, 8, 128, QWEN_3, {"Qwen/Qwen3-32B": 40_960}),

    Shape(26, 2304, 9216, 8, 4, 256, GEMMA_2, {"google/gemma-2-2b{,-it}": 8192}),
    Shape(42, 3584, 14336, 16, 8, 256, GEMMA_2, {"google/gemma-2-9b{,-it}": 8192}),
    Shape(46, 4608, 36864, 32, 16, 128, GEMMA_2, {"google/gemma-2-27b{,-it}": 8192}),
    Shape(18, 640, 2048, 4, 1, 256, GEMMA_3, {"google/gemma-3-270m{,-it}": 32_768}),
    Shape(26, 1152, 6912, 4, 1, 256, GEMMA_3, {"google/gemma-3-1b{,-pt,-it}": 32_768}),
    Shape(34, 2560, 10240, 8, 4, 256, GEMMA_3_IMAGES, {"google/gemma-3-4b{,-pt,-it}": 131_072}),
    Shape(48, 3840, 15360, 16, 8, 256, GEMMA_3_IMAGES, {"google/gemma-3-12b{,-pt,-it}": 131_072}),
    Shape(62, 5376, 21504, 32, 16, 128, GEMMA_3_IMAGES, {"google/gemma-3-27b{,-pt,-it}": 131_072}),

    Shape(30, 576, 1536, 9, 3, 64, SMOL, {"HuggingFaceTB/SmolLM2-135M{,-Instruct}": 8192}),
    Shape(32, 960, 2560, 15, 5, 64, SMOL, {"HuggingFaceTB/SmolLM2-360M{,-Instruct}": 8192}),
    Shape(24, 2048, 8192, 32, 32, 64, SMOL, {"HuggingFaceTB/SmolLM2-1.7B{,-Instruct}": 8192}),
    Shape(32, 3072, 8192, 32, 32, 96, PHI_3_4K, {"microsoft/Phi-3-mini{,-4k-instruct}": 4096}),
    Shape(32, 3072, 8192, 32, 32, 96, PHI_3_128K, {
        "microsoft/Phi-3-mini-128k-instruct": 131_072, "microsoft/Phi-3.5-mini-instruct": 131_072}),
)
# fmt: on


def expand(pattern: str) -> list[str]:
    """`a{b,c}d` as abd and acd; a pattern without braces as itself."""
    braces = re.fullmatch(r"([^{]*)\{([^}]*)\}(.*)", pattern)
    if not braces:
        return [pattern]
    before, choices, after = braces.groups()
    return [before + choice + rest for choice in choices.split(",") for rest in expand(after)]


# Every name in full, with its shape and context.
FULL_NAMES: dict[str, tuple[Shape, int]] = {
    name: (shape, context) for shape in SHAPES for pattern, context in shape.names.items() for name in expand(pattern)
}
# What a user may write, in lower case: with the owner or without.
SPELLINGS: dict[str, str] = {
    spelling.lower(): name for name in FULL_NAMES for spelling in (name, name.rpartition("/")[2])
}
