"""Dropout whose mask does not depend on how the work is cut.

The mask is a function of seed, update, module, example and position: one generator a document, seeded by the first
four; the position is the place in its stream. So packing, the number of passes and recomputation change nothing.
"""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor


def document_seed(seed: int, update: int, module: str, example: int) -> int:
    """63 bits that name the dropout of one document in one module at one update."""
    digest = hashlib.blake2b(f"{seed}/{update}/{module}/{example}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def placed_dropout(x_TD: Tensor, p: float, lengths: tuple[int, ...], seeds: tuple[int, ...]) -> Tensor:
    """Drop each element with probability `p` and scale the rest by 1/(1-p), document by document.

    x_TD: the documents one after another, lengths[i] tokens drawn from a generator seeded with seeds[i].
    """
    if sum(lengths) != x_TD.shape[0]:
        raise ValueError(f"documents of {sum(lengths)} tokens in all, but {x_TD.shape[0]} rows")
    keep_TD = torch.empty_like(x_TD)
    generator = torch.Generator(device=x_TD.device)
    for document, seed in zip(keep_TD.split(lengths), seeds, strict=True):
        generator.manual_seed(seed)
        document.bernoulli_(1 - p, generator=generator)
    return x_TD * keep_TD.div_(1 - p)
