"""Halving the tokens a pass: what is tried again, what is said, and when it is given up."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lorafit.errors import DoesNotFit
from lorafit.memory import is_out_of_memory
from lorafit.records import Event, Sample, Source
from lorafit.train.retreat import Retreat


def samples(*lengths: int) -> list[Sample]:
    return [
        Sample(np.zeros(length, np.int64), np.ones(length, bool), Source("rows.json", row))
        for row, length in enumerate(lengths, 1)
    ]


class Memory:
    """Work that has room for so many tokens a pass."""

    def __init__(self, room: int, error: type[Exception] = torch.OutOfMemoryError) -> None:
        self.room, self.error = room, error
        self.tried: list[int] = []
        self.forgotten = 0

    def work(self, tokens_per_pass: int) -> str:
        self.tried.append(tokens_per_pass)
        if tokens_per_pass > self.room:
            raise self.error("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return "done"

    def forget(self) -> None:
        self.forgotten += 1


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, MemoryError, RuntimeError])
def test_the_same_is_done_again_with_half_and_said_once(error: type[Exception]) -> None:
    events: list[Event] = []
    memory = Memory(300, error)
    retreat = Retreat(1024, torch.device("cpu"), events.append)
    assert retreat.carry(memory.work, samples(*[220] * 5), "update 7", memory.forget) == "done"
    # Half of what there is to do, which is less than a pass of that size: 1,100 tokens fit no better than 1,024.
    assert memory.tried == [1024, 512, 256] and memory.forgotten == 2
    assert retreat.tokens_per_pass == 256
    (said,) = events
    assert said.kind == "warning"
    assert "update 7: memory ran out with 1,024 tokens a pass" in said.values["message"]
    assert "2.00 GiB" in said.values["message"] and "with 256" in said.values["message"]
    assert retreat.carry(memory.work, samples(*[220] * 5), "update 8", memory.forget) == "done"
    assert memory.tried[3:] == [256] and len(events) == 1


def test_a_short_update_is_halved_from_its_own_length() -> None:
    memory = Memory(40)
    retreat = Retreat(4096, torch.device("cpu"), lambda event: None)
    retreat.carry(memory.work, samples(20, 20, 20), "update 1", memory.forget)
    assert memory.tried == [4096, 30]


def test_a_single_sample_too_long_is_named() -> None:
    memory = Memory(100)
    retreat = Retreat(512, torch.device("cpu"), lambda event: None)
    with pytest.raises(DoesNotFit, match=r"rows\.json, row 2: with 300 tokens") as refused:
        retreat.carry(memory.work, samples(20, 300, 40), "update 1", memory.forget)
    assert memory.tried == [512, 180]
    assert "data.max_length=150" in str(refused.value) and refused.value.exit_code == 3


def test_other_errors_go_on_their_way() -> None:
    def work(tokens_per_pass: int) -> None:
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes"):
        Retreat(64, torch.device("cpu"), lambda event: None).carry(work, samples(3), "update 1", lambda: None)


@pytest.mark.parametrize(
    ("error", "ran_out"),
    [
        (RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"), True),
        (RuntimeError("std::bad_alloc"), True),
        (MemoryError(), True),
        (DoesNotFit("the plan says so"), False),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (KeyError("out of memory"), False),
    ],
)
def test_running_out_of_memory_is_recognised(error: Exception, ran_out: bool) -> None:
    assert is_out_of_memory(error) is ran_out
