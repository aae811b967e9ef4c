"""The work that the benchmarks have in common: shapes, examples, a model with random weights, the machine's roof.

Import it before torch: `parse` sets the number of threads from the command line. This file imports nothing heavy by
itself.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import Any

SHAPES: dict[str, dict[str, Any]] = {
    "135m": {
        "vocab_size": 49152, "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30,
        "num_attention_heads": 9, "num_key_value_heads": 3, "rope_theta": 1e5, "rms_norm_eps": 1e-5,
    },
    "0.6b": {
        "vocab_size": 151936, "hidden_size": 1024, "intermediate_size": 3072, "num_hidden_layers": 28,
        "num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 128, "rope_theta": 1e6, "rms_norm_eps": 1e-6,
    },
}  # fmt: skip
# Two layers, to see in a minute whether something runs; its figures mean nothing.
SHAPES["tiny"] = SHAPES["135m"] | {"num_hidden_layers": 2}
BATCH, LONGEST, RANK = 16, 512, 16


def parser(description: str | None, rounds: int = 3) -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=(description or "").split("\n\n")[0])
    made.add_argument("--shape", choices=SHAPES, default="135m")
    made.add_argument("--rounds", type=int, default=rounds)
    made.add_argument("--threads", type=int, default=os.cpu_count())
    made.add_argument("--shared", type=Path, default=Path(__file__).parents[2] / "shared")
    return made


def parse(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """The arguments, with the number of threads set for every library."""
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(arguments.threads)
    import torch

    torch.set_num_threads(arguments.threads)
    return arguments


def vocabulary(shape: str) -> int:
    """How many ids text may have: the last two of the vocabulary stand for the end and for padding."""
    return int(SHAPES[shape]["vocab_size"]) - 2


def samples(shared: Path, vocabulary: int, count: int) -> list[Any]:
    """Real lengths and masks where there are some; the ids fold into the vocabulary.

    Else lengths of the same distribution are drawn.
    """
    import numpy as np
    import transformers

    from lorafit.data.prepare import prepare
    from lorafit.data.template import Renderer, choose_template
    from lorafit.records import Sample, Source

    data, tokenizer = shared / "data/alpaca/alpaca_en_demo.json", shared / "tokenizers/gpt2"
    if data.is_file() and tokenizer.is_dir():
        made = transformers.AutoTokenizer.from_pretrained(tokenizer)
        made.eos_token = made.eos_token or "<|endoftext|>"
        renderer = Renderer(made, choose_template(made, "alpaca"))
        part = prepare(renderer, str(data), 0.0, LONGEST, limit=count).training
        return [Sample(s.token_ids % vocabulary, s.trained, s.source) for s in part.samples]
    print("no shared folder: lengths are drawn, log-normal with a median of 164")
    draw, made_up = np.random.default_rng(0), []
    for number in range(count):
        length = int(np.clip(draw.lognormal(np.log(164), 0.65), 16, LONGEST))
        trained = np.arange(length) >= max(1, int(0.27 * length))
        made_up.append(Sample(draw.integers(0, vocabulary, length), trained, Source("drawn", number + 1)))
    return made_up


def random_model(shape: str, dtype: str = "bfloat16", **changes: Any) -> Any:
    """A frozen model of the shape with random weights, the same each time; changes: of its configuration."""
    import torch
    import transformers

    sizes = SHAPES[shape]
    family = transformers.Qwen3Config if shape == "0.6b" else transformers.LlamaConfig
    special = {"tie_word_embeddings": True, "max_position_embeddings": 2048, "bos_token_id": None}
    ends = {"eos_token_id": sizes["vocab_size"] - 2, "pad_token_id": sizes["vocab_size"] - 1}
    torch.manual_seed(0)
    config = family(**{**sizes, **special, **ends, **changes})
    return transformers.AutoModelForCausalLM.from_config(config, dtype=getattr(torch, dtype)).requires_grad_(False)


def with_lora(model: Any, rank: int = RANK, dropout: float = 0.0) -> Any:
    """PEFT's LoRA on every linear layer, its B not zero."""
    import peft
    import torch

    config = peft.LoraConfig(
        r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM", lora_dropout=dropout
    )
    model = peft.get_peft_model(model, config).train()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.02)
    return model


def linear_parameters(model: Any) -> int:
    """The frozen weights of the linear layers and the head: what a token is multiplied with.

    A step costs 4 floating-point operations for each, and token: forward and input gradient, no weight gradient.
    """
    import torch

    return sum(m.weight.numel() for m in model.modules() if type(m) is torch.nn.Linear and not m.weight.requires_grad)


def matrix_roof(shape: str) -> float:
    """The fastest bfloat16 matrix product of sizes as they occur here, in floating-point operations a second."""
    import torch

    inputs, outputs = SHAPES[shape]["hidden_size"], SHAPES[shape]["intermediate_size"]
    best = 0.0
    for tokens in (512, 1024, 2048):
        x, w = torch.randn(tokens, inputs).bfloat16(), torch.randn(outputs, inputs).bfloat16()
        for _ in range(40):
            began = time.perf_counter()
            torch.nn.functional.linear(x, w)
            best = max(best, 2 * tokens * inputs * outputs / (time.perf_counter() - began))
    return best
