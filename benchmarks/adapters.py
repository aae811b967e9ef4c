"""Requests for several adapters in one batch of the engine, beside one adapter and beside PEFT, in one run.

    python benchmarks/adapters.py [--shape 135m] [--adapters 8] [--rank 16] [--requests 32] [--rounds 3] [--threads 2]

Random weights, float32, greedy, prompts and answers of one length. The ways take turns: the engine with one adapter for
all requests; the engine with all adapters in one batch; PEFT adapter after adapter (`set_adapter`, then transformers'
`generate` on the batch of its requests). The last two have to give the same tokens.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import work

PARSER = work.parser(__doc__)
PARSER.add_argument("--adapters", type=int, default=8)
PARSER.add_argument("--rank", type=int, default=16)
PARSER.add_argument("--requests", type=int, default=32)
PARSER.add_argument("--tokens", type=int, default=16, help="of an answer")
ARGS = work.parse(PARSER)

import torch  # noqa: E402
from peft import LoraConfig, get_peft_model  # noqa: E402

from lorafit.infer.engine import Engine, Request  # noqa: E402

PROMPT = 24
Ids = tuple[int, ...]


def several() -> tuple[Any, list[str]]:
    """A random model with adapters that differ from the base and from one another."""
    config = LoraConfig(r=ARGS.rank, lora_alpha=ARGS.rank, target_modules="all-linear")
    names = [f"a{number}" for number in range(ARGS.adapters)]
    model = get_peft_model(work.random_model(ARGS.shape, "float32"), config, names[0])
    for name in names[1:]:
        model.add_adapter(name, config)
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.02, generator=draw)
    return model.eval(), names


def engine(model: Any, prompts: list[list[int]], names: list[str]) -> list[Ids]:
    made = Engine(model, max_running=ARGS.requests)
    assert made.fallback is None, made.fallback
    requests = (Request(p, ARGS.tokens, adapter=names[i % len(names)]) for i, p in enumerate(prompts))
    return [done.ids for done in made.run(requests)]


@torch.no_grad()
def peft(model: Any, prompts: list[list[int]], names: list[str]) -> list[Ids]:
    said: dict[int, Ids] = {}
    for number, name in enumerate(names):
        model.set_adapter(name)
        mine = range(number, len(prompts), len(names))
        batch = torch.tensor([prompts[i] for i in mine])
        ids = model.generate(
            input_ids=batch, attention_mask=torch.ones_like(batch), max_new_tokens=ARGS.tokens, do_sample=False,
            eos_token_id=None,
        )  # fmt: skip
        said |= {i: tuple(row[PROMPT:].tolist()) for i, row in zip(mine, ids, strict=True)}
    return [said[i] for i in range(len(prompts))]


def main() -> None:
    model, names = several()
    draw = torch.Generator().manual_seed(1)
    size = work.vocabulary(ARGS.shape)
    prompts = [torch.randint(0, size, (PROMPT,), generator=draw).tolist() for _ in range(ARGS.requests)]
    ways: dict[str, Callable[[], list[Ids]]] = {
        "engine, one adapter": lambda: engine(model, prompts, names[:1]),
        f"engine, {len(names)} adapters": lambda: engine(model, prompts, names),
        f"PEFT, {len(names)} adapters": lambda: peft(model, prompts, names),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(ARGS.rounds + 1):  # the first one warms up
        said = []
        for name, answers in ways.items():
            began = time.perf_counter()
            said.append(answers())
            if number:
                seconds[name].append(time.perf_counter() - began)
        one, ours, theirs = said
        assert one != ours
        same = sum(a == b for a, b in zip(ours, theirs, strict=True))
        print(f"round {number}: {same} of {len(prompts)} answers are the same as PEFT's", flush=True)
    fastest, _, slowest = (statistics.median(taken) for taken in seconds.values())
    for name, taken in seconds.items():
        middle = statistics.median(taken)
        rate = ARGS.requests * ARGS.tokens / middle
        beside = f"{fastest / middle:8.0%} of one{slowest / middle:7.2f} times PEFT"
        print(f"{name:24}{middle:7.2f} s{rate:9.1f} tokens/s{beside}", flush=True)


if __name__ == "__main__":
    main()
