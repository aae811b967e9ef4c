"""Prompts to answers, through the engine; or in padded batches of similar length through transformers' generate."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from lorafit.data.template import Renderer
from lorafit.infer.engine import Engine, Request
from lorafit.model.load import longest_sequence

BATCH, BATCH_TOKENS = 16, 8192
CACHE_BYTES = 1 << 28  # of keys and values


@dataclass(frozen=True, slots=True)
class Answer:
    """A generated text; `ended` is false when it was cut off at the length limit."""

    text: str
    ended: bool


def generation_settings(
    stop_ids: Sequence[int], pad_id: int | None, max_new_tokens: int, temperature: float = 0.0
) -> Any:
    """transformers' settings: at temperature 0 always the likeliest token, whatever the model's own file says."""
    from transformers import GenerationConfig

    if temperature > 0:
        sampling: dict[str, Any] = {"do_sample": True, "temperature": temperature}
    else:
        sampling = {"do_sample": False, "num_beams": 1, "repetition_penalty": 1.0, "no_repeat_ngram_size": 0}
    return GenerationConfig(
        max_new_tokens=max_new_tokens,
        eos_token_id=list(stop_ids) or None,
        pad_token_id=pad_id if pad_id is not None else (stop_ids[0] if stop_ids else 0),
        **sampling,
    )


def answer_prompts(
    model: Any,
    renderer: Renderer,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    advance: Callable[[int], None] = lambda done: None,
) -> list[Answer]:
    """Greedy answers to prompts given as token ids, in their order, by the active adapter where there is one.

    `advance` is told how many were done. A prompt that leaves no room for an answer within the model's length is
    answered with nothing.
    """
    tokenizer = renderer.tokenizer
    engine = Engine(model, lambda ids: str(tokenizer.decode(ids, skip_special_tokens=True)), cache_bytes=CACHE_BYTES)
    if engine.fallback is not None:
        return generate_answers(model, renderer, prompts, max_new_tokens, advance)
    adapter = model.active_adapter if hasattr(model, "peft_config") else None
    stops, texts = frozenset(renderer.stop_ids), renderer.template.stops
    longest = longest_sequence(model)
    rooms = [max_new_tokens if longest is None else min(max_new_tokens, longest - len(prompt)) for prompt in prompts]
    fitting = [place for place, room in enumerate(rooms) if room > 0]
    requests = (Request(prompts[i], rooms[i], adapter=adapter, stop_ids=stops, stop=texts) for i in fitting)
    answers = [Answer("", ended=False)] * len(prompts)
    advance(len(prompts) - len(fitting))
    for place, done in zip(fitting, engine.run(requests, advance), strict=True):
        ended = done.reason == "stop"
        # An answer that was cut off may end within a character of several tokens.
        answers[place] = Answer(done.text.strip() if ended else done.text.strip().rstrip("\ufffd"), ended)
    return answers


@torch.no_grad()
def generate_answers(
    model: Any,
    renderer: Renderer,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    advance: Callable[[int], None] = lambda done: None,
) -> list[Answer]:
    """The same through transformers' generate: the reference, and for models that the engine cannot decode."""
    device = next(model.parameters()).device
    longest_possible = longest_sequence(model)
    stops, pad = renderer.stop_ids, renderer.tokenizer.pad_token_id
    answers: dict[int, Answer] = {}
    model.eval()
    for group in _similar_lengths(prompts):
        longest = max(len(prompts[i]) for i in group)
        room = max_new_tokens if longest_possible is None else min(max_new_tokens, longest_possible - longest)
        advance(len(group))
        if room <= 0:
            answers |= dict.fromkeys(group, Answer("", ended=False))
            continue
        settings = generation_settings(stops, pad, room)
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
    return [answers[i] for i in range(len(prompts))]


def finish(renderer: Renderer, ids: Sequence[int]) -> Answer:
    """Generated ids as an answer: up to the end-of-turn token, or up to where a base begins the next question."""
    stops = set(renderer.stop_ids)
    end = next((place for place, token in enumerate(ids) if token in stops), len(ids))
    text = renderer.tokenizer.decode(ids[:end], skip_special_tokens=True)
    ended = end < len(ids)
    for stop in renderer.template.stops:
        if stop in text:
            text, ended = text[: text.index(stop)], True
    # An answer that was cut off may end within a character of several tokens.
    return Answer(text.strip() if ended else text.strip().rstrip("\ufffd"), ended)


def _similar_lengths(prompts: Sequence[Sequence[int]]) -> Iterator[list[int]]:
    """Numbers of prompts, shortest first, in groups of at most `BATCH` prompts and `BATCH_TOKENS` padded tokens."""
    group: list[int] = []
    for index in sorted(range(len(prompts)), key=lambda i: len(prompts[i])):
        if group and (len(group) == BATCH or (len(group) + 1) * len(prompts[index]) > BATCH_TOKENS):
            yield group
            group = []
        group.append(index)
    if group:
        yield group
