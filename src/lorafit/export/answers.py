"""What a model answers along given texts: the raw material of every check."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from lorafit.infer.generate import generation_settings


@torch.no_grad()
def greedy_continuations(
    model: Any, prompts: Sequence[Sequence[int]], max_new_tokens: int, stop_ids: Sequence[int]
) -> list[list[int]]:
    """Prompt and greedy answer of `model`, as token ids; one prompt at a time, so that nothing depends on padding."""
    device = next(model.parameters()).device
    continued = []
    for prompt in prompts:
        ids = torch.tensor([list(prompt)], device=device)
        generated = model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            generation_config=generation_settings(stop_ids, None, max_new_tokens),
        )
        continued.append(generated[0].tolist())
    return continued


@torch.no_grad()
def next_token_logits(model: Any, tokens: Sequence[int], prompt_length: int) -> torch.Tensor:
    """The float32 logits [answer tokens, V] that predict each token after the prompt."""
    ids = torch.tensor([list(tokens)], device=next(model.parameters()).device)
    logits: torch.Tensor = model(input_ids=ids, use_cache=False).logits[0, prompt_length - 1 : -1]
    return logits.float().cpu()
