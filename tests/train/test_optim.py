"""Float32 masters of 16-bit parameters."""

from __future__ import annotations

import weakref

import torch
from torch import nn

from lorafit.train.optim import MasterOptimizer


def test_a_gradient_in_16_bits_goes_to_its_master_as_soon_as_it_is_there() -> None:
    narrow, wide = nn.Parameter(torch.ones(4, dtype=torch.bfloat16)), nn.Parameter(torch.ones(4))
    optimizer = MasterOptimizer([narrow, wide], "adamw", 0.0)
    for _ in range(2):
        ((narrow * 2).float().sum() + (wide * 3).sum()).backward()
    master = optimizer.masters[0]
    assert master.dtype == torch.float32 and optimizer.masters[1] is wide
    assert narrow.grad is None
    assert master.grad is not None and torch.equal(master.grad, torch.full((4,), 4.0))
    assert wide.grad is not None and torch.equal(wide.grad, torch.full((4,), 6.0))


def test_the_parameters_do_not_keep_the_optimizer() -> None:
    narrow = nn.Parameter(torch.ones(4, dtype=torch.bfloat16))
    optimizer = MasterOptimizer([narrow], "adamw", 0.0)
    seen = weakref.ref(optimizer)
    del optimizer
    assert seen() is None
    (narrow * 2).sum().backward()
    assert narrow.grad is not None, "without an optimizer gradients stay where torch puts them"
