"""Packed attention against transformers' own way: one dense mask over the whole row."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from lorafit.data.pack import make_row
from lorafit.ops import attention
from lorafit.ops.attention import packed_attention, path_attention, run_attention
from lorafit.records import Layout, Sample, Siblings, Source

FLAT: Layout = (Siblings(0, 22, (), ((1, 1), (2, 2), (5, 1), (12, 1))),)


def tree() -> Layout:
    """Documents that begin alike at several depths, one that is another's beginning, two that are the same."""
    documents = ("abcdefg", "abcdefh", "abcx", "ab", "abcy", "qrs", "qrs", "qr", "z", "abcdwvutsr")
    tokens = [np.array([ord(c) for c in document]) for document in documents]
    return make_row([Sample(t, t < 0, Source("made", 1)) for t in tokens], least_shared=1).layout


def dense(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, layout: Layout, window: int | None, softcap: float | None):
    """All scores of the row, with those of other documents, of later and of too old tokens masked: [B, T, H, D]."""
    tokens, scale = q.shape[2], q.shape[3] ** -0.5
    k, v = (x.repeat_interleave(q.shape[1] // x.shape[1], dim=1) for x in (k, v))
    visible = torch.zeros(tokens, tokens, dtype=torch.bool)
    for group in layout:
        path = [place for start, end in group.path for place in range(start, end)]
        start = group.start
        for length in (length for length, count in group.runs for _ in range(count)):
            for place in range(start, start + length):
                seen = [*path, *range(start, place + 1)]
                visible[place, seen[-window:] if window else seen] = True
            start += length
    scores = q @ k.transpose(-1, -2) * scale
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    return (scores.masked_fill(~visible, float("-inf")).softmax(-1) @ v).transpose(1, 2)


@pytest.mark.parametrize("heads", [(4, 4), (6, 2)])
@pytest.mark.parametrize("window", [None, 4, 100])
@pytest.mark.parametrize("softcap", [None, 2.0])
@pytest.mark.parametrize("products", [1024, 5, 0])
@pytest.mark.parametrize("layout", [FLAT, tree()], ids=["flat", "tree"])
def test_packed_equals_the_dense_mask(
    monkeypatch: pytest.MonkeyPatch,
    heads: tuple[int, int],
    window: int | None,
    softcap: float | None,
    products: int,
    layout: Layout,
) -> None:
    """Plain products for all, for the short documents, for none."""
    monkeypatch.setattr(attention, "MATMUL_LENGTH", products)
    monkeypatch.setattr(attention, "causal_mask", attention.causal_mask.__wrapped__)
    draw = torch.Generator().manual_seed(0)
    tensors = [torch.randn(1, h, layout[-1].end, 8, generator=draw) * 2 for h in (heads[0], heads[1], heads[1])]
    ours = [t.clone().requires_grad_() for t in tensors]
    theirs = [t.clone().requires_grad_() for t in tensors]
    found, _ = packed_attention(
        torch.nn.Identity(), *ours, None, sliding_window=window, softcap=softcap, row_layout=layout
    )
    wanted = dense(*theirs, layout, window, softcap)
    assert torch.allclose(found, wanted, rtol=1e-5, atol=1e-6)
    weight = torch.randn(wanted.shape, generator=draw)
    (found * weight).sum().backward()
    (wanted * weight).sum().backward()
    for one, other in zip(ours, theirs, strict=True):
        assert torch.allclose(one.grad, other.grad, rtol=1e-5, atol=1e-5)


def test_plain_products_are_taken_where_they_are_meant_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[int] = []
    right = attention.path_attention

    def counting(*args: Any) -> torch.Tensor:
        taken.append(args[0].shape[2])
        return right(*args)

    monkeypatch.setattr(attention, "path_attention", counting)
    for products, left in ((1024, []), (5, [12]), (0, [22])):
        monkeypatch.setattr(attention, "MATMUL_LENGTH", products)
        taken.clear()
        packed_attention(torch.nn.Identity(), *torch.randn(3, 1, 2, 22, 8), None, row_layout=FLAT)
        assert taken == left


def test_the_scale_that_the_model_asks_for_is_used() -> None:
    q, k, v = (torch.randn(1, 2, 22, 8, generator=torch.Generator().manual_seed(i)) for i in range(3))
    for scaling in (1.0, 0.1, None):
        products, _ = packed_attention(torch.nn.Identity(), q, k, v, None, scaling=scaling, row_layout=FLAT)
        assert torch.allclose(products, path_attention(q, k, v, FLAT, scaling), rtol=1e-5, atol=1e-6)
    assert not torch.allclose(run_attention(q, k, v, 1.0), run_attention(q, k, v, 0.1))
    assert torch.allclose(run_attention(q, k, v, None), run_attention(q, k, v, 8**-0.5))
