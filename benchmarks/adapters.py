"""Requests for several adapters in one batch of the engine, beside the same requests for one adapter, in one run.

    python benchmarks/adapters.py [--shape 135m] [--adapters 8] [--rank 16] [--requests 32] [--rounds 3] [--threads 2]

Random weights, float32, greedy, answers of one length. The ways take turns: one adapter for all requests; the adapters
in a block (infer/engine/low_rank.py); the adapters one after another. The last two have to give the same tokens.
"""

from __future__ import annotations

import statistics
import time
from typing import Any

import work

PARSER = work.parser(__doc__)
PARSER.add_argument("--adapters", type=int, default=8)
PARSER.add_argument("--rank", type=int, default=16)
PARSER.add_argument("--requests", type=int, default=32)
ARGS = work.parse(PARSER)

import torch  # noqa: E402
from peft import LoraConfig, get_peft_model  # noqa: E402

from lorafit.infer.engine import Engine, Request, adapters, low_rank  # noqa: E402

NEW = 16


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


def answers(model: Any, prompts: list[list[int]], names: list[str], block: bool) -> list[tuple[int, ...]]:
    adapters.make_block = low_rank.make_block if block else lambda *_: None
    engine = Engine(model, max_running=ARGS.requests)
    assert engine.fallback is None, engine.fallback
    requests = (Request(p, NEW, adapter=names[i % len(names)]) for i, p in enumerate(prompts))
    return [done.ids for done in engine.run(requests)]


def main() -> None:
    model, names = several()
    draw = torch.Generator().manual_seed(1)
    size = work.vocabulary(ARGS.shape)
    prompts = [torch.randint(0, size, (24,), generator=draw).tolist() for _ in range(ARGS.requests)]
    ways = {
        "one adapter": (names[:1], True),
        f"{len(names)} in a block": (names, True),
        f"{len(names)} one after another": (names, False),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(ARGS.rounds + 1):  # the first one warms up
        said = {}
        for name, (chosen, block) in ways.items():
            began = time.perf_counter()
            said[name] = answers(model, prompts, chosen, block)
            if number:
                seconds[name].append(time.perf_counter() - began)
        one, block, after = said.values()
        same = sum(a == b for a, b in zip(block, after, strict=True))
        assert one != block
        print(f"round {number}: {same} of {len(prompts)} answers are the same in both ways of several", flush=True)
    fastest = statistics.median(seconds["one adapter"])
    for name, taken in seconds.items():
        middle = statistics.median(taken)
        rate = sum(map(len, one)) / middle
        print(f"{name:24}{middle:7.2f} s{rate:9.1f} tokens/s{fastest / middle:8.0%}", flush=True)


if __name__ == "__main__":
    main()
