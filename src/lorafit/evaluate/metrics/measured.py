"""What a metric returns: for each sample the numbers whose sums give the score of a whole set.

So the score of any choice of samples is a sum and a formula, and a bootstrap is one product of matrices. BLEU of a set
is not the mean of the BLEU of its sentences; the sums keep that right.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

Array = np.ndarray[Any, np.dtype[np.float64]]
Combine = Callable[[Array], Array]


@dataclass(frozen=True, slots=True)
class Scale:
    """How a score is read. better: which way is good, "" for neither. high: the most it can be, inf for no bound; the
    least is 0."""

    name: str
    better: Literal["higher", "lower", ""]
    high: float

    @property
    def is_share(self) -> bool:
        """Between 0 and 1, and so shown in per cent and its differences in points."""
        return self.high == 1


@dataclass(frozen=True, slots=True)
class Measured:
    """A metric on a set of answers.

    sums: [samples, k], to be added over samples. combine: [..., k] summed to [...] scores. samples: [samples], each
    answer by itself. resampled: false where sums do not give the score, so that no interval can be drawn. note: what a
    reader should know about this score.
    """

    sums: Array
    combine: Combine
    samples: Array
    resampled: bool = True
    note: str = ""

    @property
    def score(self) -> float:
        return float(self.combine(self.sums.sum(axis=0)))


def mean_of(values: Sequence[float] | Array, note: str = "") -> Measured:
    """A score that is the mean over samples."""
    return ratio_of(values, np.ones(len(values)), note)


def ratio_of(numerators: Sequence[float] | Array, denominators: Sequence[float] | Array, note: str = "") -> Measured:
    """A score that is one sum over another, such as tokens right over tokens; 0 over 0 is 0."""
    sums = np.stack([np.asarray(numerators, np.float64), np.asarray(denominators, np.float64)], axis=1)
    return Measured(sums, _ratio, _ratio(sums), note=note)


def _ratio(sums: Array) -> Array:
    return divided(sums[..., 0], sums[..., 1])


def divided(numerators: Array, denominators: Array) -> Array:
    """Element by element, 0 where the denominator is 0."""
    zero = denominators == 0
    return np.where(zero, 0.0, numerators / np.where(zero, 1.0, denominators))
