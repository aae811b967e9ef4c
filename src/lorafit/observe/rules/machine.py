"""Rules about the machine under the run: its memory, its speed, its waiting."""

from __future__ import annotations

import itertools

import numpy as np

from lorafit.observe.rules.facts import Facts
from lorafit.observe.rules.finding import Case
from lorafit.observe.rules.series import stretches

# PyTorch's allocator keeps what it freed, so that a card in use looks full; beyond 97 % there is no room for one longer
# batch. In most of the newest samples, for a peak alone is what a plan is made for.
FULL_SHARE, FULL_SAMPLES = 0.97, 10
# The first updates load kernels and fill caches.
WARM_SHARE, WARM_UPDATES = 0.1, 8
# Of the throughput at the beginning; rows differ in length, which medians over a quarter of the run even out.
SLOWED_SHARE, SLOWED_UPDATES = 0.7, 48
HOT_C = 83
# A leak grows as fast at the end as in the beginning. Caches fill ever more slowly (on the CPU oneDNN's and the heap's,
# over some 200 updates), and a longer batch makes one step up and stays.
CREEP_UPDATES, CREEP_STRETCHES = 192, 6
CREEP_SHARE, CREEP_BYTES, CREEP_PACE = 0.1, 512 * 2**20, 0.75
# Of the time of the newest updates.
WAITING_SHARE, WAITING_UPDATES = 0.2, 32
BUSY_SHARE = 0.8


def gpu_memory_nearly_full(facts: Facts) -> Case | None:
    newest = [sample["gpus"] for sample in facts.hardware[-FULL_SAMPLES:] if sample.get("gpus")]
    if len(newest) < FULL_SAMPLES:
        return None
    for number in range(len(newest[-1])):
        card = [
            (gpus[number]["memory_used_bytes"], gpus[number]["memory_total_bytes"])
            for gpus in newest
            if number < len(gpus) and gpus[number].get("memory_used_bytes") and gpus[number].get("memory_total_bytes")
        ]
        if len(card) == FULL_SAMPLES and all(used > FULL_SHARE * total for used, total in card):
            used, total = card[-1]
            tokens = facts.setting("train.tokens_per_pass")
            return Case(
                "warning",
                f"GPU {newest[-1][number].get('index', number)} had {used / 2**30:.1f} of {total / 2**30:.1f} GiB "
                f"in use in each of the last {FULL_SAMPLES} samples.",
                "One longer batch, or another program on the card, ends the run for lack of memory.",
                "Halve the tokens of a pass: the result stays the same.",
                f"train.tokens_per_pass={max(1, tokens // 2)}" if isinstance(tokens, int) else None,
            )
    return None


def throughput_falling(facts: Facts) -> Case | None:
    speeds = facts.column("tokens_per_second")
    speeds = speeds[max(WARM_UPDATES, round(WARM_SHARE * len(speeds))) :]
    if len(speeds) < SLOWED_UPDATES:
        return None
    first, *_, before, last = (float(np.median([speed for _, speed in part])) for part in stretches_of(speeds, 6))
    if max(before, last) > SLOWED_SHARE * first:
        return None
    hot = [gpu.get("temperature_c") or 0 for sample in facts.hardware[-5:] for gpu in sample.get("gpus") or ()]
    cause = "Something else takes the machine's time or memory: another process, swapping, or a slow disk."
    if hot and max(hot) >= HOT_C:
        cause = f"The GPU is at {max(hot):.0f} °C, where it slows itself down."
    return Case(
        "note",
        f"{first:,.0f} tokens a second from update {speeds[0][0]} on, {last:,.0f} in the last {len(speeds) // 6} "
        f"updates to update {speeds[-1][0]}.",
        cause,
        "Look at what else runs (`nvidia-smi`, the system's monitor) and at the cooling. The result is not touched.",
    )


def memory_creeping(facts: Facts) -> Case | None:
    used = facts.column("memory_bytes")
    used = used[len(used) // 3 :]
    if len(used) < CREEP_UPDATES:
        return None
    levels = [float(np.median([count for _, count in part])) for part in stretches_of(used, CREEP_STRETCHES)]
    grown = levels[-1] - levels[0]
    if grown < max(CREEP_SHARE * levels[0], CREEP_BYTES):
        return None
    steps = [after - before for before, after in itertools.pairwise(levels)]
    if min(steps) < grown / len(steps) / 2 or steps[-1] < CREEP_PACE * steps[0]:
        return None
    return Case(
        "warning",
        f"Memory after an update grew from {levels[0] / 2**30:.2f} to {levels[-1] / 2**30:.2f} GiB between updates "
        f"{used[0][0]} and {used[-1][0]}, in every stretch of the way.",
        "Something is kept that should be let go. This is not a matter of the settings.",
        "Save often, so that `lorafit resume` starts with fresh memory, and report it (`lorafit doctor --json FILE`).",
        "train.checkpoint_every=50",
    )


def waiting_for_data(facts: Facts) -> Case | None:
    rows = [
        (line["data_seconds"], line["tokens"] / line["tokens_per_second"])
        for line in facts.updates[-WAITING_UPDATES:]
        if line.get("data_seconds") is not None and line.get("tokens") and line.get("tokens_per_second")
    ]
    if len(rows) < WAITING_UPDATES:
        return None
    waited, computed = (sum(column) for column in zip(*rows, strict=True))
    share = waited / (waited + computed)
    busy = [gpu.get("utilization") for sample in facts.hardware[-10:] for gpu in sample.get("gpus") or ()]
    known = [one for one in busy if one is not None]
    if share < WAITING_SHARE or (known and float(np.mean(known)) > BUSY_SHARE):
        return None
    shares_prefixes = facts.setting("train.share_prefixes")
    evidence = f"{share:.0%} of the time of the last {len(rows)} updates was spent waiting for the batch."
    if known:
        evidence += f" The GPU was busy {float(np.mean(known)):.0%} of the time."
    return Case(
        "note",
        evidence,
        "Putting a batch together takes long beside computing it: a busy processor, or very many short rows.",
        "Leave the processor to the run."
        + (" Looking for common beginnings can be left out." if shares_prefixes else ""),
        "train.share_prefixes=false" if shares_prefixes else None,
    )


def stretches_of(points: list[tuple[int, float]], count: int) -> list[list[tuple[int, float]]]:
    return [[points[int(i)] for i in part] for part in stretches(range(len(points)), count)]
