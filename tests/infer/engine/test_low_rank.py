from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from lorafit.infer.engine.low_rank import LowRank, Owner, make_block

CPU = torch.device("cpu")


@pytest.mark.parametrize("stacked", [(), ("c", "a", "d", "b")])
def test_a_block_adds_what_one_adapter_after_another_adds(stacked: tuple[str, ...]) -> None:
    """Other ranks and scales, uneven shares, tokens of the base, an adapter that is not on the layer."""
    torch.manual_seed(0)
    ranks = {"a": 4, "b": 2, "d": 3}
    layer = SimpleNamespace(
        lora_A={name: SimpleNamespace(weight=torch.randn(rank, 7)) for name, rank in ranks.items()},
        lora_B={name: SimpleNamespace(weight=torch.randn(5, rank)) for name, rank in ranks.items()},
        scaling={"a": 2.0, "b": 0.5, "d": 1.0},
    )
    owners: list[Owner] = [(None, 3), ("a", 2), ("b", 3), ("c", 2)]
    block = make_block(owners, stacked, CPU)
    assert block is not None
    assert block.names == (stacked or ("a", "b", "c"))
    x, apart, together = torch.randn(10, 7), torch.ones(10, 5), torch.ones(10, 5)
    low_rank = LowRank(layer)
    low_rank.add(x, apart, owners, None)
    low_rank.add(x, together, owners, block)
    torch.testing.assert_close(together, apart, rtol=1e-5, atol=1e-5)
    assert torch.equal(together[:3], torch.ones(3, 5))
    assert not torch.equal(together[3:8], torch.ones(5, 5))


def test_there_is_no_block_for_one_adapter_nor_beside_a_long_prompt() -> None:
    assert make_block([(None, 3), ("a", 5)], (), CPU) is None
    assert make_block([("a", 300), ("b", 1), ("c", 1), ("d", 1)], (), CPU) is None
