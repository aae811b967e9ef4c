"""Every event of the allocator is counted: sums by hand."""

from __future__ import annotations

import torch

from lorafit.plan.measure import measured_on_cpu


def test_peak_of_a_block_by_hand() -> None:
    """1,000 floats stand; 3,000 and 2,000 are there together, then 4,000 alone: 4 (1,000 + 5,000) bytes at most."""
    stands = torch.zeros(1000)
    with measured_on_cpu([stands, None]) as result:
        one = torch.empty(3000)
        two = torch.empty(2000)
        del one, two
        three = torch.empty(4000)
        del three
    assert (result.before, result.peak) == (4000, 24000)


def test_views_and_doubles_stand_once() -> None:
    stands = torch.zeros(100)
    with measured_on_cpu([stands, stands[10:], stands.view(10, 10)]) as result:
        pass
    assert (result.before, result.peak) == (400, 400)


def test_what_operations_take_for_a_while_is_seen() -> None:
    x = torch.randn(50, 50)
    with measured_on_cpu([x]) as result:
        (x @ x).sum()
    # the product, and the sum's four bytes
    assert result.peak == 2 * 4 * 2500 + 4
