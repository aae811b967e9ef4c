"""The `data` part of a recipe."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from lorafit.settings import Settings

Share = Annotated[float, Field(ge=0.0, le=0.5)]


class DataSettings(Settings):
    train: str = Field(min_length=1)
    """The training file: JSON or JSONL in Alpaca or messages form, or `builtin`."""

    held_out: Share | str = 0.05
    """Held-out rows: a file, or the share of the training file to split off by a hash of the prompt (0 for none)."""

    max_length: int = Field(2048, ge=8)
    """The longest sample in tokens."""

    too_long: Literal["cut", "drop", "error"] = "cut"
    """What to do with a longer sample: cut its end, drop it (counted), or stop."""

    template: str = "auto"
    """The chat template: auto (the tokenizer's, else human-assistant), human-assistant, alpaca, chatml, or a file."""

    bad_rows: Literal["error", "drop"] = "error"
    """What to do with rows that cannot be read: stop and name them, or drop them into rejected.jsonl."""

    limit: int | None = Field(None, ge=1)
    """Use only this many training rows, drawn by the seed."""

    @field_validator("held_out", mode="before")
    @classmethod
    def _share(cls, value: Any) -> Any:
        # YAML reads 5e-2 as a text, and a text would be the name of a file.
        try:
            return float(value) if isinstance(value, str) else value
        except ValueError:
            return value
