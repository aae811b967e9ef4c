"""What meta tensors are made to do is what torch's functions do with tensors that have values."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from lorafit.plan.semantics import NOTES, STAND_INS, WORKSPACES, _attention_on_cpu, _attention_on_cuda, as_on

ATTENTION: dict[str, dict[str, Any]] = {
    "causal": {"is_causal": True},
    "grouped heads": {"is_causal": True, "enable_gqa": True, "groups": 2},
    "boolean mask": {"attn_mask": torch.bool},
    "boolean mask, grouped heads, longer keys": {"attn_mask": torch.bool, "groups": 2, "enable_gqa": True, "seen": 21},
    "scale": {"is_causal": True, "scale": 0.3},
}


def attend(function: Any, device: str, dtype: torch.dtype, case: dict[str, Any]) -> list[Tensor]:
    """Output and the gradients of query, key and value."""
    case = dict(case)
    groups, seen, kind = case.pop("groups", 4), case.pop("seen", 12), case.pop("attn_mask", None)
    query, key, value = (
        torch.ones(1, heads, length, 8, dtype=dtype, device=device, requires_grad=True)
        for heads, length in ((4, 12), (groups, seen), (groups, seen))
    )
    if kind is not None:
        case["attn_mask"] = torch.ones(12, seen, dtype=kind, device=device)
    out: Tensor = function(query, key, value, **case)
    return [out, *torch.autograd.grad(out.sum(), [query, key, value])]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", ATTENTION)
@pytest.mark.parametrize("stand_in", [_attention_on_cpu, _attention_on_cuda])
def test_attention_has_the_shapes_and_types_of_torchs(name: str, dtype: torch.dtype, stand_in: Any) -> None:
    real = attend(functional.scaled_dot_product_attention, "cpu", dtype, ATTENTION[name])
    planned = attend(stand_in, "meta", dtype, ATTENTION[name])
    assert [(t.shape, t.dtype) for t in planned] == [(t.shape, t.dtype) for t in real]


def test_attention_is_exchanged_within_the_block_alone() -> None:
    before = functional.scaled_dot_product_attention
    for kind, expected in (("cpu", _attention_on_cpu), ("cuda", _attention_on_cuda), ("mps", _attention_on_cuda)):
        with as_on(kind):
            assert functional.scaled_dot_product_attention is expected
        assert functional.scaled_dot_product_attention is before


@pytest.mark.parametrize("width", [8, 12])
def test_flash_attention_takes_widths_that_are_no_multiple_of_eight(width: int) -> None:
    query, key = (torch.empty(1, heads, 5, width, dtype=torch.bfloat16, device="meta") for heads in (4, 2))
    assert _attention_on_cuda(query, key, key, is_causal=True, enable_gqa=True).shape == query.shape


def test_flash_workspace_by_hand() -> None:
    """Rows to 128, width to 32: float32 [1, 4, 128], [1, 128, 4, 32]; two bfloat16 [1, 100, 4, 24] for the groups."""
    query = torch.empty(1, 4, 100, 24, dtype=torch.bfloat16, device="meta")
    key = torch.empty(1, 2, 100, 24, dtype=torch.bfloat16, device="meta")
    sizes = WORKSPACES["cuda"]["_scaled_dot_product_flash_attention_backward"]((None, query, key), None)
    assert sizes == [4 * 4 * 128, 4 * 128 * 4 * 32, 2 * 100 * 4 * 24, 2 * 100 * 4 * 24]


def test_8_bit_products_have_the_shapes_and_types_of_bitsandbytes() -> None:
    x = torch.randn(6, 16, dtype=torch.bfloat16)
    weight = torch.randint(-127, 127, (10, 16), dtype=torch.int8)
    stats = torch.rand(10)
    operations = torch.ops.bitsandbytes
    rows, row_stats, _ = operations.int8_vectorwise_quant(x, 0.0)
    product = operations.int8_scaled_mm(rows, weight, row_stats, stats, dtype=torch.bfloat16)
    there = [t.to("meta") for t in (x, rows, weight, row_stats, stats)]
    planned_rows, planned_stats, outliers = STAND_INS["int8_vectorwise_quant"](there[0], 0.0)
    planned, _ = STAND_INS["int8_mixed_scaled_mm"](there[0], planned_rows, there[2], planned_stats, there[4], outliers)
    for mine, theirs in ((planned_rows, rows), (planned_stats, row_stats), (planned, product)):
        assert (mine.shape, mine.dtype) == (theirs.shape, theirs.dtype)
    assert outliers is None


def test_a_cpu_converts_an_operand_whole() -> None:
    narrow, wide = (torch.empty(5, 7, dtype=d, device="meta") for d in (torch.bfloat16, torch.float32))
    assert WORKSPACES["cpu"]["mul"]((narrow, wide), wide) == [5 * 7 * 4]
    assert WORKSPACES["cpu"]["mul"]((wide, wide), wide) == []
    assert WORKSPACES["cpu"]["add"]((narrow, 2.0), narrow) == []


def test_every_rule_has_its_source() -> None:
    text = " ".join([*NOTES, *NOTES.values()]).lower()
    for word in ("cublas", "flash", "efficient", "nf4", "8-bit", "outliers", "adam"):
        assert word in text
