"""Files to samples: read, convert, split, render, bound the length. What was left out is counted and kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from lorafit.data.convert import Rejected, convert
from lorafit.data.read import read_records
from lorafit.data.split import normalised_prompt, split_held_out
from lorafit.data.template import Renderer
from lorafit.errors import DataError
from lorafit.records import Conversation, Record, Sample


@dataclass(frozen=True, slots=True)
class Part:
    """Conversations and their samples, in the same order."""

    conversations: tuple[Conversation, ...]
    samples: tuple[Sample, ...]

    def __len__(self) -> int:
        return len(self.samples)


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a run trains on and measures itself with; `summary` is data.json."""

    training: Part
    held_out: Part
    rejected: tuple[Rejected, ...]
    summary: dict[str, Any]
    warnings: tuple[str, ...]


@dataclass(slots=True)
class _Tally:
    cut: int = 0
    lost_end: int = 0
    rejected: list[Rejected] = field(default_factory=list)


def prepare(
    renderer: Renderer,
    train: str,
    held_out: str | float,
    max_length: int,
    too_long: Literal["cut", "drop", "error"] = "cut",
    bad_rows: Literal["error", "drop"] = "error",
    limit: int | None = None,
    seed: int = 0,
) -> Prepared:
    """Read and render the training and held-out rows.

    Raises DataError for bad files or rows, for samples that are too long (`too_long="error"`), and when no training
    sample has a token to train on.
    """
    records = read_records(train)
    conversations, rejected = convert(records, bad_rows)
    if isinstance(held_out, str):
        held_records = read_records(held_out)
        held, held_rejected = convert(held_records, bad_rows)
        rejected += held_rejected
    else:
        conversations, held = split_held_out(conversations, held_out)
    if limit is not None and limit < len(conversations):
        chosen = np.random.default_rng(seed).permutation(len(conversations))[:limit]
        conversations = [conversations[i] for i in sorted(chosen)]
    if not conversations:
        raise DataError(f"{train}: all {len(held)} rows fell into the held-out share; lower data.held_out.")

    tally = _Tally(rejected=rejected)
    training_part = _render(renderer, conversations, max_length, too_long, tally)
    if not training_part:
        raise DataError(_nothing_to_train(train, conversations, renderer, max_length))
    training_rejected = len(tally.rejected)
    held_part = _render(renderer, held, max_length, too_long, tally) if held else Part((), ())
    summary = {
        "train": train,
        "held_out": held_out,
        "template": renderer.template.name,
        "rows": len(records),
        "rejected": len(tally.rejected),
        "cut": tally.cut,
        "cut_within_answer": tally.lost_end,
        "max_length": max_length,
        "training": _statistics(training_part.samples),
        "held_out_rows": _statistics(held_part.samples),
    }
    warnings = _warnings(renderer, training_part, held, held_part, tally, training_rejected, summary)
    return Prepared(training_part, held_part, tuple(tally.rejected), summary, warnings)


def _render(
    renderer: Renderer,
    conversations: Sequence[Conversation],
    max_length: int,
    too_long: Literal["cut", "drop", "error"],
    tally: _Tally,
) -> Part:
    kept: list[Conversation] = []
    samples: list[Sample] = []
    overlong: list[Sample] = []

    def reject(conversation: Conversation, problem: str) -> None:
        fields = {"messages": [{"role": m.role, "content": m.content} for m in conversation.messages]}
        tally.rejected.append(Rejected(Record(fields, conversation.source), "length", problem))

    for conversation in conversations:
        whole = renderer.sample(conversation)
        if len(whole) > max_length:
            overlong.append(whole)
            if too_long == "drop":
                reject(conversation, f"{len(whole)} tokens, longer than data.max_length={max_length}")
                continue
        sample = Sample(whole.token_ids[:max_length], whole.trained[:max_length], whole.source)
        if not sample.supervised_tokens:
            reject(conversation, f"no token of an answer is left within data.max_length={max_length}")
            continue
        tally.cut += len(whole) > max_length
        tally.lost_end += sample.supervised_tokens < whole.supervised_tokens
        kept.append(conversation)
        samples.append(sample)
    if overlong and too_long == "error":
        longest = max(overlong, key=len)
        raise DataError(
            f"{len(overlong)} samples are longer than data.max_length={max_length}; the longest is {longest.source} "
            f"with {len(longest)} tokens.\nRaise data.max_length, or choose data.too_long=cut or drop."
        )
    return Part(tuple(kept), tuple(samples))


def _nothing_to_train(train: str, conversations: Sequence[Conversation], renderer: Renderer, max_length: int) -> str:
    sample = renderer.sample(conversations[0])
    return (
        f"{train}: no sample has a token to train on. The first ({conversations[0].source}) has {len(sample)} tokens, "
        f"of which {int(sample.trained[:max_length].sum())} belong to an answer within data.max_length={max_length}.\n"
        "Raise data.max_length above the length of the prompts, or look at the rendering with `lorafit data`."
    )


def _statistics(samples: Sequence[Sample]) -> dict[str, Any]:
    if not samples:
        return {"samples": 0}
    lengths = np.array([len(s) for s in samples])
    supervised = np.array([s.supervised_tokens for s in samples])
    return {
        "samples": len(samples),
        "tokens": int(lengths.sum()),
        "supervised_tokens": int(supervised.sum()),
        "shortest": int(lengths.min()),
        "median": int(np.median(lengths)),
        "longest": int(lengths.max()),
        "shortest_answer": int(supervised.min()),
    }


def _warnings(
    renderer: Renderer,
    training: Part,
    held: Sequence[Conversation],
    held_part: Part,
    tally: _Tally,
    training_rejected: int,
    summary: dict[str, Any],
) -> tuple[str, ...]:
    warnings = []
    if tally.cut:
        warnings.append(
            f"{tally.cut} samples were cut to {summary['max_length']} tokens, {tally.lost_end} of them within an "
            "answer (these do not teach the model to stop). Raise data.max_length, or use data.too_long=drop."
        )
    if tally.rejected:
        first = tally.rejected[0]
        warnings.append(
            f"{len(tally.rejected)} rows are left out ({training_rejected} from training); the first: {first}. "
            "All are in rejected.jsonl."
        )
    if not renderer.ends_with_stop(training.conversations[0]):
        warnings.append(
            f"The chat template ({renderer.template.name}) ends an answer without a special token: "
            "the model will not learn where to stop."
        )
    if not renderer.begins_as_asked(training.conversations[0]):
        warnings.append(
            f"The chat template ({renderer.template.name}) asks for an answer with other tokens than those that stand "
            "before it in training: the model will be asked in a way that it was not trained for."
        )
    if summary["held_out"] and not held_part:
        warnings.append("No row fell into the held-out share: there will be no held-out loss. Raise data.held_out.")
    asked = {normalised_prompt(c) for c in training.conversations}
    both = sum(normalised_prompt(c) in asked for c in held)
    if both:
        warnings.append(
            f"{both} of {len(held)} held-out prompts also stand in the training rows: the held-out loss is too good."
        )
    return tuple(warnings)
