"""What the tuned model answers to some held-out prompts, kept with the run: every export is measured by it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jinja2 import TemplateError

from lorafit.data.template import Renderer
from lorafit.errors import ExportError, RunError
from lorafit.export.answers import greedy_continuations
from lorafit.export.worker import follow, steps
from lorafit.model.load import longest_sequence
from lorafit.records import Message
from lorafit.run import read_json, write_json

FILE = "reference.json"
PROMPTS, ANSWER_TOKENS, LIKELY = 16, 32, 8


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt and what the tuned model said. ids, answer: token ids; text: the prompt as rendered; turns: its
    dialogue, None where the template alone does not render it so. Of each answer token: likely: its id and the ids of
    the likeliest; logits: of these; totals: the logarithm of the sum of all exponentials; hidden: some values of
    the states before the head."""

    ids: list[int]
    answer: list[int]
    text: str
    turns: list[dict[str, str]] | None
    likely: list[list[int]]
    logits: list[list[float]]
    totals: list[float]
    hidden: list[list[float]]


@dataclass(frozen=True, slots=True)
class Reference:
    """format: what the run computed in (`int8` for an 8-bit base, else a dtype); stop_ids: what ends an answer; tied:
    whether the head is the embedding."""

    format: str
    stop_ids: list[int]
    tied: bool
    prompts: list[Prompt]


def keep_reference(
    model: Any, renderer: Renderer, prompts: Sequence[Sequence[Message]], folder: Path
) -> Reference | None:
    """Write to folder/reference.json what `model` answers greedily to the first 16 of `prompts` that leave room for an
    answer, with the log-probabilities. The model computes as it did in training; its mode is put back.

    Returns None, and writes nothing, when no prompt leaves room for an answer.
    """
    asked = fitting(prompts, renderer, longest_sequence(model))
    if not asked:
        return None
    reference = _reference(model, renderer, asked)
    write_reference(reference, folder)
    return reference


def write_reference(reference: Reference, folder: Path) -> None:
    """Write it to folder/reference.json."""
    write_json(folder / FILE, asdict(reference))


def reference_of(model: Any, renderer: Renderer, prompts: Sequence[Sequence[Message]]) -> Reference:
    """As `keep_reference`, but nothing is written. Raises ExportError when no prompt leaves room for an answer."""
    asked = fitting(prompts, renderer, longest_sequence(model))
    if not asked:
        raise ExportError(
            f"None of the {len(prompts)} prompts that the run put aside leaves room for {ANSWER_TOKENS} tokens of "
            "answer within the model's length: there is nothing to check an export on."
        )
    return _reference(model, renderer, asked)


def _reference(model: Any, renderer: Renderer, asked: Sequence[tuple[Sequence[Message], list[int]]]) -> Reference:
    trained = model.training
    model.eval()
    kept = [_prompt(model, renderer, turns, ids) for turns, ids in asked]
    model.train(trained)
    head, table = model.get_output_embeddings(), model.get_input_embeddings()
    return Reference(_format(model), renderer.stop_ids, head.weight is table.weight, kept)


def fitting(
    prompts: Sequence[Sequence[Message]], renderer: Renderer, longest: int | None
) -> list[tuple[Sequence[Message], list[int]]]:
    """The first 16 prompts, with their token ids, that leave room for an answer within `longest` tokens."""
    pairs = [(turns, renderer.prompt_ids(turns)) for turns in prompts]
    kept = [(turns, ids) for turns, ids in pairs if longest is None or len(ids) + ANSWER_TOKENS <= longest]
    return kept[:PROMPTS]


def read_reference(folder: Path) -> Reference | None:
    """The reference in a run's self_check folder; None where the run has none. Raises RunError when it is broken."""
    file = folder / FILE
    if not file.is_file():
        return None
    content = read_json(file)
    try:
        prompts = [Prompt(**prompt) for prompt in content["prompts"]]
        return Reference(content["format"], content["stop_ids"], content["tied"], prompts)
    except (KeyError, TypeError) as error:
        raise RunError(
            f"{file} is not what lorafit writes ({error}). Remove it: the next export makes it anew."
        ) from None


def _prompt(model: Any, renderer: Renderer, turns: Sequence[Message], ids: list[int]) -> Prompt:
    (whole,) = greedy_continuations(model, [ids], ANSWER_TOKENS, renderer.stop_ids)
    answer = whole[len(ids) :]
    logits, hidden = follow(model, ids, answer)
    best = np.argsort(-logits, axis=-1)[:, :LIKELY].tolist()
    likely = [[token, *tokens] for token, tokens in zip(answer, best, strict=True)]
    said = steps(logits, likely, hidden)
    text = renderer.text(turns, ask=True)
    plain = [{"role": turn.role, "content": turn.content} for turn in turns]
    asks_alike = _as_it_stands(renderer, plain) == (text, ids)
    return Prompt(
        ids, answer, text, plain if asks_alike else None, likely, said["logits"], said["totals"], said["hidden"]
    )


def _as_it_stands(renderer: Renderer, turns: Sequence[Mapping[str, str]]) -> tuple[str, list[int]] | None:
    """A dialogue as any user of the tokenizer renders it. The renderer adapts some to the template."""
    tokenizer = renderer.tokenizer
    try:
        text = tokenizer.apply_chat_template(
            turns, chat_template=renderer.template.jinja, add_generation_prompt=True, tokenize=False
        )
    except TemplateError:
        return None
    return text, tokenizer(text, add_special_tokens=False).input_ids


def _format(model: Any) -> str:
    if any(type(weight).__name__ == "Int8Params" for weight in model.parameters()):
        return "int8"
    dtype: torch.dtype = model.get_input_embeddings().weight.dtype
    return str(dtype).removeprefix("torch.")
