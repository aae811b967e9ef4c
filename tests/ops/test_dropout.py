from __future__ import annotations

import numpy as np
import pytest
import torch

from lorafit.data.pack import prefix_numbers
from lorafit.ops.dropout import Mask, keep, module_seed, placed_dropout


def numbers(*parts: tuple[int, int]) -> np.ndarray:
    """Made-up numbers of prefixes: `count` consecutive ones from each start."""
    return np.concatenate([np.arange(start, start + count, dtype=np.uint64) for start, count in parts])


def test_a_prefix_is_dropped_alike_in_any_company() -> None:
    x = torch.ones(30, 16)
    together = placed_dropout(x, Mask(0.4, 7, numbers((100, 10), (500, 20))))
    assert torch.equal(together[:10], placed_dropout(x[:10], Mask(0.4, 7, numbers((100, 10)))))
    assert torch.equal(together[10:], placed_dropout(x[10:], Mask(0.4, 7, numbers((500, 20)))))
    assert not torch.equal(together, placed_dropout(x, Mask(0.4, 8, numbers((100, 10), (500, 20)))))


def test_the_share_and_the_scale_are_right() -> None:
    x = placed_dropout(torch.ones(500, 64), Mask(0.3, 1, numbers((0, 500))))
    assert x.unique().tolist() == pytest.approx([0.0, 1 / 0.7], rel=1e-4)
    assert (x == 0).float().mean().item() == pytest.approx(0.3, abs=0.02)
    assert x.mean().item() == pytest.approx(1.0, abs=0.03)


def test_everything_that_names_a_place_changes_the_seed() -> None:
    seeds = {module_seed(*place) for place in ((0, 0, "a"), (1, 0, "a"), (0, 1, "a"), (0, 0, "b"), (0, 11, "a"))}
    assert len(seeds) == 5 and all(0 <= seed < 2**64 for seed in seeds)


def test_prefixes_of_another_row_are_refused() -> None:
    with pytest.raises(ValueError, match="prefixes of 9 tokens, but 10 rows"):
        placed_dropout(torch.ones(10, 4), Mask(0.1, 0, numbers((0, 9))))


@pytest.mark.parametrize("p", [0.05, 0.1, 0.5])
def test_the_mask_looks_random_along_rows_columns_and_documents(p: float) -> None:
    """Rates of rows and columns spread as those of independent draws do, and neighbours are not correlated."""
    x = torch.ones(1000, 801)
    kept = (placed_dropout(x, Mask(p, 5, prefix_numbers(np.arange(1000) % 7))) > 0).double()
    for rates, draws in ((kept.mean(0), 1000), (kept.mean(1), 801)):
        spread = (p * (1 - p) / draws) ** 0.5
        assert rates.std().item() == pytest.approx(spread, rel=0.15)
        assert (rates - (1 - p)).abs().max().item() < 5 * spread
    centred = kept - kept.mean()
    variance = centred.square().mean()
    shifts = [(0, 1), (0, 2), (1, 0), (1, 1), (0, 400), (400, 0)]
    for down, right in shifts:
        moved = centred.roll((down, right), (0, 1))
        assert abs((centred * moved).mean() / variance).item() < 5 / (1000 * 801) ** 0.5, (down, right)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_keeping_by_bits_is_keeping(dtype: torch.dtype) -> None:
    x = torch.randn(6, 5, generator=torch.Generator().manual_seed(0)).to(dtype)
    kept = torch.rand(6, 5, generator=torch.Generator().manual_seed(1)) > 0.4
    assert torch.equal(keep(x, -kept.to(torch.int8)), x * kept)
