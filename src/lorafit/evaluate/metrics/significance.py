"""How sure a score is, and whether one system is better than another on the same prompts.

The interval is a bootstrap over prompts (percentile method, Koehn 2004). The test is approximate randomisation (Noreen
1989): if the systems did not differ, it would not matter whose answer to a prompt is whose, so the answers are swapped
at random and it is counted how often the difference is as large. It is chosen over the paired bootstrap's own p-value
because that calls too many differences real on small sets (Riezler and Maxwell 2005). Both draw sums, not sentences.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lorafit.errors import DataError
from lorafit.evaluate.metrics.measured import Array, Measured

DRAWS, LEVEL = 2000, 0.95
GROUPS = 10_000
_DRAWN_AT_ONCE = 1 << 22  # numbers; bounds the memory of a bootstrap


@dataclass(frozen=True, slots=True)
class Estimate:
    """A score and its 95 % interval; low and high are nan where there is none."""

    score: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Difference:
    """Of a metric between two systems on the same prompts, `other` minus `base`.

    p: how often chance alone makes a difference this large. needed: samples that would show a difference of this size
    four times in five; inf where it is zero. All but `value` are nan where a metric cannot be resampled.
    """

    value: float
    low: float
    high: float
    p: float
    samples: int
    needed: float

    @property
    def is_real(self) -> bool:
        """The interval leaves out zero and the test agrees."""
        return self.p < 1 - LEVEL and (self.low > 0 or self.high < 0)


def interval(measured: Measured, draws: int = DRAWS, seed: int = 0) -> Estimate:
    """The score with its interval: what it would be on other prompts of the same kind."""
    if not measured.resampled:
        return Estimate(measured.score, math.nan, math.nan)
    sums = grouped(measured.sums)
    drawn = np.concatenate([measured.combine(times @ sums) for times in resamples(len(sums), draws, seed)])
    return Estimate(measured.score, *_bounds(drawn))


def compare(base: Measured, other: Measured, draws: int = DRAWS, seed: int = 0) -> Difference:
    """The difference with its interval (prompts drawn for both alike) and its p-value.

    Raises DataError where the two did not answer the same number of prompts.
    """
    if base.sums.shape != other.sums.shape:
        raise DataError(
            f"Systems can be compared only on the same prompts and references: one has {len(base.samples):,} samples, "
            f"the other {len(other.samples):,}."
        )
    value, samples = other.score - base.score, len(base.samples)
    if not (base.resampled and other.resampled):
        return Difference(value, math.nan, math.nan, math.nan, samples, math.nan)
    one, two = grouped(base.sums), grouped(other.sums)
    drawn = np.concatenate(
        [other.combine(times @ two) - base.combine(times @ one) for times in resamples(len(one), draws, seed)]
    )
    p = randomisation(base, other, draws, seed)
    # A normal test at 5 % that finds it in 80 %: (1.96 + 0.84) standard errors.
    needed = samples * (2.8 * float(drawn.std()) / abs(value)) ** 2 if value else math.inf
    return Difference(value, *_bounds(drawn), p, samples, needed)


def randomisation(base: Measured, other: Measured, draws: int = DRAWS, seed: int = 0) -> float:
    """Two-sided p-value of the difference: answers of the two systems swapped prompt by prompt at random."""
    one, two = grouped(base.sums), grouped(other.sums)
    both, half = (one + two).sum(axis=0) / 2, (two - one) / 2
    found = abs(other.score - base.score)
    as_large = 0
    for signs in _signs(len(one), draws, seed):
        moved = signs @ half
        swapped = np.abs(other.combine(both + moved) - base.combine(both - moved))
        as_large += int((swapped >= found - 1e-12).sum())
    return (as_large + 1) / (draws + 1)


def grouped(sums: Array) -> Array:
    """Sums of at most 10,000 groups of samples: a million samples would take minutes, and the interval is the same."""
    if len(sums) <= GROUPS:
        return sums
    # Sample i is in group i mod 10,000, so that what was sorted in the file is spread.
    filled = np.zeros((-(-len(sums) // GROUPS) * GROUPS, sums.shape[1]))
    filled[: len(sums)] = sums
    added: Array = filled.reshape(-1, GROUPS, sums.shape[1]).sum(axis=0)
    return added


def resamples(count: int, draws: int, seed: int) -> Iterator[Array]:
    """Blocks [draws, count]: how often each sample is drawn, with replacement, `count` in all."""
    generator = np.random.default_rng(seed)
    for block in _blocks(count, draws):
        chosen = generator.integers(0, count, size=(block, count)) + count * np.arange(block)[:, None]
        yield np.bincount(chosen.ravel(), minlength=block * count).reshape(block, count).astype(np.float64)


def _signs(count: int, draws: int, seed: int) -> Iterator[Array]:
    generator = np.random.default_rng(seed)
    for block in _blocks(count, draws):
        yield generator.integers(0, 2, size=(block, count)).astype(np.float64) * 2 - 1


def _blocks(count: int, draws: int) -> Iterator[int]:
    block = max(1, _DRAWN_AT_ONCE // count)
    for start in range(0, draws, block):
        yield min(block, draws - start)


def _bounds(drawn: Array) -> tuple[float, float]:
    low, high = np.percentile(drawn, [50 * (1 - LEVEL), 50 * (1 + LEVEL)])
    return float(low), float(high)
