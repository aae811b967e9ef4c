"""The low-rank parts of several plain adapters on one row.

One adapter after another, each on its own tokens, is a product too small for its overhead where many adapters have a
few tokens each. Then the tokens are put into a block of equal parts, an adapter each, and multiplied together; ranks
are filled up with zeros, which changes nothing. Grouping by adapter as in Punica (arXiv 2310.18547).

Shapes: T tokens of the row, I inputs, O outputs, r rank, M adapters of a block, L tokens of each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

# (adapter, tokens): to whom the tokens of a row belong, one after another; None is the base.
Owner = tuple[str | None, int]
# A block may be this much larger than the row, and a stack of adapters than those of the row.
FILL = 2


@dataclass(frozen=True, slots=True)
class Block:
    """taken [M L]: which token of the row stands at each place (0 where none does); places: those with a token."""

    names: tuple[str, ...]
    taken: Tensor
    places: Tensor
    tokens: Tensor


def make_block(owners: Sequence[Owner], stacked: tuple[str, ...], device: torch.device) -> Block | None:
    """How a row becomes a block; None where one adapter after another is as well. stacked: the adapters of the last
    block, whose stacked weights are used again where they are not too many."""
    present = {name: count for name, count in owners if name is not None}
    names = stacked if present.keys() <= set(stacked) and len(stacked) <= FILL * len(present) else tuple(present)
    total, length = sum(count for _, count in owners), max(present.values(), default=0)
    if len(present) < 2 or len(names) * length > FILL * total:
        return None
    starts = dict(zip((name for name, _ in owners), accumulate((c for _, c in owners), initial=0), strict=False))
    taken, places, tokens = [0] * (len(names) * length), [], []
    for number, name in enumerate(names):
        for i in range(present.get(name, 0)):
            place = number * length + i
            taken[place] = starts[name] + i
            places.append(place)
            tokens.append(taken[place])
    return Block(names, *(torch.tensor(x, device=device) for x in (taken, places, tokens)))


class LowRank:
    """The plain adapters of one LoRA layer, as the products need them; the layer keeps the weights."""

    def __init__(self, layer: Any) -> None:
        self.layer = layer
        self._stacked: tuple[tuple[str, ...], Tensor, Tensor] | None = None

    def add(self, x_TI: Tensor, y_TO: Tensor, owners: Sequence[Owner], block: Block | None) -> None:
        """y += s (x A^T) B^T, for each token with its own adapter."""
        if block is not None:
            if any(name in self.layer.lora_A for name in block.names):
                self._add_block(x_TI, y_TO, block)
            return
        counts = [count for _, count in owners]
        for (name, _), x_LI, y_LO in zip(owners, x_TI.split(counts), y_TO.split(counts), strict=True):
            if name is not None and name in self.layer.lora_A:
                a_rI, b_Or, scale = self._factors(name, y_TO.dtype)
                y_LO.addmm_(x_LI.to(a_rI.dtype) @ a_rI.T, b_Or.T, alpha=scale)

    def _factors(self, name: str, dtype: torch.dtype) -> tuple[Tensor, Tensor, float]:
        a_rI, b_Or = self.layer.lora_A[name].weight, self.layer.lora_B[name].weight
        return a_rI.detach().to(dtype), b_Or.detach().to(dtype), self.layer.scaling[name]

    def _add_block(self, x_TI: Tensor, y_TO: Tensor, block: Block) -> None:
        if self._stacked is None or self._stacked[0] != block.names:
            self._stacked = (block.names, *self._stack(block.names, y_TO.dtype))
        _, a_MrI, b_MOr = self._stacked
        x_MLI = x_TI.to(a_MrI.dtype).index_select(0, block.taken).view(len(block.names), -1, x_TI.shape[1])
        out_MLO = torch.bmm(torch.bmm(x_MLI, a_MrI.transpose(1, 2)), b_MOr.transpose(1, 2))
        y_TO.index_add_(0, block.tokens, out_MLO.flatten(0, 1).index_select(0, block.places))

    def _stack(self, names: tuple[str, ...], dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """The factors of the adapters, the scale in B; zeros for an adapter that is not on this layer."""
        found = {name: self._factors(name, dtype) for name in names if name in self.layer.lora_A}
        rank = max(len(a_rI) for a_rI, _, _ in found.values())
        a_rI, b_Or, _ = next(iter(found.values()))
        a_MrI = a_rI.new_zeros(len(names), rank, a_rI.shape[1])
        b_MOr = b_Or.new_zeros(len(names), len(b_Or), rank)
        for number, name in enumerate(names):
            if name in found:
                a_rI, b_Or, scale = found[name]
                a_MrI[number, : len(a_rI)] = a_rI
                b_MOr[number, :, : len(a_rI)] = b_Or * scale
        return a_MrI, b_MOr
