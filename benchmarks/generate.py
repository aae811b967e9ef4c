"""The engine beside transformers' generate, the same prompts with the same examples before them, in one run.

    python benchmarks/generate.py [--cases builtin 135m] [--prompts 64] [--single 16] [--threads 2]

builtin: the built-in model, held-out questions after eight answered ones. 135m: random weights of that shape, random
ids, 192 in common and 16 to 48 of their own. Float32, greedy. Generate takes batches of 8 padded on the left, the
prompts sorted by length, and one at a time (the first `--single` of them: it is slow). Answers are compared with those
of one at a time, margin-aware: a difference counts where the two best logits are 1e-4 or more apart.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from typing import Any

import work

PARSER = work.parser(__doc__)
PARSER.add_argument("--cases", nargs="*", choices=("builtin", "135m", "tiny"), default=("builtin", "135m"))
PARSER.add_argument("--prompts", type=int, default=64)
PARSER.add_argument("--single", type=int, default=16)
ARGS = work.parse(PARSER)

import torch  # noqa: E402
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, PreTrainedModel  # noqa: E402

from lorafit import builtin  # noqa: E402
from lorafit.infer.engine import Engine, Request  # noqa: E402

BATCH, MARGIN = 8, 1e-4
Answers = dict[int, tuple[int, ...]]


def builtin_case() -> tuple[PreTrainedModel, list[list[int]], int, int]:
    """Model, prompts, new tokens, end token."""
    tokenizer = AutoTokenizer.from_pretrained(builtin.MODEL)
    rows = json.loads(builtin.TRAIN.read_text(encoding="utf-8"))[:8]
    shots = "".join(f"Human: {r['instruction']}\n\nAssistant: {r['output']}\n\n" for r in rows)
    asked = json.loads(builtin.HELD_OUT.read_text(encoding="utf-8"))
    texts = [f"{shots}Human: {asked[i % len(asked)]['instruction']}\n\nAssistant:" for i in range(ARGS.prompts)]
    model = AutoModelForCausalLM.from_pretrained(builtin.MODEL, dtype=torch.float32)
    return model, [tokenizer(text).input_ids for text in texts], 32, tokenizer.eos_token_id


def random_case(shape: str) -> tuple[PreTrainedModel, list[list[int]], int, int]:
    draw = torch.Generator().manual_seed(0)
    size = work.vocabulary(shape)
    shots = torch.randint(0, size, (192,), generator=draw).tolist()
    lengths = torch.randint(16, 49, (ARGS.prompts,), generator=draw).tolist()
    prompts = [shots + torch.randint(0, size, (n,), generator=draw).tolist() for n in lengths]
    return work.random_model(shape, "float32"), prompts, 16, size


def by_generate(model: Any, prompts: Sequence[list[int]], new: int, end: int, batch: int, count: int) -> Answers:
    settings = GenerationConfig(max_new_tokens=new, do_sample=False, eos_token_id=end, pad_token_id=end)
    answers: Answers = {}
    order = sorted(range(count), key=lambda i: len(prompts[i]))
    for first in range(0, count, batch):
        group = order[first : first + batch]
        longest = max(len(prompts[i]) for i in group)
        ids = torch.tensor([[end] * (longest - len(prompts[i])) + prompts[i] for i in group])
        visible = torch.tensor([[0] * (longest - len(prompts[i])) + [1] * len(prompts[i]) for i in group])
        made = model.generate(input_ids=ids, attention_mask=visible, generation_config=settings)[:, longest:].tolist()
        for i, tokens in zip(group, made, strict=True):
            answers[i] = tuple(tokens[: tokens.index(end)] if end in tokens else tokens)
    return answers


def by_engine(model: Any, prompts: Sequence[list[int]], new: int, end: int) -> Answers:
    engine = Engine(model)
    assert engine.fallback is None, engine.fallback
    found = engine.run(Request(p, max_new_tokens=new, stop_ids=frozenset([end])) for p in prompts)
    return {i: completion.ids for i, completion in enumerate(found)}


@torch.no_grad()
def agrees(model: Any, prompt: list[int], one: tuple[int, ...], other: tuple[int, ...], end: int) -> bool:
    """Whether two answers are the same, but for what follows a choice between two equally good tokens."""
    if one == other:
        return True
    first = next(i for i, (a, b) in enumerate(zip((*one, end), (*other, end), strict=False)) if a != b)
    best = model(torch.tensor([[*prompt, *one[:first]]])).logits[0, -1].topk(2).values
    return float(best[0] - best[1]) < MARGIN


@torch.no_grad()
def compare(case: str) -> None:
    model, prompts, new, end = builtin_case() if case == "builtin" else random_case(case)
    model.eval()
    ways: dict[str, Callable[[], Answers]] = {
        "generate, 1": lambda: by_generate(model, prompts, new, end, 1, min(ARGS.single, len(prompts))),
        f"generate, {BATCH}": lambda: by_generate(model, prompts, new, end, BATCH, len(prompts)),
        "engine": lambda: by_engine(model, prompts, new, end),
    }
    by_generate(model, prompts, 2, end, 1, 1)
    reference: Answers = {}
    rates = {}
    for name, way in ways.items():
        began = time.perf_counter()
        answers = way()
        seconds = time.perf_counter() - began
        reference = reference or answers
        same = sum(agrees(model, prompts[i], reference[i], answers[i], end) for i in reference)
        rates[name] = len(answers) / seconds
        tokens = sum(len(ids) for ids in answers.values()) / seconds
        row = f"{len(answers):>8}{seconds:>9.1f}{rates[name]:>11.2f}{tokens:>10.1f}{same:>6}/{len(reference)}"
        print(f"{case:9}{name:18}{row}", flush=True)
    print(f"{case:9}engine / better of the two: {rates.pop('engine') / max(rates.values()):.1f}")


if __name__ == "__main__":
    print(f"float32, {ARGS.threads} threads, {ARGS.prompts} prompts")
    print(f"{'':27}{'samples':>8}{'seconds':>9}{'samples/s':>11}{'tokens/s':>10}{'same':>9}")
    for chosen in ARGS.cases:
        compare(chosen)
