"""Memory, speed and waiting: what grows steadily against what grows once."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from tests.observe.rules.histories import UPDATES, history, recipe, symptoms, with_column

from lorafit.observe.rules.table import examine

GIB = 2**30
# Updates, for what takes its time to show.
LONG = 400


def samples(used: float, count: int = 12, **gpu: Any) -> list[dict[str, Any]]:
    card = {"memory_used_bytes": int(used * GIB), "memory_total_bytes": 24 * GIB, **gpu}
    return [{"time": 2.0 * i, "gpus": [card]} for i in range(count)]


def test_gpu_memory_nearly_full() -> None:
    (finding,) = examine(history(hardware=samples(23.8, index=1)))
    assert finding.symptom == "gpu-memory-nearly-full" and finding.setting == "train.tokens_per_pass=1024"
    assert "GPU 1" in finding.evidence and "23.8 of 24.0 GiB" in finding.evidence
    assert symptoms(history(hardware=samples(23.0))) == []
    assert symptoms(history(hardware=samples(23.8, count=9) + samples(20, count=3))) == [], "a peak that is over"
    unknown = [{"time": 0.0, "gpus": [{"memory_used_bytes": None, "memory_total_bytes": None}]}] * 12
    assert symptoms(history(hardware=unknown)) == []


def test_memory_that_creeps() -> None:
    leak = [int(2 * GIB + 8e6 * i) for i in range(LONG)]
    (finding,) = examine(with_column(history(updates=LONG), "memory_bytes", leak))
    assert finding.symptom == "memory-creeping" and "GiB between updates 134 and 400" in finding.evidence


def test_memory_that_fills_a_cache_or_finds_a_longer_batch() -> None:
    rng = np.random.default_rng(0)
    cache = [int(GIB * (1 + 2 * (1 - math.exp(-i / 120)) + 0.005 * rng.standard_normal())) for i in range(LONG)]
    assert symptoms(with_column(history(updates=LONG), "memory_bytes", cache)) == []
    step = [GIB if i < 250 else 2 * GIB for i in range(LONG)]
    assert symptoms(with_column(history(updates=LONG), "memory_bytes", step)) == []
    leak = [int(2 * GIB + 8e6 * i) for i in range(UPDATES)]
    assert symptoms(with_column(history(), "memory_bytes", leak)) == [], "too early to tell from a cache"


def test_throughput_that_falls() -> None:
    rng = np.random.default_rng(0)
    slowing = [2000 * (1 - 0.5 * i / UPDATES) * (1 + 0.1 * rng.standard_normal()) for i in range(UPDATES)]
    run = with_column(history(hardware=samples(10, temperature_c=88)), "tokens_per_second", slowing)
    (finding,) = examine(run)
    assert finding.symptom == "throughput-falling" and "88 °C" in finding.cause and finding.setting is None
    pause = [2000 if not 170 < i < 185 else 500 for i in range(UPDATES)]
    assert symptoms(with_column(history(), "tokens_per_second", pause)) == [], "a pause"
    uneven = [2000 * math.exp(0.5 * rng.standard_normal()) for _ in range(UPDATES)]
    assert symptoms(with_column(history(), "tokens_per_second", uneven)) == []
    compiling = [20000.0] * 6 + [2000.0] * (UPDATES - 6)
    assert symptoms(with_column(history(), "tokens_per_second", compiling)) == [], "the first updates do not count"


def test_waiting_for_data() -> None:
    run = with_column(history(hardware=samples(10, utilization=0.4)), "data_seconds", [1.0] * UPDATES)
    (finding,) = examine(run)
    assert finding.symptom == "waiting-for-data" and finding.setting == "train.share_prefixes=false"
    assert "busy 40%" in finding.evidence
    busy = with_column(history(hardware=samples(10, utilization=0.95)), "data_seconds", [1.0] * UPDATES)
    assert symptoms(busy) == [], "batches are put together while the GPU computes"
    assert symptoms(with_column(history(), "data_seconds", [None] * UPDATES)) == []
    without = with_column(history(recipe=recipe(train__share_prefixes=False)), "data_seconds", [1.0] * UPDATES)
    assert [(one.symptom, one.setting) for one in examine(without)] == [("waiting-for-data", None)]
