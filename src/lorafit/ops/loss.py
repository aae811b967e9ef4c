"""The training loss: cross-entropy over supervised tokens, summed, so that it can be averaged over a whole update."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import cross_entropy


def summed_cross_entropy(logits_SV: Tensor, targets_S: Tensor) -> Tensor:
    """The sum of -log p(target) in nats, computed in float32.

    A sum and not a mean: dividing by the supervised tokens of the whole update makes the loss independent of how the
    update is cut into rows (a mean of means is not the mean).
    """
    return cross_entropy(logits_SV.float(), targets_S, reduction="sum")
