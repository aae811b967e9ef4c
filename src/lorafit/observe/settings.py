"""The `observe` part of a recipe."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from lorafit.settings import Settings


def _off(mode: Any) -> Any:
    return "off" if mode is False else mode  # which is what YAML takes a bare `off` for


class ObserveSettings(Settings):
    console: bool = True
    """Show progress in the terminal."""

    print_every: int = Field(10, ge=1)
    """Updates between two plain lines when the output is not a terminal."""

    tensorboard: Literal["auto", "always", "never"] = "auto"
    """Write the curves to the run's tensorboard/ folder; auto: when the package tensorboard is installed."""

    wandb: Annotated[Literal["off", "online", "offline"], BeforeValidator(_off)] = "off"
    """Send the curves, the recipe and the versions to Weights & Biases; offline: keep them in the run's wandb/ folder,
    for `wandb sync`."""

    wandb_project: str = Field("lorafit", min_length=1)
    """The project in Weights & Biases."""

    hardware_every: float = Field(2.0, ge=0.1)
    """Seconds between two samples of memory, processor and GPU in the run's hardware.jsonl."""
