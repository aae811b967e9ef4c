"""Dropout whose mask does not depend on how the work is cut.

The mask is a function of seed, update, module, example and position: one generator a document, seeded by the first
four; the position is the place in its stream. So packing, the number of passes and recomputation change nothing.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor

STEPS = 2**16


@dataclass(frozen=True, slots=True)
class Mask:
    """What decides a dropout mask over documents that stand one after another: lengths[i] tokens from seeds[i].

    Four elements are drawn from each 64-bit random number, so `p` is rounded to a multiple of 2**-16; the scale is
    that of the rounded rate, and the expectation exact.
    """

    p: float
    lengths: tuple[int, ...]
    seeds: tuple[int, ...]

    @property
    def dropped_steps(self) -> int:
        return round(self.p * STEPS)

    @property
    def scale(self) -> float:
        """What kept elements are multiplied by: 1 / (1 - p)."""
        return STEPS / (STEPS - self.dropped_steps)


def document_seed(seed: int, update: int, module: str, example: int) -> int:
    """63 bits that name the dropout of one document in one module at one update."""
    digest = hashlib.blake2b(f"{seed}/{update}/{module}/{example}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def draw_mask(mask: Mask, like_TD: Tensor) -> Tensor:
    """The boolean mask [T, D] of what is kept."""
    rows, columns = like_TD.shape
    if sum(mask.lengths) != rows:
        raise ValueError(f"documents of {sum(mask.lengths)} tokens in all, but {rows} rows")
    keep_TD = torch.empty(rows, columns, dtype=torch.bool, device=like_TD.device)
    generator = torch.Generator(device=like_TD.device)
    for document_LD, seed in zip(keep_TD.split(mask.lengths), mask.seeds, strict=True):
        generator.manual_seed(seed)
        words = torch.empty(-(-document_LD.numel() // 4), dtype=torch.int64, device=like_TD.device)
        words.random_(-(2**63), None, generator=generator)
        draws = words.view(torch.int16)[: document_LD.numel()].view(document_LD.shape)
        torch.ge(draws, mask.dropped_steps - STEPS // 2, out=document_LD)
    return keep_TD


def apply_mask(x_TD: Tensor, keep_TD: Tensor, mask: Mask | None) -> Tensor:
    """x where it is kept, scaled; 0 elsewhere."""
    assert mask is not None
    return (x_TD * keep_TD).mul_(mask.scale)


def placed_dropout(x_TD: Tensor, p: float, lengths: tuple[int, ...], seeds: tuple[int, ...]) -> Tensor:
    """Drop each element with probability `p` and scale the rest, document by document; differentiable."""
    mask = Mask(p, lengths, seeds)
    return x_TD * draw_mask(mask, x_TD).to(x_TD.dtype).mul_(mask.scale)
