"""The way for models that cannot be decoded in rows: transformers' generate, one request at a time.

Tokens are chosen by the engine's own sampler, which answers generate as a logits processor, so that every setting means
the same here.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessorList, StoppingCriteriaList

from lorafit.infer.engine.adapters import Adapters
from lorafit.infer.engine.answer import Answer


class Fallback:
    """Answers by transformers alone. model: a transformers model, with the adapters' layers in it or not."""

    def __init__(self, model: Any, adapters: Adapters) -> None:
        self.model, self.adapters = model, adapters

    def answer(self, answer: Answer) -> None:
        """Take a request to its end, all tokens of its prompt anew."""
        device = next(self.model.parameters()).device
        self.model.eval()
        with self.adapters.alone(answer.request.adapter):
            if answer.request.continuation:
                ids_1T = torch.tensor([answer.request.token_ids], device=device)
                logits_NV = self.model(input_ids=ids_1T).logits[0, len(answer.request.prompt) - 1 :]
                answer.take(logits_NV, logits_NV.argmax(-1).tolist())
                return
            prompt_1T = torch.tensor([list(answer.request.prompt)], device=device)
            self.model.generate(
                input_ids=prompt_1T,
                attention_mask=torch.ones_like(prompt_1T),
                generation_config=GenerationConfig(
                    max_new_tokens=answer.limit, do_sample=False, eos_token_id=None, pad_token_id=0
                ),
                logits_processor=LogitsProcessorList([_Chooser(answer)]),
                stopping_criteria=StoppingCriteriaList([_Ended(answer)]),
            )


class _Chooser:
    """A logits processor that leaves nothing but the token which the request's own sampler took."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer

    def __call__(self, input_ids: Tensor, scores_1V: Tensor) -> Tensor:
        taken = len(self.answer.ids)
        self.answer.take(scores_1V, scores_1V.argmax(-1).tolist())
        only_1V = torch.full_like(scores_1V, float("-inf"))
        # A stop token is not among the ids; what generate appends for it is never read.
        only_1V[0, self.answer.ids[-1] if len(self.answer.ids) > taken else 0] = 0
        return only_1V


class _Ended:
    """A stopping criterion: the request has its end, or was cancelled."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer

    def __call__(self, input_ids: Tensor, scores: Any, **_: Any) -> Tensor:
        if self.answer.handle.cancelled and self.answer.reason is None:
            self.answer.reason = "cancelled"
        return torch.full((len(input_ids),), self.answer.reason is not None, device=input_ids.device)
