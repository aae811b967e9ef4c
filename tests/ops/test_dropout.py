from __future__ import annotations

import pytest
import torch

from lorafit.ops.dropout import document_seed, keep, placed_dropout


def test_a_document_is_dropped_alike_in_any_company() -> None:
    x = torch.ones(30, 16)
    together = placed_dropout(x, 0.4, (10, 20), (7, 8))
    assert torch.equal(together[:10], placed_dropout(x[:10], 0.4, (10,), (7,)))
    assert torch.equal(together[10:], placed_dropout(x[10:], 0.4, (20,), (8,)))
    turned = placed_dropout(x, 0.4, (20, 10), (8, 7))
    assert torch.equal(turned[20:], together[:10])


def test_the_share_and_the_scale_are_right() -> None:
    x = placed_dropout(torch.ones(500, 64), 0.3, (500,), (1,))
    assert x.unique().tolist() == pytest.approx([0.0, 1 / 0.7], rel=1e-4)
    assert (x == 0).float().mean().item() == pytest.approx(0.3, abs=0.02)
    assert x.mean().item() == pytest.approx(1.0, abs=0.03)


def test_everything_that_names_a_place_changes_the_seed() -> None:
    seeds = {
        document_seed(*place)
        for place in ((0, 0, "a", 0), (1, 0, "a", 0), (0, 1, "a", 0), (0, 0, "b", 0), (0, 0, "a", 1), (0, 11, "a", 1))
    }
    assert len(seeds) == 6 and all(0 <= seed < 2**63 for seed in seeds)


def test_lengths_that_do_not_add_up_are_refused() -> None:
    with pytest.raises(ValueError, match="documents of 9 tokens in all, but 10 rows"):
        placed_dropout(torch.ones(10, 4), 0.1, (4, 5), (1, 2))


@pytest.mark.parametrize("p", [0.05, 0.1, 0.5])
def test_the_mask_looks_random_along_rows_columns_and_documents(p: float) -> None:
    """Rates of rows and columns spread as those of independent draws do, and neighbours are not correlated."""
    x = torch.ones(1000, 801)
    kept = (placed_dropout(x, p, (400, 600), (5, 6)) > 0).double()
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
