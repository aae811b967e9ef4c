"""Samples to rows: several documents one after another in a row, within a budget of tokens."""

from __future__ import annotations

import bisect
from collections.abc import Sequence

import numpy as np
import torch

from lorafit.records import Batch, Row, Sample


def pack(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Which sample goes into which row: best-fit decreasing, so that rows are few and full.

    A sample longer than the budget has a row to itself. The result depends on lengths and budget only.
    """
    rows: list[list[int]] = []
    room: list[tuple[int, int]] = []  # (free tokens, row), in order
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        place = bisect.bisect_left(room, (lengths[index], -1))
        if place < len(room):
            free, row = room.pop(place)
            rows[row].append(index)
        else:
            free, row = budget, len(rows)
            rows.append([index])
        bisect.insort(room, (free - lengths[index], row))
    return rows


def make_row(samples: Sequence[Sample]) -> Row:
    """One row from samples in order. Shapes: see Row."""
    token_ids = np.concatenate([s.token_ids for s in samples])
    positions = np.concatenate([np.arange(len(s), dtype=np.int64) for s in samples])
    # trained[0] of a document is never set, so a target always has its predecessor in the same document.
    targets = np.flatnonzero(np.concatenate([s.trained for s in samples]))
    return Row(
        token_ids=torch.from_numpy(token_ids),
        position_ids=torch.from_numpy(positions),
        predict=torch.from_numpy(targets - 1),
        targets=torch.from_numpy(token_ids[targets]),
        lengths=tuple(len(s) for s in samples),
        examples=tuple(s.example for s in samples),
    )


def make_batch(samples: Sequence[Sample], tokens_per_pass: int, packed: bool = True) -> Batch:
    """The rows of one update; `packed=False` gives each sample a row of its own."""
    groups = pack([len(s) for s in samples], tokens_per_pass) if packed else [[i] for i in range(len(samples))]
    return Batch(
        rows=tuple(make_row([samples[i] for i in group]) for group in groups),
        supervised_tokens=sum(s.supervised_tokens for s in samples),
        tokens=sum(len(s) for s in samples),
    )
