"""The training loss: cross-entropy over supervised tokens, summed, so that it can be averaged over a whole update.

A sum and not a mean: dividing by the supervised tokens of the whole update makes the loss independent of how the update
is cut into rows (a mean of means is not the mean). Shapes: S supervised tokens, C of a chunk, R of a part of a chunk, D
features, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, linear

from lorafit.hardware import kind_of

CHUNK = 256
# On the CPU: so many logits in float32, 6 MB, stay in the cache, and take little beside a chunk's in 16 bits.
SOFTMAX_LOGITS = 3 * 2**19


def summed_cross_entropy(logits_SV: Tensor, targets_S: Tensor, weights_S: Tensor) -> Tensor:
    """The sum of -weight log p(target) in nats, computed in float32."""
    return cross_entropy(logits_SV.float(), targets_S, reduction="none") @ weights_S


def head_cross_entropy(
    hidden_SD: Tensor, weight_VD: Tensor, bias_V: Tensor | None, targets_S: Tensor, weights_S: Tensor
) -> Tensor:
    """summed_cross_entropy(linear(hidden, weight, bias), targets, weights) for a frozen head, `CHUNK` tokens at a time.

    The gradient of the hidden states is made in the forward, while a chunk's logits are there: one product with the
    head forward and one back, and logits never stand whole. On the CPU the softmax takes a few tokens of a chunk at a
    time; its slope takes the place of the logits.
    """
    result: Tensor = _HeadCrossEntropy.apply(hidden_SD, weight_VD, bias_V, targets_S, weights_S)
    return result


def token_losses(found_S: Tensor, targets_S: Tensor, head: nn.Linear | None) -> tuple[Tensor, Tensor]:
    """-log p(target) of each token, in nats, float32 [S], and whether the target is the likeliest token, bool [S].

    found_S: hidden states [S, D] and their head, or, without one, logits [S, V]. `CHUNK` tokens at a time.
    """
    losses, likeliest = [found_S.new_zeros(0, dtype=torch.float32)], [targets_S.new_zeros(0, dtype=torch.bool)]
    for found_C, targets_C in zip(found_S.split(CHUNK), targets_S.split(CHUNK), strict=True):
        logits_CV = (found_C if head is None else head(found_C)).float()
        losses.append(cross_entropy(logits_CV, targets_C, reduction="none"))
        likeliest.append(logits_CV.argmax(-1) == targets_C)
    return torch.cat(losses), torch.cat(likeliest)


class _HeadCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden_SD: Tensor, weight_VD: Tensor, bias_V: Tensor | None, targets_S: Tensor, weights_S: Tensor
    ) -> Tensor:
        wanted = ctx.needs_input_grad[0]
        gradient_SD = torch.empty_like(hidden_SD) if wanted else None
        total = hidden_SD.new_zeros((), dtype=torch.float32)
        rows = max(1, SOFTMAX_LOGITS // len(weight_VD)) if kind_of(hidden_SD.device) == "cpu" else CHUNK
        for start in range(0, len(targets_S), CHUNK):
            place = slice(start, start + CHUNK)
            logits_CV = linear(hidden_SD[place], weight_VD, bias_V)
            parts = (x.split(rows) for x in (logits_CV, targets_S[place], weights_S[place]))
            for part_RV, targets_R, weights_R in zip(*parts, strict=True):
                targets_R1 = targets_R.unsqueeze(1)
                logarithms_RV = part_RV.float().log_softmax(-1)
                total -= logarithms_RV.gather(1, targets_R1).squeeze(1) @ weights_R
                if gradient_SD is not None:
                    # d loss / d logits = weight (softmax - one at the target); the weight goes in after the product
                    slope_RV = logarithms_RV.exp_()
                    slope_RV.scatter_add_(1, targets_R1, slope_RV.new_full(targets_R1.shape, -1.0))
                    part_RV.copy_(slope_RV)
            if gradient_SD is not None:
                torch.mm(logits_CV, weight_VD, out=gradient_SD[place])
        if gradient_SD is not None:
            ctx.save_for_backward(gradient_SD.mul_(weights_S.unsqueeze(1)))
        return total

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient_SD,) = ctx.saved_tensors
        return gradient_SD * gradients[0], None, None, None, None
