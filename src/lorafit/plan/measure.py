"""The real peak of a step, to hold the plan against: CUDA's own counter, or every event of torch's CPU allocator."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch._C._profiler import _EventType
from torch.profiler import ProfilerActivity, profile


@dataclass(slots=True)
class Measured:
    """Bytes: standing when the block began, and the most that stood in it."""

    before: int = 0
    peak: int = 0


@contextlib.contextmanager
def measured_on_cpu(standing: Iterable[Tensor | None]) -> Iterator[Measured]:
    """The most bytes that torch's CPU allocator had given out within the block, the tensors `standing` included.

    What libraries take for themselves beside it (oneDNN, MKL, bitsandbytes) is not in it, nor are mapped files.
    """
    storages = {t.untyped_storage()._cdata: int(t.untyped_storage().nbytes()) for t in standing if t is not None}
    result = Measured(before=sum(storages.values()))
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # else it tells the terminal that it begins and ends
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        yield result
    now = most = 0
    for _, size in sorted(_allocations(profiler.profiler.kineto_results.experimental_event_tree())):
        now += size
        most = max(most, now)
    result.peak = result.before + most


def _allocations(events: Iterable[Any]) -> Iterator[tuple[int, int]]:
    """(when, bytes) of every allocation, and with a minus of every release."""
    for event in events:
        if event.tag == _EventType.Allocation and event.extra_fields.device.type == "cpu":
            yield event.start_time_ns, event.extra_fields.alloc_size
        yield from _allocations(event.children)
