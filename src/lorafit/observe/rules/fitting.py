"""Rules that hold training against held-out loss, and both against the learning rate that was spent."""

from __future__ import annotations

import math

import numpy as np

from lorafit.observe.rules.facts import Facts
from lorafit.observe.rules.finding import Case
from lorafit.observe.rules.rates import lower_rate, middle_rate, shown, usual_rates
from lorafit.observe.rules.series import LEARNT, differ, level, noise, swings

# The held-out loss is measured on the same rows each time, so that little noise is in it; 3 % and 0.02 nats are beyond.
OVER_FIT_SHARE, OVER_FIT_NATS = 0.03, 0.02
# Measurements after the best one; and by how much the rise exceeds their trembling.
OVER_FIT_MEASUREMENTS, OVER_FIT_ERRORS = 3, 4.0
# The training loss of an over-fitted run lies well below the held-out one.
OVER_FIT_GAP = 0.8
# Fall in the second half of the learning rate spent, by the fall in the first half. Fine-tuning finds most of what it
# finds early: below 0.2 in the runs of LOG.md; a straight line is 1.
UNDER_FIT_SHARE = 0.4
UNDER_FIT_MEASUREMENTS = 5
# The fall of the whole run is at least this share; less is flat, not under-fitted.
UNDER_FIT_FALL = 0.05
# A bump: so far above the beginning, in levels of so many updates, and back below it.
BUMP_SHARE, BUMP_UPDATES = 0.15, 24
# Examples in an update up to which noise may be the batch's own.
SMALL_BATCH = 4
SMALL_BATCH_UPDATES = 64
# The noise from update to update against the loss; batches of 16 have 0.05 to 0.15.
NOISY_SHARE = 0.3
# The held-out rows are the same each time: when their loss goes to and fro by this share, the model does. A noisy
# training loss alone is no fault: the rows differ.
SMALL_SWING, SMALL_SWINGS = 0.05, 3


