"""What is alive when, in cases small enough to be summed by hand; and repetition that is not run again."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.plan.test_simulate import BF16, FULL, SHORT, make_job, stack
from torch import Tensor
from torch.nn import functional

from lorafit.plan import simulate as simulate_module
from lorafit.plan import tracker as tracker_module
from lorafit.plan.simulate import simulate
from lorafit.plan.tracker import Tracker


def meta(*shape: int, **more: Any) -> Tensor:
    return torch.empty(shape, device="meta", **more)


def test_a_linear_layer_by_hand() -> None:
    """x [4, 8] and W [16, 8] stand (128 + 512 bytes), y = x W^T [4, 16] (256), its sum (4); then dW (512)."""
    x, w = meta(4, 8), meta(16, 8, requires_grad=True)
    tracker = Tracker(1, {}, {})
    with tracker:
        tracker.hold([x, w], "held")
        with tracker.during("forward", "activations"):
            loss = functional.linear(x, w).sum()
        assert tracker.peaks["forward", "mm"].bytes == 640 + 256
        assert tracker.peaks["forward", "sum"].bytes == 640 + 256 + 4
        assert tracker.now == 640 + 4  # no backward wants y
        with tracker.during("backward", "backward"):
            loss.backward()
        # the loss, its slope of one, and dW
        assert tracker.peaks["backward", "mm"].bytes == 640 + 4 + 4 + 512
        assert tracker.now == 640 + 4 + 512
        tracker.hold([w.grad], "gradients")
        del loss
    assert tracker.now == 640 + 512
    assert {part: size for part, size in tracker.alive.items() if size} == {"held": 640, "gradients": 512}


def test_bytes_are_counted_in_blocks() -> None:
    tracker = Tracker(512, {}, {})
    with tracker, tracker.during("forward", "activations"):
        one, two = meta(1), meta(129)
        assert tracker.now == 512 + 1024
        del one
        assert tracker.now == 1024
        view = two[3:]
        assert tracker.now == 1024
        del two
        assert tracker.now == 1024
        del view
    assert tracker.now == 0
    assert tracker.peak.bytes == 1536


def test_a_kernels_own_bytes_are_there_while_it_runs() -> None:
    tracker = Tracker(1, {"mul": lambda args, out: [100, 20]}, {})
    with tracker, tracker.during("forward", "activations"):
        x = meta(8)
        x * x
        assert tracker.now == 32
    assert tracker.peak.bytes == 32 + 32 + 120
    assert tracker.peak.parts == {"activations": 64, "workspaces": 120}


def test_a_view_of_what_is_not_the_devices_is_not_either() -> None:
    row = meta(100, dtype=torch.int64)
    tracker = Tracker(1, {}, {})
    with tracker, tracker.during("forward", "activations"):
        assert row[None].shape == (1, 100)
        assert row.view(10, 10)[2:].shape == (8, 10)
        assert tracker.now == 0
        copy = row + 1
        assert tracker.now == copy.numel() * 8


class _Log:
    def __init__(self) -> None:
        self.events: list[tuple[str, Any]] = []

    def malloc(self, size: int) -> int:
        self.events.append(("malloc", size))
        return len(self.events)

    def free(self, handle: Any) -> None:
        self.events.append(("free", handle))


def test_the_allocator_sees_births_and_deaths_in_order() -> None:
    log = _Log()
    with Tracker(512, {}, {}, log), torch.no_grad():
        x = meta(10)
        y = x * 2
        del x
        z = y * 2
        del y, z
    assert log.events == [("malloc", 40), ("malloc", 40), ("free", 1), ("malloc", 40), ("free", 2), ("free", 4)]


JOBS = {
    "LoRA, CPU": lambda: make_job(stack("llama", 3), kind="cpu", **SHORT),
    "NF4, recompute layers, CUDA": lambda: make_job(
        stack("qwen3", 3), quantization="nf4", dtype=BF16, recompute="layers", kind="cuda", **SHORT
    ),
    "full, Gemma 2, CUDA": lambda: make_job(stack("gemma2", 3), FULL, dtype=BF16, kind="cuda", **SHORT),
}


@pytest.mark.parametrize("name", JOBS)
def test_what_is_not_run_again_gives_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    job = JOBS[name]()
    monkeypatch.setattr(simulate_module, "_SEEN", {})
    made: list[int] = []
    plain = tracker_module._maker
    monkeypatch.setattr(tracker_module, "_maker", lambda *given: made.append(1) or plain(*given))
    quick = simulate(job)
    assert len(made) > 50
    monkeypatch.setattr(tracker_module, "_repeats", lambda function: False)
    made.clear()
    slow = simulate(job)
    assert not made
    assert quick.peaks == slow.peaks
    assert quick.operations == slow.operations


def test_repetition_gives_fresh_tensors_of_the_same_layout_and_keeps_none() -> None:
    tracker = Tracker(1, {}, {})
    with tracker, tracker.during("forward", "activations"):
        x = meta(6, 4, dtype=BF16).t()
        once = x * 2
        again = x * 2
        assert len(tracker._seen) == 2  # the making of x, the product
        assert again.stride() == once.stride() and again.dtype == once.dtype and again.shape == once.shape
        assert again.untyped_storage()._cdata != once.untyped_storage()._cdata
        assert tracker.now == 3 * 48
        changed = again.mul_(3)
        assert again.mul_(3) is again and changed is again
        del once, again, changed
        assert tracker.now == 48
        del x
    assert tracker.now == 0


def test_tensors_with_values_are_always_computed() -> None:
    tracker = Tracker(1, {}, {})
    with tracker:
        x = torch.arange(3)
        assert (x + 1).tolist() == [1, 2, 3]
        x.add_(5)
        assert (x + 1).tolist() == [6, 7, 8]
        assert x.sum().item() == 18
        assert x.max().item() == 7
    assert not tracker._seen
    assert tracker.now == 0
