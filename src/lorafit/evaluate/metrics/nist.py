"""NIST: n-gram precision in which a rare n-gram weighs more (Doddington 2002), as mteval-v13a computes it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np

from lorafit.evaluate.metrics.measured import Array, Measured, divided
from lorafit.evaluate.metrics.texts import Texts

ORDERS = 5
BETA = math.log(2) / math.log(1.5) ** 2  # the penalty is a half where an answer has two thirds of the words


def measure_nist(texts: Texts) -> Measured:
    """The E2E scorer's NIST. It fills up missing references with empty ones, which count in the mean length."""
    most = max(map(len, texts.references))
    return _nist(texts, [most] * len(texts.answers))


def measure_nist_pymteval(texts: Texts) -> Measured:
    """The E2E scorer's NIST with its option -p: the mean length is over the references that there are."""
    return _nist(texts, list(map(len, texts.references)))


def _nist(texts: Texts, divisors: Sequence[int]) -> Measured:
    answers, references = texts.mteval
    answers = [[token.lower() for token in answer] for answer in answers]
    references = [[[token.lower() for token in reference] for reference in wanted] for wanted in references]
    seen: Counter[tuple[str, ...]] = Counter()
    for wanted in references:
        for reference in wanted:
            seen.update(_ngrams(reference))
    seen[()] = sum(len(reference) for wanted in references for reference in wanted)
    rows = []
    for answer, wanted, divisor in zip(answers, references, divisors, strict=True):
        most: Counter[tuple[str, ...]] = Counter()
        for reference in wanted:
            most |= _ngrams(reference)
        information = [0.0] * ORDERS
        for ngram, count in (_ngrams(answer) & most).items():
            information[len(ngram) - 1] += count * math.log2(seen[ngram[:-1]] / seen[ngram])
        totals = [max(0, len(answer) - order) for order in range(ORDERS)]
        rows.append([*information, *totals, len(answer), sum(map(len, wanted)) / divisor])
    sums = np.asarray(rows, dtype=np.float64)
    return Measured(sums, nist_of, nist_of(sums))


def nist_of(sums: Array) -> Array:
    """NIST of sums [..., 12]: information and n-grams of each order, length of the answers and of the references."""
    precision = divided(sums[..., :ORDERS], sums[..., ORDERS : 2 * ORDERS]).sum(axis=-1)
    ratio = divided(sums[..., -2], sums[..., -1])
    penalty = np.exp(-BETA * np.log(np.clip(ratio, 1e-12, 1.0)) ** 2)
    scores: Array = precision * penalty
    return scores


def _ngrams(tokens: Sequence[str]) -> Counter[tuple[str, ...]]:
    return Counter(
        tuple(tokens[start : start + order])
        for order in range(1, ORDERS + 1)
        for start in range(len(tokens) - order + 1)
    )
