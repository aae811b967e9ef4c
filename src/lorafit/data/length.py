"""Samples that are longer than `data.max_length`: dropped, cut, or split."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from lorafit.data.settings import DataSettings
from lorafit.errors import DataError
from lorafit.records import Conversation, Message, Sample

TooLong = Literal["cut", "drop", "split", "error"]
Render = Callable[[Conversation], Sequence[Sample]]


@dataclass(slots=True)
class Fitted:
    """What became of a conversation.

    longest: tokens of its longest sample as rendered; left_out: samples that were dropped, the last for `problem`;
    cut: samples that were cut; lost_end: of these, those that lost the end of an answer or of a text.
    """

    samples: list[Sample] = field(default_factory=list)
    longest: int = 0
    left_out: int = 0
    problem: str = ""
    cut: int = 0
    lost_end: int = 0


def fit_length(
    conversation: Conversation,
    rendered: Sequence[Sample],
    render: Render,
    max_length: int,
    too_long: TooLong,
    ends: Set[int],
) -> Fitted:
    """The samples of a conversation within `max_length` tokens. ends: the ids that may end an answer.

    `drop` leaves out samples that are too long, `cut` cuts them (see `cut`), `split` makes several of a text or of a
    dialogue and cuts only what cannot be split. `error` cuts, and counts on the caller to look at `longest`.
    """
    fitted = Fitted(longest=max(map(len, rendered), default=0))
    if fitted.longest <= max_length and all(sample.trained.any() for sample in rendered):
        fitted.samples = list(rendered)  # nearly all rows, and nothing more is to be counted for them
        return fitted
    if fitted.longest > max_length and too_long == "split":
        if conversation.is_text:
            rendered = [chunk for sample in rendered for chunk in chunks(sample, max_length)]
        else:
            rendered = list(_turns(conversation, render, max_length))
    for sample in rendered:
        whole, trained = len(sample), sample.supervised_tokens
        if whole > max_length:
            if too_long == "drop":
                fitted.left_out += 1
                fitted.problem = f"{whole} tokens, longer than data.max_length={max_length}"
                continue
            sample = cut(sample, max_length, frozenset() if conversation.is_text else ends)
        if not sample.supervised_tokens:
            fitted.left_out += 1
            fitted.problem = f"no token of an answer is left within data.max_length={max_length}"
            continue
        fitted.samples.append(sample)
        fitted.cut += whole > max_length
        fitted.lost_end += sample.supervised_tokens < trained
    return fitted


def cut(sample: Sample, max_length: int, ends: Set[int]) -> Sample:
    """The first `max_length` tokens, so that the sample ends as an answer ends.

    An answer that is cut keeps its end-of-turn token (one of `ends`) as the last one, so that the model learns to stop
    after every answer; it does learn to stop in mid-sentence there. Tokens after the last answer are left out.
    """
    token_ids, trained = sample.token_ids[:max_length].copy(), sample.trained[:max_length].copy()
    if sample.trained[max_length]:
        rest = sample.trained[max_length:]
        last = max_length - 1 + (len(rest) if rest.all() else int(rest.argmin()))
        if sample.token_ids[last] in ends:
            # An end of turn after no word of the answer would teach to say nothing.
            token_ids[-1], trained[-1] = sample.token_ids[last], trained[-1] and trained[-2]
    kept = np.flatnonzero(trained)
    length = int(kept[-1]) + 1 if len(kept) else 0
    return Sample(token_ids[:length], trained[:length], sample.source)


def chunks(sample: Sample, max_length: int) -> Iterator[Sample]:
    """A text in pieces; each begins with the last token of the one before, so that every token is trained once."""
    for start in range(0, len(sample) - 1, max_length - 1):
        trained = sample.trained[start : start + max_length].copy()
        trained[0] = False
        yield Sample(sample.token_ids[start : start + max_length], trained, sample.source)


def _turns(conversation: Conversation, render: Render, max_length: int) -> Iterator[Sample]:
    """Samples of whole exchanges, as many as fit in each, all with the system prompt; one alone may be too long."""
    head, exchanges = _exchanges(conversation.messages)
    start = 0
    while start < len(exchanges):
        found: Sequence[Sample] = ()
        for end in range(start + 1, len(exchanges) + 1):
            turns = tuple(message for exchange in exchanges[start:end] for message in exchange)
            part = render(replace(conversation, messages=(*head, *turns)))
            if found and max(map(len, part)) > max_length:
                end -= 1
                break
            found = part
        yield from (sample for sample in found if sample.supervised_tokens)
        start = end


def _exchanges(messages: Sequence[Message]) -> tuple[tuple[Message, ...], list[list[Message]]]:
    """(the system prompt, exchanges: what a user says with all that follows until the user speaks again)."""
    head = tuple(messages[:1]) if messages[0].role == "system" else ()
    exchanges: list[list[Message]] = []
    for before, message in zip((None, *messages[len(head) :]), messages[len(head) :], strict=False):
        begins = message.role == "user" and (before is None or before.role != "user")
        if begins or not exchanges:
            exchanges.append([])
        exchanges[-1].append(message)
    return head, exchanges


def bound_loss(settings: DataSettings, lost: int, rows: int) -> None:
    """Raises DataError when more rows lose the end of their answer than `cut_answers` allows."""
    if lost > settings.cut_answers * rows:
        raise DataError(
            f"{lost:,} of {rows:,} rows ({lost / rows:.0%}) lose the end of their answer or text at data.max_length="
            f"{settings.max_length}; data.cut_answers={settings.cut_answers:g} allows {settings.cut_answers:.0%}.\n"
            "Raise data.max_length, or choose data.too_long=split (texts and dialogues become several samples) or "
            "drop, or allow it with data.cut_answers=1."
        )
