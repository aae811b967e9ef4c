"""What can be said of a noisy series: levels with their errors, the size of its noise, its swings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# Below this loss in nats a token (a probability of 0.9) there is little left to learn, and its shares say little.
LEARNT = 0.1


@dataclass(frozen=True, slots=True)
class Level:
    """The mean of a stretch and its standard error."""

    mean: float
    error: float


def level(values: Sequence[float]) -> Level:
    """The error is from the noise, not from the spread: a stretch that falls steadily is no less certain."""
    return Level(float(np.mean(values)), noise(values) / math.sqrt(len(values)))


def noise(values: Sequence[float]) -> float:
    """The standard deviation about a slow trend: of the differences of neighbours, by sqrt(2) (von Neumann, 1941)."""
    if len(values) < 3:
        return 0.0
    return float(np.std(np.diff(values)) / math.sqrt(2))


def stretches(values: Sequence[float], count: int) -> list[Sequence[float]]:
    """The series cut into `count` stretches of nearly equal length."""
    edges = [round(i * len(values) / count) for i in range(count + 1)]
    return [values[edges[i] : edges[i + 1]] for i in range(count)]


def differ(one: Level, other: Level, errors: float = 4.0) -> bool:
    """Whether two levels differ by more than so many standard errors: 4 is one chance in 16,000 for normal noise."""
    return abs(one.mean - other.mean) > errors * math.hypot(one.error, other.error)


def swings(values: Sequence[float], share: float) -> int:
    """How often the series turned round, counting only moves of more than `share` of where they began.

    A series that only falls, however unevenly, has none.
    """
    turns, direction, extreme = 0, 0, values[0]
    for value in values[1:]:
        if direction <= 0 and value > extreme * (1 + share):
            turns += direction < 0
            direction, extreme = 1, value
        elif direction >= 0 and value < extreme * (1 - share):
            turns += direction > 0
            direction, extreme = -1, value
        elif (direction > 0 and value > extreme) or (direction < 0 and value < extreme):
            extreme = value
    return turns
