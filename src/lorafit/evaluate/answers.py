"""Questions to a journal of answers, or of the log-likelihoods of choices, through the decoding engine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from lorafit.data.template import Renderer
from lorafit.evaluate.journal import Journal
from lorafit.evaluate.pairs import encode_pair, fit
from lorafit.evaluate.question import Question
from lorafit.infer.engine import Completion, Engine, Request

Advance = Callable[[int], None]


@dataclass(slots=True)
class Way:
    """How questions are asked. adapter: who answers, None is the base. stop: texts that end an answer, besides those of
    the template.

    cut and unasked count prompts that lost their beginning, and those that left no room for an answer.
    """

    engine: Engine
    renderer: Renderer
    adapter: str | None
    max_new_tokens: int = 128
    stop: tuple[str, ...] = ()
    cut: int = 0
    unasked: int = 0


def answer(way: Way, questions: Iterable[Question], journal: Journal, advance: Advance) -> None:
    """Answer greedily what the journal has no answer to, each written as soon as it is there:
    {text, ended, tokens}."""
    asked: dict[int, int] = {}  # number of the request to that of the question
    stop_ids = frozenset([*way.renderer.stop_ids, *_own_ends(way.engine.model)])

    def requests() -> Iterator[Request]:
        count = 0
        for question in questions:
            if question.number in journal:
                continue
            ids = prompt_ids(way, question)
            room = _room(way, len(ids))
            if room <= 0:
                way.unasked += 1
                journal.write(question.number, {"text": "", "ended": False, "tokens": 0})
                advance(1)
                continue
            asked[count] = question.number
            count += 1
            stops = (*way.renderer.template.stops, *way.stop) if question.messages else way.stop
            yield Request(ids, room, adapter=way.adapter, stop_ids=stop_ids, stop=tuple(stops))

    for number, done in way.engine.stream(requests()):
        journal.write(asked.pop(number), _spoken(done))
        advance(1)


def choose(way: Way, questions: Iterable[Question], journal: Journal, advance: Advance) -> None:
    """Score every choice of what the journal has not: {choices: [[log-likelihood in nats, tokens, bytes], ...]}."""
    waiting: dict[int, tuple[Question, dict[int, Completion]]] = {}
    places: dict[int, tuple[int, int]] = {}

    def requests() -> Iterator[Request]:
        count = 0
        for question in questions:
            if question.number in journal:
                continue
            waiting[question.number] = (question, {})
            for place, (context, continuation) in enumerate(choice_ids(way, question)):
                places[count] = (question.number, place)
                count += 1
                yield Request(context, adapter=way.adapter, continuation=continuation)

    for number, done in way.engine.stream(requests()):
        at, place = places.pop(number)
        question, found = waiting[at]
        found[place] = done
        if len(found) == len(question.choices):
            del waiting[at]
            scored = [
                [found[i].logprob, len(found[i].ids), len(choice.encode("utf-8", "replace"))]
                for i, choice in enumerate(question.choices)
            ]
            journal.write(at, {"choices": scored})
            advance(1)


def prompt_ids(way: Way, question: Question) -> list[int]:
    """A dialogue as its template asks it; a plain text as the tokenizer reads it, its end where it is too long."""
    if question.messages:
        return way.renderer.prompt_ids(question.messages, question.tools)
    ids: list[int] = way.renderer.tokenizer(question.text, verbose=False).input_ids
    longest = way.engine.longest
    if longest is not None and len(ids) > (room := max(1, longest - way.max_new_tokens)):
        way.cut += 1
        ids = ids[-room:]
    return ids


def choice_ids(way: Way, question: Question) -> list[tuple[list[int], list[int]]]:
    """(context, continuation) of each choice."""
    pairs: list[tuple[list[int], list[int]]] = []
    cut = False
    for choice in question.choices:
        if question.messages:
            context = way.renderer.prompt_ids(question.messages, question.tools)
            continuation = way.renderer.tokenizer(choice, add_special_tokens=False).input_ids
        else:
            context, continuation = encode_pair(way.renderer.tokenizer, question.text, choice)
        if way.engine.longest is not None:
            context, was_cut = fit(context, continuation, way.engine.longest)
            cut |= was_cut
        pairs.append((context, continuation))
    way.cut += cut
    return pairs


def _own_ends(model: Any) -> list[int]:
    """The tokens that end what the base says by itself: its tokenizer need not know all of them."""
    ends = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    return [] if ends is None else ends if isinstance(ends, list) else [ends]


def _room(way: Way, tokens: int) -> int:
    longest = way.engine.longest
    return way.max_new_tokens if longest is None else min(way.max_new_tokens, longest - tokens)


def _spoken(done: Completion) -> dict[str, Any]:
    ended = done.reason == "stop"
    text = done.text.strip()
    # An answer that was cut off may end within a character of several tokens.
    return {"text": text if ended else text.rstrip("\ufffd"), "ended": ended, "tokens": len(done.ids)}


def chosen(scored: Sequence[Sequence[float]], normalise: str) -> int:
    """The place of the likeliest choice. normalise: "" as it is, "tokens" or "bytes" per one of these."""
    divisor = {"": None, "tokens": 1, "bytes": 2}[normalise]
    values = [one[0] if divisor is None else one[0] / max(1, one[divisor]) for one in scored]
    return values.index(max(values))
