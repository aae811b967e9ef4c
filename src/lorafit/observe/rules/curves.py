"""Rules that read the curves of loss and gradient as they are: flat, swinging, rising, exploding."""

from __future__ import annotations

import itertools
import math

import numpy as np

from lorafit.observe.rules.facts import Facts
from lorafit.observe.rules.finding import Case
from lorafit.observe.rules.rates import lower_rate, raised_rate
from lorafit.observe.rules.series import LEARNT, Level, differ, level, noise, stretches, swings

# A loss is flat when it moved by less than this share: in answers nobody sees 2 %.
FLAT_SHARE = 0.02
# Fewer updates say nothing: an adapter starts at zero and warm-up comes first.
FLAT_UPDATES = 32
# Of the planned updates, before a run is called flat: warm-up takes 3 to 10 % in common recipes.
FLAT_PROGRESS = 0.25
# A swing is a move of the smoothed loss by more than this share and back; a sound run falls or rests.
SWING_SHARE = 0.15
# One swing is an accident (a hard stretch of data); three are a habit.
SWINGS = 3
SWING_WINDOWS = 12
SWING_WINDOW_UPDATES = 6
# Above the start by this share, or above its lowest level by twice it, a loss has left the way; the noise of a level
# is asked for on top.
RISE_SHARE = 0.15
RISE_UPDATES = 16
# Of the last ten updates: one may be a bad batch or float16's loss scale.
NOT_FINITE = 3
# Gradients of one run differ by a factor of some 5 from update to update; 20 times the usual is another thing.
EXPLODES = 20.0
# Ten times the norm that gradients are usually clipped to (1.0): a well-fitted run falls to norms so small that 20
# times the usual is nothing.
EXPLODED_NORM = 10.0
EXPLOSIONS = 3
USUAL_UPDATES = 32


