"""The order of the samples: shuffled anew each epoch by the seed, cut into updates of `batch_size` examples."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Sequence

import numpy as np

from lorafit.data.pack import LEAST_SHARED, make_batch
from lorafit.data.stream import Stream
from lorafit.records import Batch, Sample


def count_updates(samples: int, batch_size: int, epochs: float, max_updates: int | None = None) -> int:
    """How many updates a run has: the last batch of an epoch may be smaller, a last epoch may be a part."""
    per_epoch = math.ceil(samples / batch_size)
    updates = max(1, round(per_epoch * epochs))
    return min(updates, max_updates) if max_updates else updates


def epoch_order(samples: int, seed: int, epoch: int) -> list[int]:
    """The order of the samples in an epoch: a function of seed and epoch alone."""
    order: list[int] = np.random.default_rng((seed, epoch)).permutation(samples).tolist()
    return order


def iterate_samples(
    samples: Sequence[Sample] | Stream, batch_size: int, updates: int, seed: int, first: int = 0
) -> Generator[tuple[float, list[Sample]]]:
    """(epochs done after this update, its samples) for each of `updates` updates, from update `first` on.

    Of a stream, whose length is not known, only whole epochs are counted.
    """
    if isinstance(samples, Stream):
        yield from samples.updates(batch_size, updates, seed, first)
        return
    per_epoch = math.ceil(len(samples) / batch_size)
    for update in range(first, updates):
        epoch, place = divmod(update, per_epoch)
        if place == 0 or update == first:
            order = epoch_order(len(samples), seed, epoch)
        yield (update + 1) / per_epoch, [samples[i] for i in order[place * batch_size : (place + 1) * batch_size]]


def iterate_batches(
    samples: Sequence[Sample],
    batch_size: int,
    updates: int,
    seed: int,
    tokens_per_pass: int,
    packed: bool = True,
    least_shared: int | None = LEAST_SHARED,
) -> Iterator[tuple[float, Batch]]:
    """The same with the samples of each update made into a batch."""
    for epoch, chosen in iterate_samples(samples, batch_size, updates, seed):
        yield epoch, make_batch(chosen, tokens_per_pass, packed, least_shared)
