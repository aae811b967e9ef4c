"""PEFT's dropout modules exchanged for ones whose mask depends on the example, not on how examples are packed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from lorafit.ops.dropout import Mask, document_seed, placed_dropout


@dataclass(slots=True)
class DropoutPlace:
    """Where training is: the step sets it before each row, the dropout modules of the model read it."""

    seed: int = 0
    update: int = 0
    lengths: tuple[int, ...] = ()
    examples: tuple[int, ...] = ()


class PlacedDropout(nn.Dropout):
    """Dropout whose mask is a function of seed, update, module, example and position (ops/dropout.py)."""

    def __init__(self, p: float, name: str, place: DropoutPlace) -> None:
        super().__init__(p)
        self.name = name
        self.place = place

    def forward(self, x: Tensor) -> Tensor:
        """x: [..., D], its rows the documents that `place` names, one after another."""
        if not self.training or self.p == 0:
            return x
        mask = self.mask()
        return placed_dropout(x.reshape(-1, x.shape[-1]), mask.p, mask.lengths, mask.seeds).view(x.shape)

    def mask(self) -> Mask:
        """The mask of this module at the place where training is."""
        place = self.place
        seeds = tuple(document_seed(place.seed, place.update, self.name, example) for example in place.examples)
        return Mask(self.p, place.lengths, seeds)


def place_dropout(model: Any, place: DropoutPlace) -> None:
    """Exchange every adapter dropout of a PEFT model."""
    for name, module in model.named_modules():
        for adapter, dropout in getattr(module, "lora_dropout", {}).items():
            if isinstance(dropout, nn.Dropout):
                module.lora_dropout[adapter] = PlacedDropout(dropout.p, name, place)
