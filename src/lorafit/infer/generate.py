"""Prompts to answers: greedy or sampled, in batches of similar length."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from lorafit.data.template import Renderer

BATCH = 16


@dataclass(frozen=True, slots=True)
class Answer:
    """A generated text; `ended` is false when it was cut off at the length limit."""

    text: str
    ended: bool


def generation_settings(renderer: Renderer, max_new_tokens: int, temperature: float = 0.0) -> Any:
    """transformers' settings: greedy at temperature 0, and ending where the chat template ends a turn."""
    from transformers import GenerationConfig

    stops = renderer.stop_ids()
    sampling = {"do_sample": True, "temperature": temperature} if temperature > 0 else {"do_sample": False}
    pad = renderer.tokenizer.pad_token_id
    return GenerationConfig(
        max_new_tokens=max_new_tokens,
        eos_token_id=stops or None,
        pad_token_id=pad if pad is not None else (stops[0] if stops else 0),
        **sampling,
    )


@torch.no_grad()
def answer_prompts(
    model: Any,
    renderer: Renderer,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    advance: Callable[[int], None] = lambda done: None,
) -> list[Answer]:
    """Greedy answers to prompts given as token ids, in their order. `advance` is told how many were done."""
    device = next(model.parameters()).device
    settings = generation_settings(renderer, max_new_tokens)
    answers: dict[int, Answer] = {}
    model.eval()
    for group in _similar_lengths(prompts):
        longest = max(len(prompts[i]) for i in group)
        # Padding stands on the left, so that every prompt ends where its answer begins.
        tokens = torch.full((len(group), longest), settings.pad_token_id)
        visible = torch.zeros_like(tokens)
        for line, index in enumerate(group):
            tokens[line, longest - len(prompts[index]) :] = torch.tensor(prompts[index])
            visible[line, longest - len(prompts[index]) :] = 1
        generated = model.generate(
            input_ids=tokens.to(device), attention_mask=visible.to(device), generation_config=settings
        )[:, longest:]
        for index, ids in zip(group, generated.tolist(), strict=True):
            answers[index] = finish(renderer, ids)
        advance(len(group))
    return [answers[i] for i in range(len(prompts))]


def finish(renderer: Renderer, ids: Sequence[int]) -> Answer:
    """Generated ids as an answer: up to the end-of-turn token, or up to where a base begins the next question."""
    stops = set(renderer.stop_ids())
    end = next((place for place, token in enumerate(ids) if token in stops), len(ids))
    text = renderer.tokenizer.decode(ids[:end], skip_special_tokens=True)
    ended = end < len(ids)
    for stop in renderer.template.stops:
        if stop in text:
            text, ended = text[: text.index(stop)], True
    return Answer(text.strip(), ended)


def _similar_lengths(prompts: Sequence[Sequence[int]]) -> Iterator[list[int]]:
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    for start in range(0, len(order), BATCH):
        yield order[start : start + BATCH]
