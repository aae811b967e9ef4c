"""Does an exported model answer like what was trained? Greedy tokens, equal but for ties (design: margin-aware)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from lorafit.infer.generate import generation_settings

MARGIN = 1e-4


@dataclass(frozen=True, slots=True)
class Agreement:
    """prompts, tokens compared; equal tokens; broken: unequal where the reference's two best logits were more than
    `margin` apart; the largest difference of a logit."""

    prompts: int
    tokens: int
    equal: int
    broken: int
    largest_difference: float
    margin: float

    @property
    def holds(self) -> bool:
        return self.broken == 0

    def sentence(self) -> str:
        return (
            f"{self.equal} of {self.tokens} greedy tokens on {self.prompts} prompts are the same "
            f"(largest logit difference {self.largest_difference:.1e})"
        )


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


def compare_greedy(
    reference: Sequence[torch.Tensor], candidate: Sequence[torch.Tensor], margin: float = MARGIN
) -> Agreement:
    """Compare logits [answer tokens, V] that two models gave along the same texts, the reference's greedy answers.

    Along such a text the reference's best token is the text itself. As long as the candidate's is too, it would have
    written the same; the first difference is a real one unless the reference's two best were a near tie.
    """
    tokens = equal = broken = 0
    largest = 0.0
    for one, other in zip(reference, candidate, strict=True):
        if not len(one):
            continue
        best = one.topk(2, dim=-1).values
        clear = best[:, 0] - best[:, 1] > margin
        same = one.argmax(-1) == other.argmax(-1)
        tokens += len(same)
        equal += int(same.sum())
        broken += int((~same & clear).sum())
        largest = max(largest, float((one - other).abs().max()))
    return Agreement(len(reference), tokens, equal, broken, largest, margin)
