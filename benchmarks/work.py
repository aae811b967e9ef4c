"""The work that the benchmarks of the step have in common: shapes, examples, a model with LoRA, the machine's roof.

Import it before torch: it sets the number of threads from the command line.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import Any

SHAPES = {
    "135m": {
        "vocab_size": 49152, "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30,
        "num_attention_heads": 9, "num_key_value_heads": 3, "tie_word_embeddings": True,
    },
    "0.6b": {
        "vocab_size": 151936, "hidden_size": 1024, "intermediate_size": 3072, "num_hidden_layers": 28,
        "num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 128, "tie_word_embeddings": True,
    },
}  # fmt: skip
BATCH, LONGEST, RANK = 16, 512, 16


def parser(description: str | None) -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=(description or "").split("\n\n")[0])
    made.add_argument("--shape", choices=SHAPES, default="135m")
    made.add_argument("--rounds", type=int, default=3)
    made.add_argument("--threads", type=int, default=os.cpu_count())
    made.add_argument("--tokens-per-pass", type=int, default=2048)
    made.add_argument("--shared", type=Path, default=Path(__file__).parents[2] / "shared")
    return made


def parse(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """The arguments, with the number of threads set for every library."""
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(arguments.threads)
    import torch

    torch.set_num_threads(arguments.threads)
    return arguments


def samples(shared: Path, vocabulary: int, count: int) -> list[Any]:
    """Real lengths and masks where there are some; the ids fold into the shape's vocabulary."""
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


def plain_model(shape: str, rank: int = RANK, dropout: float = 0.0, dtype: str = "bfloat16") -> Any:
    """PEFT's LoRA on every linear layer of a model with random weights, its B not zero."""
    import peft
    import torch
    import transformers

    family = transformers.Qwen3Config if shape == "0.6b" else transformers.LlamaConfig
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(family(**SHAPES[shape]), dtype=getattr(torch, dtype))
    model.requires_grad_(False)
    config = peft.LoraConfig(
        r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM", lora_dropout=dropout
    )
    model = peft.get_peft_model(model, config).train()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.02)
    return model


def floating_point_operations(model: Any) -> int:
    """Of a step, a token: forward and input gradient of every linear layer and of the head (no weight gradient)."""
    import torch

    return 4 * sum(
        m.weight.numel() for m in model.modules() if type(m) is torch.nn.Linear and not m.weight.requires_grad
    )


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
