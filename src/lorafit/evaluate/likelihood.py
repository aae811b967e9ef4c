"""How likely given texts are to a model: perplexity, bits per byte, token accuracy, sample by sample."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise

import numpy as np

from lorafit.data.pack import make_row, pack
from lorafit.data.template import Renderer
from lorafit.errors import DataError
from lorafit.evaluate.metrics.measured import Array, Measured, Scale, divided, ratio_of
from lorafit.model.forward import Forward
from lorafit.records import Conversation, Sample

WINDOW = 512  # rows that are packed together


@dataclass(frozen=True, slots=True)
class Likelihood:
    """Of one row: nats (the sum of -log p) over its supervised tokens, how many these are, how many of them were the
    likeliest, and the UTF-8 bytes of the text that they stand for."""

    nats: float
    tokens: int
    right: int
    bytes: int


def likelihoods(
    forward: Forward, renderer: Renderer, conversations: Iterable[Conversation], tokens_per_pass: int, longest: int
) -> Iterator[Likelihood]:
    """Of each conversation in order, over all answers that training would train (of a text, over all of it).

    longest: samples are cut to so many tokens, as in training. Raises DataError when the template refuses a row.
    """
    coming = iter(conversations)
    while window := list(islice(coming, WINDOW)):
        samples: list[Sample] = []
        counts: list[int] = []
        for made in renderer.samples_of(window):
            if isinstance(made, DataError):
                raise made
            samples += [_cut(sample, longest) for sample in made]
            counts.append(len(made))
        scored = iter(_scored(forward, renderer, samples, tokens_per_pass))
        for count in counts:
            of = list(islice(scored, count))
            yield Likelihood(*(sum(getattr(one, name) for one in of) for name in Likelihood.__slots__))


def _cut(sample: Sample, longest: int) -> Sample:
    return Sample(sample.token_ids[:longest], sample.trained[:longest], sample.source)


def _scored(forward: Forward, renderer: Renderer, samples: Sequence[Sample], tokens_per_pass: int) -> list[Likelihood]:
    lengths = [len(sample) for sample in samples]
    rows = pack(lengths, tokens_per_pass) if forward.packed else [[i] for i in range(len(samples))]
    found: dict[int, Likelihood] = {}
    training = forward.model.training
    forward.model.eval()
    try:
        with forward.running():
            for places in rows:
                # The documents of a row that share nothing stand in the order of their lengths (data/pack.py).
                places = sorted(places, key=lambda i: lengths[i])
                nats, right = (
                    x.cpu().double().numpy()
                    for x in forward.token_losses(make_row([samples[i] for i in places], least_shared=None))
                )
                ends = np.cumsum([0, *(samples[i].supervised_tokens for i in places)])
                for i, (start, end) in zip(places, pairwise(ends.tolist()), strict=True):
                    text = _text(renderer, samples[i])
                    found[i] = Likelihood(
                        float(nats[start:end].sum()), end - start, int(right[start:end].sum()), len(text)
                    )
    finally:
        forward.model.train(training)
    return [found[i] for i in range(len(samples))]


def _text(renderer: Renderer, sample: Sample) -> bytes:
    """What the supervised tokens stand for, without special tokens."""
    text: str = renderer.tokenizer.decode(sample.token_ids[sample.trained].tolist(), skip_special_tokens=True)
    return text.encode("utf-8", "replace")


def measured(found: Sequence[Likelihood]) -> dict[str, Measured]:
    """The scores of rows. The perplexity is that of all tokens together, exp(nats / tokens)."""
    columns = np.array([[one.nats, one.tokens, one.right, one.bytes] for one in found], np.float64).reshape(-1, 4)
    nats, tokens, right, size = columns.T
    mean = ratio_of(nats, tokens)
    return {
        "perplexity": Measured(mean.sums, perplexities, perplexities(mean.sums)),
        "bits_per_byte": ratio_of(nats / math.log(2), size),
        "token_accuracy": ratio_of(right, tokens),
    }


def perplexities(sums: Array) -> Array:
    """exp of nats over tokens; sums [..., 2]."""
    exps: Array = np.exp(np.minimum(divided(sums[..., 0], sums[..., 1]), 700.0))
    return exps


LIKELIHOOD = {
    "perplexity": Scale("perplexity", "lower", math.inf),
    "bits_per_byte": Scale("bits_per_byte", "lower", math.inf),
    "token_accuracy": Scale("token_accuracy", "higher", 1),
}
