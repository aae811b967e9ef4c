"""Packed attention against transformers' own way: one dense mask over the whole row."""

from __future__ import annotations

import pytest
import torch

from lorafit.ops.attention import document_attention, packed_attention

LENGTHS = (1, 5, 12, 2)


def dense(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, window: int | None, softcap: float | None) -> torch.Tensor:
    """All scores of the row, with those of other documents, of later and of too old tokens masked: [B, T, H, D]."""
    length, scale = q.shape[2], q.shape[3] ** -0.5
    k, v = (x.repeat_interleave(q.shape[1] // x.shape[1], dim=1) for x in (k, v))
    document = torch.repeat_interleave(torch.arange(len(LENGTHS)), torch.tensor(LENGTHS))
    place = torch.arange(length)
    visible = (document[:, None] == document) & (place[:, None] >= place)
    if window is not None:
        visible &= place[:, None] - place < window
    scores = q @ k.transpose(-1, -2) * scale
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    return (scores.masked_fill(~visible, float("-inf")).softmax(-1) @ v).transpose(1, 2)


@pytest.mark.parametrize("heads", [(4, 4), (6, 2)])
@pytest.mark.parametrize("window", [None, 4, 100])
@pytest.mark.parametrize("softcap", [None, 2.0])
def test_packed_equals_the_dense_mask(heads: tuple[int, int], window: int | None, softcap: float | None) -> None:
    draw = torch.Generator().manual_seed(0)
    tensors = [torch.randn(1, h, sum(LENGTHS), 8, generator=draw) * 2 for h in (heads[0], heads[1], heads[1])]
    ours = [t.clone().requires_grad_() for t in tensors]
    theirs = [t.clone().requires_grad_() for t in tensors]
    found, _ = packed_attention(
        torch.nn.Identity(), *ours, None, sliding_window=window, softcap=softcap, document_lengths=LENGTHS
    )
    wanted = dense(*theirs, window, softcap)
    assert torch.allclose(found, wanted, rtol=1e-5, atol=1e-6)
    weight = torch.randn(wanted.shape, generator=draw)
    (found * weight).sum().backward()
    (wanted * weight).sum().backward()
    for one, other in zip(ours, theirs, strict=True):
        assert torch.allclose(one.grad, other.grad, rtol=1e-5, atol=1e-5)


def test_the_scale_that_the_model_asks_for_is_used() -> None:
    q, k, v = (torch.randn(1, 2, 6, 8, generator=torch.Generator().manual_seed(i)) for i in range(3))
    assert not torch.allclose(document_attention(q, k, v, 1.0), document_attention(q, k, v, 0.1))
    assert torch.allclose(document_attention(q, k, v, None), document_attention(q, k, v, 8**-0.5))
