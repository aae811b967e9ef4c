"""The `evaluate` part of a recipe."""

from __future__ import annotations

from pydantic import Field

from lorafit.settings import Settings


class EvaluateSettings(Settings):
    prompts: int = Field(8, ge=0)
    """Held-out prompts that the base and the tuned model answer after training; 0 for none."""

    shots: int = Field(0, ge=0, le=16)
    """Also let the base answer with this many training examples before the prompt."""

    max_new_tokens: int = Field(128, ge=1)
    """The longest answer in tokens."""
