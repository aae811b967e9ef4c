"""Tiny bases of several families with random weights, made once a session; nothing is downloaded."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Many small products: more threads only wait for one another, above all when the tests run side by side.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"

import pytest
import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from lorafit import Recipe

torch.set_num_threads(1)
transformers.logging.set_verbosity_error()

TEXT = [
    "The harbour town wakes before the sun, and the boats go out one after another.",
    "Human: Where does Mira live?\n\nAssistant: Mira lives on Willow Street.",
    "小镇的早晨很安静,渔船一艘接一艘地出海。米拉住在柳树街。",
    "0123456789 abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ",
]

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

# Sizes are odd on purpose where they may be: 44 and 76 do not divide by the 64 weights of an NF4 block.
COMMON = {"vocab_size": 512, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
LLAMA_LIKE = {**COMMON, "intermediate_size": 44, "num_key_value_heads": 2, "max_position_embeddings": 256}
FAMILIES: dict[str, Callable[[], Any]] = {
    "llama": lambda: transformers.LlamaConfig(**LLAMA_LIKE, tie_word_embeddings=True),
    # Rows of 64 and 128: whole NF4 blocks.
    "even-llama": lambda: transformers.LlamaConfig(**{**LLAMA_LIKE, "hidden_size": 64, "intermediate_size": 128}),
    "qwen2": lambda: transformers.Qwen2Config(**LLAMA_LIKE, tie_word_embeddings=True),
    "qwen3": lambda: transformers.Qwen3Config(**LLAMA_LIKE, head_dim=12),
    "mistral": lambda: transformers.MistralConfig(**LLAMA_LIKE, sliding_window=6),
    "gemma2": lambda: transformers.Gemma2Config(
        **LLAMA_LIKE, head_dim=8, sliding_window=6, query_pre_attn_scalar=8, attn_logit_softcapping=20.0
    ),
    "gpt2": lambda: transformers.GPT2Config(
        vocab_size=512, n_embd=32, n_layer=2, n_head=4, n_inner=76, n_positions=256, bos_token_id=0, eos_token_id=0
    ),
    # Query, key and value are one layer, gate and up another.
    "phi3": lambda: transformers.Phi3Config(
        **LLAMA_LIKE, sliding_window=6, original_max_position_embeddings=256, pad_token_id=0, eos_token_id=0
    ),
}


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Tokenised data of tests stays among what tests leave, for the programs that they start too."""
    os.environ["LORAFIT_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE of 512 tokens, with end-of-text and ChatML tokens; no chat template, as a base model has it."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=512,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(TEXT, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<|endoftext|>")


@pytest.fixture(scope="session")
def chat_tokenizer(tokenizer: PreTrainedTokenizerFast) -> PreTrainedTokenizerFast:
    """The same with a ChatML template of its own, as an instruction model has it."""
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(tokenizer.backend_tokenizer.to_str()),
        eos_token="<|im_end|>",
        chat_template=CHATML,
    )


@pytest.fixture(scope="session")
def bases(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerFast) -> Callable[[str], Path]:
    """bases("llama") is the folder of a tiny float32 model of that family, with the tokenizer."""
    made: dict[str, Path] = {}

    def make(family: str) -> Path:
        if family not in made:
            folder = tmp_path_factory.mktemp("bases") / family
            torch.manual_seed(7)
            model = transformers.AutoModelForCausalLM.from_config(FAMILIES[family](), dtype=torch.float32)
            with torch.no_grad():
                for parameter in model.parameters():
                    # Larger than the usual start, so that logits differ enough for a wrong path to show.
                    parameter.add_(0.05 * torch.randn_like(parameter))
            model.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
            made[family] = folder
        return made[family]

    return make


@pytest.fixture(scope="session")
def llama(bases: Callable[[str], Path]) -> Path:
    return bases("llama")


def alpaca_rows(count: int, start: int = 0) -> list[dict[str, str]]:
    """Short question rows that differ, in two languages."""
    rows = []
    for number in range(start, start + count):
        if number % 3:
            rows.append(
                {
                    "instruction": f"Where does {number} live?",
                    "input": "",
                    "output": f"{number} lives here. " * (1 + number % 4),
                }
            )
        else:
            rows.append(
                {"instruction": f"{number}住在哪里?", "input": "请用中文回答。", "output": f"{number}住在柳树街。"}
            )
    return rows


@pytest.fixture
def data_file(tmp_path: Path) -> Path:
    """40 rows in Alpaca form."""
    path = tmp_path / "rows.json"
    path.write_text(json.dumps(alpaca_rows(40), ensure_ascii=False), encoding="utf-8")
    return path


@pytest.fixture
def recipe(llama: Path, data_file: Path, tmp_path: Path) -> Callable[..., Recipe]:
    """recipe(train={...}) with a tiny model and 40 rows, silent, on the CPU in float32."""

    def make(**parts: dict[str, Any]) -> Recipe:
        content: dict[str, Any] = {
            "name": "run",
            "output": str(tmp_path / "runs"),
            "model": {"name": str(llama), "device": "cpu", "dtype": "float32"},
            "data": {"train": str(data_file), "held_out": 0.2},
            "adapter": {"rank": 4, "alpha": 8},
            "train": {"batch_size": 8, "learning_rate": 5e-3, "epochs": 2, "tokens_per_pass": 256},
            "evaluate": {"prompts": 3, "max_new_tokens": 8},
            "observe": {"console": False},
        }
        for name, part in parts.items():
            content[name] = {**content[name], **part} if isinstance(part, dict) else part
        return Recipe.model_validate(content)

    return make


def metrics(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def status(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "status.json").read_text())
    return found
