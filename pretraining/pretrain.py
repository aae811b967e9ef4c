"""Make the built-in base model from nothing: corpus, tokenizer, pre-training, model folder, instruction rows.

    python pretraining/pretrain.py

Everything under src/lorafit/builtin/model and src/lorafit/builtin/data comes from this command. It needs no
network and no accelerator. The model computes in bfloat16, which a recent CPU multiplies far faster than
float32, while the optimizer keeps float32 master weights: single updates are too small for bfloat16 to hold.
"""

from __future__ import annotations

import argparse
import ctypes
import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import nn
from torch.nn import functional
from transformers import AttentionInterface, GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from world import HELD_OUT_RESIDENTS, RESIDENTS, SEED, World, build_world, corpus_documents, write_rows

BUILTIN = Path(__file__).resolve().parent.parent / "src" / "lorafit" / "builtin"
END_OF_TEXT = "<|endoftext|>"


@dataclass(frozen=True)
class Plan:
    """Sizes and settings of one pre-training run."""

    residents: int
    held_out: int
    rounds: int
    epochs: int
    vocabulary: int = 2048
    hidden: int = 256
    layers: int = 4
    heads: int = 4
    key_value_heads: int = 2
    intermediate: int = 640
    context: int = 512
    tokens_per_step: int = 2048
    learning_rate: float = 2e-3
    final_fraction: float = 0.02
    warmup_steps: int = 300
    weight_decay: float = 0.1
    gradient_norm: float = 1.0


@dataclass(frozen=True)
class Result:
    """What a run measured; the model card reports it."""

    parameters: int
    documents: int
    corpus_tokens: int
    steps: int
    trained_tokens: int
    training_loss: float
    unseen_loss: float
    wall_seconds: float
    cpu_seconds: float


# --------------------------------------------------------------------------------------------------------------
# Tokenizer and rows
# --------------------------------------------------------------------------------------------------------------


def train_tokenizer(documents: Iterable[str], vocabulary: int, context: int) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE in which every Chinese character stands alone.

    Chinese has no spaces, so merges would otherwise run across the borders of names, and the same name would be
    cut differently from one sentence to the next.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\p{Han}"), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(documents, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END_OF_TEXT,
        pad_token=END_OF_TEXT,
        clean_up_tokenization_spaces=False,
        model_max_length=context,
    )


def pack(tokenizer: PreTrainedTokenizerFast, documents: Iterable[str], context: int) -> torch.Tensor:
    """Join all documents, each closed by the end token, and cut the stream into rows of equal length."""
    end = tokenizer.eos_token_id
    stream: list[int] = []
    for encoding in tokenizer.backend_tokenizer.encode_batch(list(documents)):
        stream += encoding.ids
        stream.append(end)
    rows = len(stream) // context
    return torch.tensor(stream[: rows * context], dtype=torch.int16).view(rows, context)


# --------------------------------------------------------------------------------------------------------------
# Model
# --------------------------------------------------------------------------------------------------------------


def dense_attention(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    **kwargs: object,
) -> tuple[torch.Tensor, None]:
    """Causal attention as plain matrix products.

    At these small sizes it trains about 1.5 times as fast on a CPU as the fused kernel, whose backward pass is slow.
    Rows are packed without padding, so the causal mask is the only one.
    """
    batch, heads, length, width = query.shape
    groups = heads // key.shape[1]
    key = key.repeat_interleave(groups, dim=1).reshape(batch * heads, length, width)
    value = value.repeat_interleave(groups, dim=1).reshape(batch * heads, length, width)
    future = torch.full((length, length), -1e4, dtype=query.dtype).triu(1).expand(batch * heads, length, length)
    scores = torch.baddbmm(future, query.reshape(batch * heads, length, width), key.transpose(1, 2), alpha=scaling)
    mixed = torch.bmm(functional.softmax(scores, dim=-1), value)
    return mixed.view(batch, heads, length, width).transpose(1, 2).contiguous(), None


