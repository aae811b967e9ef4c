"""The `train` part of a recipe."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from lorafit.settings import Settings

Positive = Annotated[int, Field(ge=1)]
PositiveFloat = Annotated[float, Field(gt=0)]

RECOMPUTE = re.compile(r"none|attention|every-([2-9]|[1-9]\d+)|layers|offload")
RECOMPUTE_POLICIES = "none, attention, every-2 (or every-3, and so on), layers or offload"


def _is_a_policy(policy: str) -> str:
    if policy != "auto" and not RECOMPUTE.fullmatch(policy):
        raise ValueError(f"input should be auto, {RECOMPUTE_POLICIES}")
    return policy


class TrainSettings(Settings):
    optimizer: Literal["adamw", "adam", "sgd", "adamw-8bit", "paged-adamw"] = "adamw"
    """adamw (fused), adam, sgd; adamw-8bit and paged-adamw on CUDA."""

    batch_size: Positive = 16
    """Examples in one update."""

    learning_rate: PositiveFloat | Literal["auto"] = "auto"
    """The peak learning rate; auto is 2e-4 for an adapter and 2e-5 for full fine-tuning."""

    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    """How the learning rate goes on after warm-up."""

    warmup: float = Field(0.03, ge=0)
    """Warm-up: a share of the updates when below 1, a number of updates otherwise."""

    weight_decay: float = Field(0.0, ge=0)
    """Decoupled weight decay (Adam: L2)."""

    max_gradient_norm: float = Field(1.0, ge=0)
    """Clip the gradient to this norm; 0 for no clipping."""

    epochs: PositiveFloat = 3.0
    """Passes over the training rows; fractions allowed."""

    max_updates: Positive | None = None
    """Stop after this many updates."""

    tokens_per_pass: Positive | Literal["auto"] = "auto"
    """Tokens that go through the model at once: memory and speed, never the result; auto: as many as fit, up to 2,048
    (4,096 on CUDA)."""

    compile: Literal["auto", "always", "never"] = "auto"
    """Norms, gates and rotary embeddings through torch.compile, 5 to 20 seconds at the start; auto: in long runs."""

    share_prefixes: bool = True
    """Compute what examples of an update have in common at their beginning once: speed and memory, never the result."""

    recompute: Annotated[str, AfterValidator(_is_a_policy)] = "auto"
    """What is recomputed in the backward instead of kept, least memory last: none, attention, every-2 (or every-3, ...:
    each such layer), layers, offload (on CUDA: layers, with their inputs in the host's memory); auto: as little as
    fits; never the result."""

    validate_every: Positive | Literal["auto", "never"] = "auto"
    """Updates between two measurements of the held-out loss; auto measures about ten times a run."""

    patience: Positive | None = None
    """Stop when the held-out loss has not improved in this many measurements."""

    skip_non_finite: int = Field(3, ge=0)
    """Updates with a loss or gradient that is not finite may be left out so many times, each kept as evidence; one more
    stops the run."""

    checkpoint_every: Positive | Literal["auto", "never"] = "auto"
    """Updates between two checkpoints, from which `lorafit resume` goes on; auto: five minutes, or 20 times as long as
    writing one takes; one more when the run ends or is interrupted."""

    keep_last: Positive = 2
    """Checkpoints that are kept, the newest."""

    self_check: bool = True
    """Before training, compare loss and gradients of two examples with plain transformers + PEFT."""

    seed: int = Field(0, ge=0, lt=2**63)
    """Seeds the order of the rows, the adapter's start and dropout."""
