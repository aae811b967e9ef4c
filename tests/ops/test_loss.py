from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cross_entropy

from lorafit.ops import loss
from lorafit.ops.loss import CHUNK, head_cross_entropy, summed_cross_entropy


@pytest.mark.parametrize("tokens", [0, 1, 33, CHUNK, 2 * CHUNK + 7])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("softmax_logits", [1, 32 * 50, loss.SOFTMAX_LOGITS])
def test_chunks_equal_the_whole(tokens: int, bias: bool, softmax_logits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Loss and gradient of the hidden states: float32, relative 1e-5, in parts of 1, 32 and all tokens of a chunk."""
    monkeypatch.setattr(loss, "SOFTMAX_LOGITS", softmax_logits)
    draw = torch.Generator().manual_seed(tokens)
    hidden, weight = torch.randn(tokens, 16, generator=draw), torch.randn(50, 16, generator=draw)
    shift = torch.randn(50, generator=draw) if bias else None
    targets = torch.randint(0, 50, (tokens,), generator=draw)
    weights = torch.randint(1, 4, (tokens,), generator=draw).float()
    ours, theirs = hidden.clone().requires_grad_(), hidden.clone().requires_grad_()
    found = head_cross_entropy(ours, weight, shift, targets, weights)
    wanted = summed_cross_entropy(torch.nn.functional.linear(theirs, weight, shift), targets, weights)
    assert found.item() == pytest.approx(wanted.item(), rel=1e-5)
    (found / 3).backward()
    (wanted / 3).backward()
    assert ours.grad is not None and theirs.grad is not None
    assert torch.allclose(ours.grad, theirs.grad, rtol=1e-5, atol=1e-6)


def test_without_gradients_only_the_loss_is_made() -> None:
    hidden, weight, targets = torch.randn(5, 4), torch.randn(9, 4), torch.tensor([0, 1, 2, 3, 8])
    with torch.no_grad():
        found = head_cross_entropy(hidden, weight, None, targets, torch.ones(5))
    assert not found.requires_grad
    wanted = cross_entropy(hidden @ weight.T, targets, reduction="sum")
    assert found.item() == pytest.approx(wanted.item(), rel=1e-5)
