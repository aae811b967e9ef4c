"""Which learning rates are usual, and the one to try next."""

from __future__ import annotations

from lorafit.observe.rules.facts import Facts

# (below so many parameters, lowest, highest). For billions of parameters: QLoRA (arXiv 2305.14314, table 9) takes 2e-4
# up to 13B and 1e-4 above; the bounds stand ten times outside, for other data, lengths and batches. Small models bear
# more: LOG.md has 4e-3 on 3M and 5e-3 on 260K.
LORA_BANDS = ((100e6, 1e-4, 3e-2), (1e9, 2e-5, 5e-3), (float("inf"), 1e-5, 2e-3))
# About ten times lower than for LoRA (LoRA Without Regret, Thinking Machines, 2025).
FULL_BANDS = ((100e6, 1e-5, 1e-2), (1e9, 1e-6, 5e-4), (float("inf"), 5e-7, 2e-4))


def usual_rates(facts: Facts) -> tuple[float, float] | None:
    """(lowest, highest) for this method and base; the widest where the size is unknown. None for SGD, whose rates have
    the gradient's unit."""
    if facts.setting("train.optimizer") == "sgd":
        return None
    bands = FULL_BANDS if facts.is_full else LORA_BANDS
    if facts.parameters is None:
        return min(low for _, low, _ in bands), max(high for _, _, high in bands)
    return next((low, high) for below, low, high in bands if facts.parameters < below)


def middle_rate(facts: Facts) -> str | None:
    """The geometric middle of the usual rates."""
    band = usual_rates(facts)
    return shown((band[0] * band[1]) ** 0.5) if band else None


def lower_rate(facts: Facts, divisor: float) -> str | None:
    rate = facts.learning_rate
    if rate is None:
        return None
    band = usual_rates(facts)
    return shown(min(rate / divisor, band[1]) if band else rate / divisor)


def raised_rate(facts: Facts) -> str | None:
    """Ten times as much, at least the lowest usual; None beyond what is usual."""
    rate, band = facts.learning_rate, usual_rates(facts)
    if rate is None or band is None:
        return None
    raised = max(10 * rate, band[0])
    return shown(raised) if raised <= band[1] else None


def shown(rate: float) -> str:
    """One figure and its power: 2e-4."""
    mantissa, _, power = f"{rate:.0e}".partition("e")
    return f"{mantissa}e{int(power)}"
