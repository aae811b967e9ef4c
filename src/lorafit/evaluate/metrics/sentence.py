"""A difference in words."""

from __future__ import annotations

import math

from lorafit.evaluate.metrics.measured import Scale
from lorafit.evaluate.metrics.significance import Difference

_WORDS = {"higher": ("better", "worse"), "lower": ("worse", "better"), "": ("higher", "lower")}


def sentence(difference: Difference, metric: Scale) -> str:
    """Such as "better by 3.1 points (95 % interval 1.2 to 5.0)". Shares between 0 and 1 are told in points of 100."""
    unit, scale, digits = (" points", 100, 1) if metric.is_share else ("", 1, 2)
    value, low, high = (scale * figure for figure in (difference.value, difference.low, difference.high))
    more, less = _WORDS[metric.better]
    if math.isnan(low):
        if value == 0:
            return "the same"
        return f"{more if value > 0 else less} by {abs(value):,.{digits}f}{unit} (no interval for this metric)"
    if difference.is_real:
        if value < 0:
            value, low, high, more = -value, -high, -low, less
        return f"{more} by {value:,.{digits}f}{unit} (95 % interval {low:,.{digits}f} to {high:,.{digits}f})"
    told = f"not distinguishable on {difference.samples:,} samples: {value:+.{digits}f}{unit}"
    told += f" (95 % interval {low:+.{digits}f} to {high:+.{digits}f})"
    if difference.needed <= difference.samples or difference.needed > 1_000_000:
        return told
    return f"{told}; a true difference of this size would take about {_rounded(difference.needed)} samples to show"


def _rounded(number: float) -> str:
    digits = max(0, math.floor(math.log10(number)) - 1)
    return f"{math.ceil(number / 10**digits) * 10**digits:,}"