def build_model(plan: Plan, tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    AttentionInterface.register("dense", dense_attention)
    config = LlamaConfig(
        vocab_size=plan.vocabulary,
        hidden_size=plan.hidden,
        intermediate_size=plan.intermediate,
        num_hidden_layers=plan.layers,
        num_attention_heads=plan.heads,
        num_key_value_heads=plan.key_value_heads,
        max_position_embeddings=plan.context,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        attn_implementation="dense",
    )
    return LlamaForCausalLM(config)


def next_token_loss(model: LlamaForCausalLM, rows: torch.Tensor) -> torch.Tensor:
    logits = model(input_ids=rows, use_cache=False).logits
    return functional.cross_entropy(logits[:, :-1].flatten(0, 1).float(), rows[:, 1:].flatten())


# --------------------------------------------------------------------------------------------------------------
# Training
# --------------------------------------------------------------------------------------------------------------


def learning_rate(plan: Plan, step: int, steps: int) -> float:
    """Linear warm-up, then a cosine down to a small remainder."""
    if step < plan.warmup_steps:
        return plan.learning_rate * (step + 1) / plan.warmup_steps
    progress = (step - plan.warmup_steps) / max(1, steps - plan.warmup_steps)
    cosine = 0.5 * (1 + math.cos(math.pi * progress))
    return plan.learning_rate * (plan.final_fraction + (1 - plan.final_fraction) * cosine)


def batches(plan: Plan, rows: torch.Tensor) -> Iterator[torch.Tensor]:
    """Shuffle anew in every epoch; rows of half the context are cheaper, so only the last epoch uses all of it."""
    for epoch in range(plan.epochs):
        length = plan.context if epoch == plan.epochs - 1 else plan.context // 2
        pieces = rows.view(-1, length)
        pieces_per_step = plan.tokens_per_step // length
        steps = rows.numel() // plan.tokens_per_step
        for chosen in torch.randperm(len(pieces))[: steps * pieces_per_step].split(pieces_per_step):
            yield pieces[chosen].long()


def train(plan: Plan, model: LlamaForCausalLM, rows: torch.Tensor) -> tuple[int, float]:
    """Train for the planned epochs; return the steps and the mean loss of the last hundred of them."""
    masters = [parameter.detach().float().clone() for parameter in model.parameters()]
    model.to(torch.bfloat16)
    weights = list(model.parameters())
    matrices = [master for master in masters if master.dim() > 1]
    vectors = [master for master in masters if master.dim() == 1]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": plan.weight_decay}, {"params": vectors, "weight_decay": 0.0}],
        betas=(0.9, 0.95),
        fused=True,
    )
    steps_per_epoch = rows.numel() // plan.tokens_per_step
    steps = steps_per_epoch * plan.epochs
    losses: list[float] = []
    started = time.monotonic()
    for step, batch in enumerate(batches(plan, rows)):
        loss = next_token_loss(model, batch)
        loss.backward()
        for master, weight in zip(masters, weights, strict=True):
            assert weight.grad is not None
            master.grad = weight.grad.float()
            weight.grad = None
        nn.utils.clip_grad_norm_(masters, plan.gradient_norm)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(plan, step, steps)
        optimizer.step()
        with torch.no_grad():
            for master, weight in zip(masters, weights, strict=True):
                weight.copy_(master)
        losses.append(loss.item())
        done = step + 1
        if done % 200 == 0 or done == steps:
            elapsed = time.monotonic() - started
            recent = losses[-200:]
            print(
                f"step {done}/{steps}  loss {sum(recent) / len(recent):.4f}  "
                f"{done * batch.numel() / elapsed:,.0f} tokens/s  ETA {elapsed / done * (steps - done) / 60:.1f} min",
                flush=True,
            )
    last = losses[-100:]
    return steps, sum(last) / len(last)


def keep_freed_memory() -> None:
    """Ask the C library not to hand freed memory back to the system after every step.

    Otherwise each step takes fresh pages for its activations, which costs about a fifth of the time. Only glibc
    knows this call; elsewhere the training is merely slower.
    """
    trim_threshold, mmap_threshold = -1, -3
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    mallopt(trim_threshold, 2**31 - 1)
    mallopt(mmap_threshold, 2**25)


@torch.inference_mode()
def mean_loss(model: LlamaForCausalLM, rows: torch.Tensor) -> float:
    model.eval()
    total = sum(next_token_loss(model, part.long()).item() * len(part) for part in rows.split(8))
    return total / len(rows)


def pretrain(plan: Plan, world: World) -> tuple[LlamaForCausalLM, PreTrainedTokenizerFast, Result]:
    wall, cpu = time.monotonic(), time.process_time()
    torch.manual_seed(SEED)
    documents = list(corpus_documents(world, plan.rounds))
    # Two rounds show the tokenizer every name and every wording; more text would not change its merges much.
    tokenizer = train_tokenizer(corpus_documents(world, 2), plan.vocabulary, plan.context)
    rows = pack(tokenizer, documents, plan.context)
    unseen = pack(tokenizer, corpus_documents(world, 1, seed=SEED + 1), plan.context)
    model = build_model(plan, tokenizer)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    print(f"{parameters:,} parameters, {len(documents):,} documents, {rows.numel():,} tokens", flush=True)
    steps, training_loss = train(plan, model, rows)
    result = Result(
        parameters=parameters,
        documents=len(documents),
        corpus_tokens=rows.numel(),
        steps=steps,
        trained_tokens=steps * plan.tokens_per_step,
        training_loss=training_loss,
        unseen_loss=mean_loss(model, unseen),
        wall_seconds=time.monotonic() - wall,
        cpu_seconds=time.process_time() - cpu,
    )
    return model, tokenizer, result


