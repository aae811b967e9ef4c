"""CIDEr-D: likeness of answer and references, with n-grams that many prompts have in common weighing less."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from lorafit.evaluate.metrics.measured import Measured, mean_of
from lorafit.evaluate.metrics.overlap import ngrams
from lorafit.evaluate.metrics.texts import Texts

ORDERS, SIGMA, SCALE = 4, 6.0, 10.0
NGrams = list[Counter[tuple[str, ...]]]  # of each order


def measure_cider(texts: Texts) -> Measured:
    """CIDEr as the COCO and E2E scorers compute it (Vedantam 2015, arXiv 1411.5726, with clipping and the penalty for
    length): 0 to 10, the mean over prompts. The weights come from the references of all prompts, so it means nothing
    for one prompt, and the scores of two sets of prompts cannot be compared.
    """
    answers, references = texts.caption
    cut = [[_orders(reference) for reference in wanted] for wanted in references]
    prompts_with: Counter[tuple[str, ...]] = Counter()
    for wanted in cut:
        prompts_with.update({ngram for reference in wanted for order in reference for ngram in order})
    logs = {ngram: math.log(len(cut) / count) for ngram, count in prompts_with.items()}
    unseen = math.log(len(cut))
    scores = []
    for answer, wanted in zip(answers, cut, strict=True):
        said = _orders(answer)
        scores.append(sum(_likeness(said, reference, logs, unseen) for reference in wanted) / len(wanted))
    return mean_of(scores, note="" if len(cut) > 1 else "CIDEr of a single prompt is always 0.")


def _likeness(said: NGrams, wanted: NGrams, logs: dict[tuple[str, ...], float], unseen: float) -> float:
    # The scorers take the number of bigrams for the length.
    shorter = said[1].total() - wanted[1].total()
    total = 0.0
    for answer, reference in zip(said, wanted, strict=True):
        norms = _norm(answer, logs, unseen) * _norm(reference, logs, unseen)
        if norms:
            shared = (answer & reference).items()
            total += sum(count * reference[ngram] * logs[ngram] ** 2 for ngram, count in shared) / norms
    return SCALE * total / ORDERS * math.exp(-(shorter**2) / (2 * SIGMA**2))


def _norm(order: Counter[tuple[str, ...]], logs: dict[tuple[str, ...], float], unseen: float) -> float:
    return math.sqrt(sum((count * logs.get(ngram, unseen)) ** 2 for ngram, count in order.items()))


def _orders(tokens: Sequence[str]) -> NGrams:
    return [ngrams(tokens, order) for order in range(1, ORDERS + 1)]
