"""What the engine is compared with: transformers' generate, a prompt at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

MARGIN = 1e-4


def prompts(*lengths: int, beginning: Sequence[int] = ()) -> list[list[int]]:
    draw = torch.Generator().manual_seed(sum(lengths))
    return [[*beginning, *torch.randint(3, 500, (length,), generator=draw).tolist()] for length in lengths]


@torch.no_grad()
def greedy(model: Any, prompt: Sequence[int], count: int) -> tuple[list[int], list[float]]:
    """The likeliest tokens one after another, without any cache, and by how much each leads."""
    ids, leads = list(prompt), []
    for _ in range(count):
        best = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1].topk(2)
        ids.append(int(best.indices[0]))
        leads.append(float(best.values[0] - best.values[1]))
    return ids[len(prompt) :], leads


def assert_greedy(model: Any, prompt: Sequence[int], answer: Sequence[int]) -> None:
    """Equal up to the first token where the reference's two best are closer than MARGIN."""
    expected, leads = greedy(model, prompt, len(answer))
    sure = next((place for place, lead in enumerate(leads) if lead < MARGIN), len(leads))
    assert list(answer[:sure]) == expected[:sure]
