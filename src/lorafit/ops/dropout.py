"""Dropout whose mask does not depend on how the work is cut.

The mask is a function of seed, update, module, column, and of the token and all that precede it in its document (its
place in the prefix tree), computed anew for each element by hashing (a counter-based generator, as in Salmon et al.,
"Parallel random numbers: as easy as 1, 2, 3", 2011). So packing, sharing a beginning, the number of passes and
recomputation change nothing, and the mask is the same on every device. Documents that begin alike are dropped alike
there, within an update: that is what makes sharing exact.
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

STEPS = 2**15


@dataclass(frozen=True, slots=True)
class Mask:
    """What decides a dropout mask: the rate, a seed, and the number of each token's prefix (uint64 [T]; Row.prefixes).

    An element takes 15 bits of its hash, so `p` is rounded to a multiple of 2**-15; the scale is that of the rounded
    rate, and the expectation exact.
    """

    p: float
    seed: int
    prefixes: np.ndarray

    @property
    def dropped_steps(self) -> int:
        return round(self.p * STEPS)

    @property
    def scale(self) -> float:
        """What kept elements are multiplied by: 1 / (1 - p)."""
        return STEPS / (STEPS - self.dropped_steps)


def module_seed(seed: int, update: int, module: str) -> int:
    """64 bits that name the dropout of one module at one update."""
    return int.from_bytes(hashlib.blake2b(f"{seed}/{update}/{module}".encode(), digest_size=8).digest(), "big")


def draw_mask(mask: Mask, like_TD: Tensor) -> Tensor:
    """The mask [T, D], int8: -1 (all bits set) where an element is kept, 0 where it is dropped."""
    rows, columns = like_TD.shape
    if len(mask.prefixes) != rows:
        raise ValueError(f"prefixes of {len(mask.prefixes)} tokens, but {rows} rows")
    token_T1 = torch.from_numpy(_hash64(mask.prefixes ^ np.uint64(mask.seed))).to(like_TD.device)[:, None]
    # Two elements from each 32-bit word: the finish of MurmurHash3, in place because it is over all elements.
    word_TW = token_T1 ^ _columns(-(-columns // 2), like_TD.device)
    word_TW *= -2048144789  # 0x85EBCA6B
    word_TW ^= word_TW >> 13
    word_TW *= -1028477387  # 0xC2B2AE35
    word_TW ^= word_TW >> 16
    draws_TD = word_TW.view(torch.int16)[:, :columns]
    # Between 0 and STEPS - 1, dropped below the dropped steps: the sign of the difference, as a comparison that gives a
    # boolean takes three times as long.
    steps_TD = draws_TD & (STEPS - 1)
    return steps_TD.neg_().add_(mask.dropped_steps - 1).bitwise_right_shift_(15).to(torch.int8)


def keep(x_TD: Tensor, kept_TD: Tensor) -> Tensor:
    """x where it is kept, 0 elsewhere; not scaled. By bits, as torch multiplies by a boolean ten times slower."""
    integer = {2: torch.int16, 4: torch.int32}[x_TD.element_size()]
    return (x_TD.view(integer) & kept_TD.to(integer)).view(x_TD.dtype)


@functools.lru_cache(maxsize=64)
def _columns(words: int, device: torch.device) -> Tensor:
    """A hash of each word's place in a row, int32 [1, words]."""
    return torch.from_numpy(_hash64(np.arange(words, dtype=np.uint64) + np.uint64(2**40))).to(device)[None]


def _hash64(values: np.ndarray) -> np.ndarray:
    """32 well mixed bits of each 64-bit number: the finish of SplitMix64, its upper half."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    upper: np.ndarray = ((values ^ (values >> np.uint64(31))) >> np.uint64(32)).astype(np.uint32).view(np.int32)
    return upper


def placed_dropout(x_TD: Tensor, mask: Mask) -> Tensor:
    """Drop each element as the mask says and scale the rest; differentiable."""
    return x_TD * draw_mask(mask, x_TD).to(x_TD.dtype).mul_(-mask.scale)
