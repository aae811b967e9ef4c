"""The `evaluate` part of a recipe."""

from __future__ import annotations

from pydantic import Field, field_validator

from lorafit.errors import LorafitError
from lorafit.settings import Settings


class EvaluateSettings(Settings):
    prompts: int = Field(8, ge=0)
    """Held-out prompts that the base and the tuned model answer after training; 0 for none."""

    while_training: int = Field(0, ge=0, le=64)
    """Held-out prompts that are also answered after each measurement of the held-out loss, to watch them change."""

    shots: int = Field(0, ge=0, le=16)
    """Also let the base answer with this many training examples before the prompt."""

    max_new_tokens: int = Field(128, ge=1)
    """The longest answer in tokens."""

    metrics: list[str] = Field(["exact_match", "token_f1"], min_length=1)
    """The scores of the answers: names of docs/metrics.md, or functions of your own as FILE.py:FUNCTION."""

    @field_validator("metrics")
    @classmethod
    def _are_known(cls, names: list[str]) -> list[str]:
        from lorafit.evaluate.metrics import checked  # with what metrics need, which parsing a recipe does not

        try:
            checked(names)
        except LorafitError as error:
            raise ValueError(str(error)) from None
        return names
