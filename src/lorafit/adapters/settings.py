"""The `adapter` part of a recipe."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from lorafit.settings import Settings


class AdapterSettings(Settings):
    method: Literal["lora", "none"] = "lora"
    """lora trains an adapter on the frozen base; none trains every weight (full fine-tuning)."""

    variant: Literal["plain", "rslora", "dora", "pissa"] = "plain"
    """plain LoRA; rslora scales by alpha/sqrt(rank); dora learns magnitudes apart; pissa starts from the SVD."""

    rank: int = Field(16, ge=1)
    """Columns of the low-rank update; more can learn more and costs more."""

    alpha: float = Field(32.0, gt=0)
    """Scale of the update: it is multiplied by alpha/rank."""

    dropout: float = Field(0.0, ge=0.0, lt=1.0)
    """Share of the adapter's inputs dropped while training."""

    targets: Literal["all-linear", "attention", "attention-qv"] | list[str] | str = "all-linear"
    """Which layers: all-linear, attention, attention-qv, a list of names, or a regular expression."""

    train_bias: bool = False
    """Also train the biases of the base (the adapter can then not be switched off cleanly)."""

    train_norms: bool = False
    """Also train the normalisation layers of the base."""
