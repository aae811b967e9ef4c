"""PEFT's dropout modules exchanged for ones whose mask depends on the tokens, not on how examples are packed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor, nn

from lorafit.ops.dropout import Mask, module_seed, placed_dropout


@dataclass(slots=True)
class DropoutPlace:
    """Where training is: the step sets it before each row, the dropout modules of the model read it."""

    seed: int = 0
    update: int = 0
    prefixes: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.uint64))


class PlacedDropout(nn.Dropout):
    """Dropout whose mask is a function of seed, update, module and prefix (ops/dropout.py)."""

    def __init__(self, p: float, name: str, place: DropoutPlace) -> None:
        super().__init__(p)
        self.name = name
        self.place = place

    def forward(self, x: Tensor) -> Tensor:
        """x: [..., D], its rows the tokens of the row that `place` names."""
        if not self.training or self.p == 0:
            return x
        return placed_dropout(x.reshape(-1, x.shape[-1]), self.mask()).view(x.shape)

    def mask(self) -> Mask:
        """The mask of this module at the place where training is."""
        place = self.place
        return Mask(self.p, module_seed(place.seed, place.update, self.name), place.prefixes)


def place_dropout(model: Any, place: DropoutPlace) -> None:
    """Exchange every adapter dropout of a PEFT model."""
    for name, module in model.named_modules():
        for adapter, dropout in getattr(module, "lora_dropout", {}).items():
            if isinstance(dropout, nn.Dropout):
                module.lora_dropout[adapter] = PlacedDropout(dropout.p, name, place)