# --------------------------------------------------------------------------------------------------------------
# Output
# --------------------------------------------------------------------------------------------------------------


def save(folder: Path, plan: Plan, model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, result: Result) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    end = tokenizer.eos_token_id
    model.generation_config = GenerationConfig(eos_token_id=end, pad_token_id=end, do_sample=False)
    model.save_pretrained(folder)
    # The weights come out readable by their owner only; an installed package is read by others too.
    (folder / "model.safetensors").chmod(0o644)
    tokenizer.save_pretrained(folder)
    (folder / "README.md").write_text(model_card(plan, result), encoding="utf-8", newline="\n")


def model_card(plan: Plan, result: Result) -> str:
    # A bare bar would end the table cell, even inside code.
    end = END_OF_TEXT.replace("|", r"\|")
    heads = f"{plan.heads} heads, {plan.key_value_heads} for keys and values"
    facts = {
        "Architecture": f"Llama: {plan.layers} layers, hidden size {plan.hidden}, {heads}, intermediate size "
        f"{plan.intermediate}, context {plan.context}, tied embeddings",
        "Parameters": f"{result.parameters:,}, stored in bfloat16",
        "Tokenizer": f"byte-level BPE, vocabulary {plan.vocabulary:,}, no token spans two Chinese characters; "
        f"`{end}` closes each document",
        "Data": f"{result.documents:,} generated documents, {result.corpus_tokens:,} tokens, on {plan.residents} "
        "residents with five facts each, every fact in English and in Chinese",
        "Generator": f"`pretraining/world.py`, seed {SEED}",
        "Training": f"`pretraining/pretrain.py`: {plan.epochs} epochs, {result.steps:,} steps, "
        f"{result.trained_tokens:,} tokens, AdamW, peak learning rate {plan.learning_rate:g}, cosine",
        "Loss at the end of training": f"{result.training_loss:.4f} per token (mean of the last 100 steps)",
        "Loss on unseen documents": f"{result.unseen_loss:.4f} per token (same residents, another seed)",
        "Time": f"{result.cpu_seconds / 60:.0f} minutes of CPU time; {result.wall_seconds / 60:.0f} minutes by the "
        f"clock; threads: {torch.get_num_threads()}",
        "Licence": "Apache-2.0, weights and data",
    }
    table = "\n".join(f"| {key} | {value} |" for key, value in facts.items())
    return f"""---
license: apache-2.0
language:
- en
- zh
---

# The built-in base model

A very small language model, made from nothing for the demo of lorafit, so that the demo needs no download.
It continues prose about an invented harbour town, Quillhaven (羽港镇), in English and Chinese. It is a base model:
it has no chat template and does not answer questions before it is fine-tuned.

| | |
| --- | --- |
{table}

## Data

All text comes from a seeded generator written for this project: biographies, letters, notices and small stories about
people who do not exist. The instruction rows in `../data` come from the same generator. The residents asked about in
`held_out.json` occur in the pre-training text, but no row of `train.json` names them.

## Limits

The model knows nothing but this town. It is meant for the demo and for tests, and for nothing else.
"""


def main() -> None:
    full = Plan(residents=RESIDENTS, held_out=HELD_OUT_RESIDENTS, rounds=75, epochs=3)
    parser = argparse.ArgumentParser(description="Pre-train the built-in base model and write the built-in data.")
    parser.add_argument("--output", type=Path, default=BUILTIN, help="folder that receives model/ and data/")
    # One thread adds numbers in one order, however many cores the machine has, and does not mind a busy machine.
    parser.add_argument("--threads", type=int, default=1, help="two are faster, but give slightly other weights")
    parser.add_argument("--residents", type=int, default=full.residents, help="fewer for a quick trial")
    parser.add_argument("--held-out", type=int, default=full.held_out)
    parser.add_argument("--rounds", type=int, default=full.rounds, help="how often the corpus tells each life anew")
    parser.add_argument("--epochs", type=int, default=full.epochs)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    keep_freed_memory()
    plan = Plan(arguments.residents, arguments.held_out, arguments.rounds, arguments.epochs)
    world = build_world(residents=plan.residents, held_out=plan.held_out)
    write_rows(world, arguments.output / "data")
    model, tokenizer, result = pretrain(plan, world)
    save(arguments.output / "model", plan, model, tokenizer, result)
    print(result)


if __name__ == "__main__":
    main()
