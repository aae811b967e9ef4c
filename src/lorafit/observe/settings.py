"""The `observe` part of a recipe."""

from __future__ import annotations

from pydantic import Field

from lorafit.settings import Settings


class ObserveSettings(Settings):
    console: bool = True
    """Show progress in the terminal."""

    print_every: int = Field(10, ge=1)
    """Updates between two plain lines when the output is not a terminal."""