def loss_flat(facts: Facts) -> Case | None:
    losses = facts.losses
    if len(losses) < FLAT_UPDATES or facts.progress < FLAT_PROGRESS:
        return None
    held = facts.held_out_losses
    values = [loss for _, loss in losses]
    # Without held-out rows the very beginning counts: large models learn what they learn within some updates.
    size = len(values) // 4
    early = size if len(held) > 1 else max(4, len(values) // 16)
    first, last = level(values[:early]), level(values[-size:])
    # What the noise leaves open must be small too: otherwise a fall may hide in it.
    hidden = 2 * math.hypot(first.error, last.error)
    if abs(first.mean - last.mean) > FLAT_SHARE * first.mean + hidden or hidden > 3 * FLAT_SHARE * first.mean:
        return None
    evidence = (
        f"The training loss was {first.mean:.3f} over updates {losses[0][0]} to {losses[early - 1][0]} and "
        f"{last.mean:.3f} over the last {size}, to update {losses[-1][0]}."
    )
    if len(held) > 1:
        if abs(held[-1][1] - held[0][1]) > FLAT_SHARE * held[0][1]:
            return None
        evidence += f" The held-out loss went from {held[0][1]:.3f} to {held[-1][1]:.3f}."
    rate = raised_rate(facts)
    return Case(
        "warning",
        evidence,
        "Nothing is learnt: the steps are too small to matter, or the base knows this data already.",
        "Raise the learning rate. If the loss stays flat then, look at what is trained on: `lorafit data`.",
        f"train.learning_rate={rate}" if rate else None,
    )


def loss_oscillating(facts: Facts) -> Case | None:
    losses = [loss for _, loss in facts.losses]
    count = min(SWING_WINDOWS, len(losses) // SWING_WINDOW_UPDATES)
    if count < SWINGS + 2:
        return None
    levels = [level(part) for part in stretches(losses, count)]
    turned = swings([max(one.mean, LEARNT) for one in levels], SWING_SHARE)
    real = sum(differ(one, other) for one, other in itertools.pairwise(levels))
    held = swings([max(loss, LEARNT) for _, loss in facts.held_out_losses] or [1.0], SWING_SHARE)
    # The held-out rows are the same each time: what swings there is the model and not the choice of rows.
    if held < SWINGS and (turned < SWINGS or real < SWINGS):
        return None
    if held >= SWINGS:
        rows = [f"{loss:.2f} (update {update})" for update, loss in facts.held_out_losses]
        evidence = f"The held-out loss turned round {held} times by more than {SWING_SHARE:.0%}: {', '.join(rows)}."
    else:
        means = ", ".join(f"{one.mean:.2f}" for one in levels)
        evidence = (
            f"The training loss, averaged over {len(losses) // count} updates each, turned round {turned} times by "
            f"more than {SWING_SHARE:.0%}: {means}."
        )
    rate = lower_rate(facts, 3)
    return Case(
        "warning",
        evidence,
        "The steps are too long: each update overshoots what the one before had reached.",
        "Take a lower learning rate, a third at most.",
        f"train.learning_rate={rate}" if rate else None,
    )


def loss_diverging(facts: Facts) -> Case | None:
    last = facts.updates[-10:]
    broken = [line["update"] for line in last if not _is_finite(line.get("loss", 0.0))]
    if broken and (len(broken) >= NOT_FINITE or (facts.ended and broken[-1] == last[-1]["update"])):
        evidence = f"The loss was not a finite number at update {', '.join(map(str, broken))}."
    else:
        found = _risen(facts)
        if found is None:
            return None
        evidence = found
    rate = lower_rate(facts, 10)
    return Case(
        "fault",
        evidence,
        "The steps are so long that training leaves the valley it was in and does not find back.",
        "Take a lower learning rate, a tenth at most, and start again: what was learnt after the rise is of no use.",
        f"train.learning_rate={rate}" if rate else None,
    )


def _risen(facts: Facts) -> str | None:
    losses = facts.losses
    if len(losses) < RISE_UPDATES:
        return None
    values = [loss for _, loss in losses]
    size = max(4, len(values) // 8)
    end = level(values[-size:])
    # The first loss is the base's own: a rate that is far too high has done its harm one update later.
    start = Level(values[0], noise(values[len(values) // 2 :]))
    if losses[0][0] == 1 and end.mean > start.mean * (1 + RISE_SHARE) and differ(end, start):
        return (
            f"The training loss began at {values[0]:.3f} (update {losses[0][0]}) and is {end.mean:.3f} over the last "
            f"{size} updates, to update {losses[-1][0]}."
        )
    levels = [level(values[i : i + size]) for i in range(0, len(values) - size + 1, size)]
    lowest = min(range(len(levels)), key=lambda i: levels[i].mean)
    later = levels[lowest + 1 :]
    if swings([one.mean for one in levels], SWING_SHARE) >= SWINGS:
        return None
    if len(later) < 2 or end.mean < levels[lowest].mean * (1 + 2 * RISE_SHARE):
        return None
    # Every level since is higher than the lowest one: a single hard stretch does not do that.
    if not all(differ(one, levels[lowest]) and one.mean > levels[lowest].mean for one in [*later[-2:], end]):
        return None
    update = losses[lowest * size][0]
    return (
        f"The training loss fell to {levels[lowest].mean:.3f} (from update {update}, over {size} updates) and has "
        f"risen to {end.mean:.3f} over the last {size}, to update {losses[-1][0]}."
    )


def exploding_gradients(facts: Facts) -> Case | None:
    norms = facts.column("gradient_norm")
    exploded = []
    for place in range(8, len(norms)):
        usual = float(np.median([norm for _, norm in norms[max(0, place - USUAL_UPDATES) : place]]))
        update, norm = norms[place]
        if norm > EXPLODES * usual and norm > EXPLODED_NORM:
            exploded.append((update, norm, usual))
    if len(exploded) < EXPLOSIONS:
        return None
    update, norm, usual = max(exploded, key=lambda one: one[1])
    clip = facts.setting("train.max_gradient_norm")
    evidence = (
        f"At {len(exploded)} updates the gradient was more than {EXPLODES:.0f} times as long as in the updates before; "
        f"the longest at update {update}: {norm:.3g}, where {usual:.3g} was usual."
    )
    if clip == 0:
        return Case(
            "warning",
            evidence,
            "Single batches throw the weights far off, and nothing bounds them: clipping is off.",
            "Clip the gradient.",
            "train.max_gradient_norm=1.0",
        )
    rate = lower_rate(facts, 3)
    return Case(
        "warning",
        evidence,
        "The weights have come to where the loss is steep, mostly through too high a learning rate; clipping bounds "
        "the step, not its direction.",
        "Take a lower learning rate, a third at most. If the same rows come with each peak, look at them with "
        "`lorafit data`.",
        f"train.learning_rate={rate}" if rate else None,
    )


def _is_finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)
