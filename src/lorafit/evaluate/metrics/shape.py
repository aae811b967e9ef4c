"""How answers are, whatever they say: length, variety, and whether they came to an end."""

from __future__ import annotations

from itertools import chain

import numpy as np

from lorafit.evaluate.metrics.measured import Array, Measured, divided, mean_of, ratio_of
from lorafit.evaluate.metrics.overlap import ngrams
from lorafit.evaluate.metrics.texts import Texts


def measure_distinct_1(texts: Texts) -> Measured:
    return _distinct(texts, 1)


def measure_distinct_2(texts: Texts) -> Measured:
    return _distinct(texts, 2)


def _distinct(texts: Texts, order: int) -> Measured:
    """Different n-grams over all n-grams of all answers (Li 2016, arXiv 1510.03055). It falls as the number of answers
    grows. An answer drawn twice adds n-grams and no new ones, so there is no bootstrap interval.
    """
    counted = [ngrams(answer, order) for answer in texts.words[0]]
    totals = np.asarray([each.total() for each in counted], np.float64)
    alone = divided(np.asarray([len(each) for each in counted], np.float64), totals)
    different = len(set(chain.from_iterable(counted)))

    def whole_set(sums: Array) -> Array:
        return divided(np.asarray(float(different)), sums[..., 0])

    return Measured(totals[:, None], whole_set, alone, resampled=False)


def measure_length(texts: Texts) -> Measured:
    """Words an answer; CJK characters count one each."""
    return mean_of([len(answer) for answer in texts.words[0]])


def measure_length_ratio(texts: Texts) -> Measured:
    """Words of the answers over words of the references, of several the one nearest in length."""
    answers, references = texts.words
    lengths = [len(answer) for answer in answers]
    nearest = [
        min(map(len, wanted), key=lambda wanted_length: (abs(wanted_length - length), wanted_length))
        for length, wanted in zip(lengths, references, strict=True)
    ]
    return ratio_of(lengths, nearest)


def measure_stop_rate(texts: Texts) -> Measured:
    """Share of answers that ended by themselves, and not at the length limit."""
    return mean_of([float(ended) for ended in texts.ended or ()])