def over_fitting(facts: Facts) -> Case | None:
    held = facts.held_out_losses
    if len(held) <= OVER_FIT_MEASUREMENTS:
        return None
    best = min(range(len(held)), key=lambda i: held[i][1])
    (best_update, lowest), (last_update, last) = held[best], held[-1]
    later = [loss for _, loss in held[best + 1 :]]
    if len(later) < OVER_FIT_MEASUREMENTS or last - lowest < max(OVER_FIT_SHARE * lowest, OVER_FIT_NATS):
        return None
    if min(later[-2:]) - lowest < (last - lowest) / 2 or last - lowest < OVER_FIT_ERRORS * noise([lowest, *later]):
        return None
    around = [loss for update, loss in facts.losses if abs(update - best_update) <= max(4, best_update // 4)]
    end = [loss for update, loss in facts.losses if update > (best_update + last_update) / 2]
    if not around or not end or np.mean(end) >= np.mean(around) or np.mean(end) > OVER_FIT_GAP * last:
        return None
    epochs = next((line["epoch"] for line in facts.updates if line["update"] >= best_update and "epoch" in line), None)
    # What is kept when nothing was better than the base is the last state (train/loop.py).
    kept = f"The weights that are kept are those after update {best_update}." if best_update else "The base was better."
    rows = f"the {facts.rows:,} training rows" if facts.rows else "the training rows"
    return Case(
        "warning",
        f"The held-out loss was lowest after update {best_update} ({lowest:.3f}) and rose to {last:.3f} by update "
        f"{last_update}, while the training loss fell from {np.mean(around):.3f} to {np.mean(end):.3f}.",
        f"The model learns {rows} by heart instead of what they have in common.",
        f"Train for fewer epochs; more rows would help more. {kept}",
        f"train.epochs={max(0.1, round(epochs, 1)):g}" if epochs else "train.patience=2",
    )


def under_fitting(facts: Facts) -> Case | None:
    falls = _falls(facts)
    if falls is None or facts.progress < 1:
        return None
    first, second, start, end = falls
    if start - end < UNDER_FIT_FALL * start or end < LEARNT or second < UNDER_FIT_SHARE * first:
        return None
    epochs = facts.setting("train.epochs") or 3.0
    return Case(
        "warning",
        f"The loss fell by {first:.3f} in the first half of the learning that the schedule gave, and still by "
        f"{second:.3f} in the second ({start:.3f} to {end:.3f} in all): it was on its way down when the run ended.",
        "The run was over before the model had learnt what is in the data.",
        "Train for twice as many epochs (`lorafit resume` goes on from here), or take a higher learning rate.",
        f"train.epochs={2 * epochs:g}",
    )


def _falls(facts: Facts) -> tuple[float, float, float, float] | None:
    """(fall in the first half of the learning rate spent, fall in the second, first loss, last loss).

    By the rate spent and not by updates: where a schedule ends at zero nothing can be learnt, which is no sign that
    everything is. Of the held-out loss where there are measurements enough, else of the training loss.
    """
    rates = facts.column("learning_rate")
    if len(rates) < 16 or rates[0][0] > 1:
        return None
    spent = np.cumsum([rate for _, rate in rates])
    middle = rates[int(np.searchsorted(spent, spent[-1] / 2))][0]
    held = facts.held_out_losses
    if len(held) >= UNDER_FIT_MEASUREMENTS:
        points, values = [update for update, _ in held], [loss for _, loss in held]
        half = float(np.interp(middle, points, values))
        return values[0] - half, half - values[-1], values[0], values[-1]
    size, epochs = len(facts.losses) // 8, facts.setting("train.epochs")
    # A training loss falls at each new epoch because the rows are known by then: no sign of anything left to learn.
    if size < 4 or epochs is None or epochs > 1:
        return None
    losses = [loss for _, loss in facts.losses]
    place = next(i for i, (update, _) in enumerate(facts.losses) if update >= middle)
    at = [level(losses[:size]), level(losses[max(0, place - size // 2) : place + size // 2]), level(losses[-size:])]
    if not differ(at[1], at[2]):
        return None
    return at[0].mean - at[1].mean, at[1].mean - at[2].mean, at[0].mean, at[2].mean


def learning_rate_too_high(facts: Facts) -> Case | None:
    """Before a run by its recipe alone; afterwards a high rate that did no harm is none."""
    rate, band = facts.learning_rate, usual_rates(facts)
    if not facts.updates:
        if rate is None or band is None or rate <= band[1]:
            return None
        return Case(
            "warning",
            f"train.learning_rate is {shown(rate)}; usual for {_what(facts)} is {shown(band[0])} to {shown(band[1])}.",
            "Steps as long as this mostly undo each other, or destroy what the base knows.",
            "Take a rate within what is usual.",
            f"train.learning_rate={middle_rate(facts)}",
        )
    bump = _bump(facts)
    if bump is None:
        return None
    lower = lower_rate(facts, 3)
    return Case(
        "warning",
        bump,
        "At its peak the learning rate was too high: the first updates threw away what the base knew, and the rest of "
        "the run was spent on finding it again.",
        "Take a lower learning rate, a third at most.",
        f"train.learning_rate={lower}" if lower else None,
    )


def _bump(facts: Facts) -> str | None:
    losses = facts.losses
    if len(losses) < BUMP_UPDATES or losses[0][0] > 1:
        return None
    values = [loss for _, loss in losses]
    size = max(4, len(values) // 12)
    start, error = values[0], noise(values[len(values) // 2 :])
    places = range(1, len(values) // 2, max(1, size // 4))
    highest = max(places, key=lambda i: float(np.mean(values[i : i + size])))
    top = level(values[highest : highest + size])
    if top.mean < start * (1 + BUMP_SHARE) or top.mean - start < 4 * math.hypot(error, top.error):
        return None
    return (
        f"The training loss began at {start:.3f} and rose to {top.mean:.3f} over updates {losses[highest][0]} to "
        f"{losses[min(len(losses), highest + size) - 1][0]}; at the end it is {np.mean(values[-size:]):.3f}."
    )


def learning_rate_too_low(facts: Facts) -> Case | None:
    rate, band = facts.learning_rate, usual_rates(facts)
    if rate is None or band is None or rate >= band[0]:
        return None
    evidence = (
        f"train.learning_rate is {shown(rate)}; usual for {_what(facts)} is {shown(band[0])} to {shown(band[1])}."
    )
    if facts.updates:
        falls = _falls(facts)
        if falls is None or falls[3] < LEARNT:
            return None
        flat = falls[2] - falls[3] < UNDER_FIT_FALL * falls[2]
        if not flat and falls[1] < UNDER_FIT_SHARE * falls[0]:
            return None
        if facts.progress < 0.5:
            return None
        evidence += f" The loss went from {falls[2]:.3f} to {falls[3]:.3f} in {len(facts.updates)} updates."
    return Case(
        "warning",
        evidence,
        "The steps are too short to get anywhere within this run.",
        "Take a rate within what is usual.",
        f"train.learning_rate={middle_rate(facts)}",
    )


def _what(facts: Facts) -> str:
    method = "full fine-tuning" if facts.is_full else "LoRA"
    if facts.parameters is None:
        return method
    figure, unit = (facts.parameters / 1e9, "B") if facts.parameters >= 1e9 else (facts.parameters / 1e6, "M")
    return f"{method} on a base of {figure:.3g}{unit} parameters"


def batch_too_small(facts: Facts) -> Case | None:
    batch_size = facts.setting("train.batch_size")
    losses = [loss for _, loss in facts.losses]
    held = [max(loss, LEARNT) for _, loss in facts.held_out_losses]
    if batch_size is None or batch_size > SMALL_BATCH or len(losses) < SMALL_BATCH_UPDATES or not held:
        return None
    second = losses[len(losses) // 2 :]
    share, turned = noise(second) / float(np.mean(second)), swings(held, SMALL_SWING)
    if share < NOISY_SHARE or turned < SMALL_SWINGS:
        return None
    return Case(
        "note",
        f"With {batch_size} examples an update the training loss varies by {share:.0%} from one update to the next, "
        f"and the held-out loss turned round {turned} times by more than {SMALL_SWING:.0%}: "
        f"{', '.join(f'{loss:.2f}' for _, loss in facts.held_out_losses)}.",
        "Each update follows its few examples, and the next one undoes it.",
        "Take four times as many examples an update; memory stays as it is, for they go through in passes.",
        f"train.batch_size={4 * batch_size}",
    )
