"""Checkpoints by themselves: every generator and optimizer comes back, and what is there is whole."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import bitsandbytes
import numpy as np
import pytest
import torch
from torch import nn

from lorafit.errors import TrainingError
from lorafit.train import checkpoint
from lorafit.train.checkpoint import State, capture, newest_whole, read_state, restore, write_checkpoint
from lorafit.train.optim import MasterOptimizer, Name

NO_SCALER = torch.amp.GradScaler("cpu", enabled=False)


def build(parameters: list[nn.Parameter], name: Name, weight_decay: float) -> torch.optim.Optimizer:
    """bitsandbytes' on the CPU, where it works too; a recipe gets it on CUDA only."""
    kind = bitsandbytes.optim.AdamW8bit if name == "adamw-8bit" else bitsandbytes.optim.PagedAdamW
    made: torch.optim.Optimizer = kind(parameters, lr=0.0, weight_decay=weight_decay)
    return made


def made(name: Name, dtype: torch.dtype) -> MasterOptimizer:
    torch.manual_seed(1)
    # 8-bit state is for 4,096 numbers and more.
    parameters = [nn.Parameter(torch.randn(shape, dtype=dtype)) for shape in ((64, 80), (7, 3), (5,))]
    return MasterOptimizer(parameters, name, 0.1, build if name in ("adamw-8bit", "paged-adamw") else None)


def steps(optimizer: MasterOptimizer, numbers: range) -> None:
    for number in numbers:
        optimizer.set_learning_rate(0.01 * (number + 1))
        for master in optimizer.masters:
            generator = torch.Generator().manual_seed(number)
            master.grad = torch.randn(master.shape, generator=generator)
        optimizer.inner.step()
        optimizer.publish()


def saved(folder: Path, optimizer: MasterOptimizer, scaler: torch.amp.GradScaler = NO_SCALER) -> State:
    write_checkpoint(folder, 3, capture(optimizer, scaler), lambda _: None, keep_last=1)
    newest, skipped = newest_whole(folder)
    assert newest is not None and not skipped
    return read_state(newest)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", ["adamw", "adam", "sgd", "adamw-8bit", "paged-adamw"])
def test_an_optimizer_goes_on_bit_for_bit(tmp_path: Path, name: Name, dtype: torch.dtype) -> None:
    straight, stopped, resumed = (made(name, dtype) for _ in range(3))
    steps(straight, range(6))
    steps(stopped, range(3))
    restore(saved(tmp_path, stopped), resumed, NO_SCALER)
    steps(resumed, range(3, 6))
    for one, other in zip(straight.masters, resumed.masters, strict=True):
        assert torch.equal(one, other)
    for one, other in zip(straight.parameters, resumed.parameters, strict=True):
        assert torch.equal(one, other)
    for one, other in zip(straight.masters, resumed.masters, strict=True):
        ours, theirs = straight.inner.state[one], resumed.inner.state[other]
        assert ours.keys() == theirs.keys()
        for part in ours:
            assert torch.equal(torch.as_tensor(ours[part]), torch.as_tensor(theirs[part])), part


def test_every_generator_and_the_loss_scale_come_back(tmp_path: Path) -> None:
    optimizer = made("sgd", torch.float32)
    scaler = torch.amp.GradScaler("cpu", init_scale=512.0)
    state = saved(tmp_path, optimizer, scaler)

    def drawn() -> list[float]:
        return [torch.rand(1).item(), float(np.random.rand()), float(np.random.randn()), random.random()]

    first = drawn()
    assert drawn() != first
    other = torch.amp.GradScaler("cpu")
    restore(state, optimizer, other)
    assert drawn() == first
    assert other.get_scale() == 512.0


def test_large_states_are_cut_into_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "SHARD_BYTES", 4096)
    optimizer = made("adamw", torch.float32)
    steps(optimizer, range(1))
    state = saved(tmp_path, optimizer)
    assert len(list((tmp_path / "000003").glob("training-*.safetensors"))) > 2
    again = made("adamw", torch.float32)
    restore(state, again, NO_SCALER)
    assert all(torch.equal(a, b) for a, b in zip(optimizer.masters, again.masters, strict=True))


def test_other_parameters_are_refused(tmp_path: Path) -> None:
    optimizer = made("sgd", torch.float32)
    saved(tmp_path, optimizer)
    for shapes in ([(64, 80), (7, 3)], [(64, 80), (7, 3), (5,), (2,)], [(64, 80), (7, 3), (6,)]):
        other = MasterOptimizer([nn.Parameter(torch.zeros(shape)) for shape in shapes], "sgd", 0.0)
        with pytest.raises(TrainingError, match="trained"):
            restore(read_state(tmp_path / "000003"), other, NO_SCALER)


def test_only_the_newest_are_kept_and_a_failed_one_costs_none(tmp_path: Path) -> None:
    optimizer = made("sgd", torch.float32)

    def fail(_: Path) -> None:
        raise RuntimeError

    for update in (1, 2, 3):
        write_checkpoint(tmp_path, update, capture(optimizer, NO_SCALER), lambda _: None, keep_last=2)
    with pytest.raises(RuntimeError):
        write_checkpoint(tmp_path, 4, capture(optimizer, NO_SCALER), fail, keep_last=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["000002", "000003"]


@pytest.fixture(autouse=True)
def generators_as_before() -> Iterator[None]:
    before = torch.get_rng_state(), np.random.get_state(), random.getstate()
    yield
    torch.set_rng_state(before[0])
    np.random.set_state(before[1])
    random.setstate(before[2])
