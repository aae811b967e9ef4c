"""Before a run trains: do loss and gradients of the fast path equal those of the plain one, on this model, here?

The plain path is the reference of the tests: PEFT's own layers, the model's own modules, attention and logits, one
example a pass. The adapter's B starts at zero, which would hide A's gradient; for the check it is random, and put back
after.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lorafit.adapters.dropout import DropoutPlace
from lorafit.adapters.fast import make_fast, make_plain
from lorafit.data.pack import make_row
from lorafit.errors import SelfCheckFailed, TrainingError
from lorafit.memory import freed_memory_goes_back
from lorafit.model.forward import Forward
from lorafit.model.fused import unfused
from lorafit.records import Sample

# (loss, all gradients together, one gradient): largest relative differences. In 16 bits both paths round, each in its
# own order; a missing scale, a neighbour attended to or a wrong mask is off by far more.
TOLERANCE = {
    torch.float32: (1e-4, 1e-3, 1e-2),
    torch.bfloat16: (2e-2, 1e-1, 5e-1),
    torch.float16: (5e-3, 5e-2, 3e-1),
}
EXAMPLES, LONGEST = 2, 256


@dataclass(frozen=True, slots=True)
class SelfCheck:
    """Relative differences, fast against plain: of the loss, of all gradients (Frobenius), of the worst gradient."""

    loss: float
    gradients: float
    worst: float
    worst_name: str
    tokens: int

    def sentence(self) -> str:
        return (
            f"self-check on {self.tokens} tokens: loss and gradients are those of plain transformers + PEFT "
            f"(relative difference {self.loss:.0e} and {self.gradients:.0e})"
        )


def self_check(forward: Forward, samples: Sequence[Sample], place: DropoutPlace, dtype: torch.dtype) -> SelfCheck:
    """Compare both paths on two short examples.

    Raises SelfCheckFailed, naming the parameter that is furthest off, when they differ by more than rounding, and
    TrainingError when the plain loss is not finite.
    """
    chosen = _short(samples)
    model = forward.model
    named = {n: p for n, p in model.named_parameters() if p.requires_grad}
    if not hasattr(model, "peft_config"):
        # Of a fully trained model the small parameters will do: all that is above them shows in their gradients.
        named = {n: p for n, p in named.items() if p.dim() == 1} or named
    training = model.training
    model.train()
    # Else temporaries of a check's odd sizes leave the heap in pieces, larger than training needs it.
    with freed_memory_goes_back(), _random_b(model):
        with forward.running():
            fast_loss, fast = _outcome(forward, [chosen] if forward.packed else [[s] for s in chosen], named, place)
        make_plain(model)
        try:
            with unfused(model):
                plain_loss, plain = _outcome(Forward(model, packed=False), [[s] for s in chosen], named, place)
        finally:
            make_fast(model)
            model.train(training)
    if not math.isfinite(plain_loss):
        raise TrainingError(
            f"Plain transformers gives loss {plain_loss} on this data: this model does not compute in this dtype. "
            "Try model.dtype=float32 or bfloat16."
        )
    sizes = {name: float(plain[name].norm()) for name in named}
    differences = {name: float((fast[name] - plain[name]).norm()) for name in named}
    whole = sum(size**2 for size in sizes.values()) ** 0.5
    # A gradient that is nothing but rounding (of a key's bias, say) is compared with a thousandth of the largest.
    least = 1e-3 * max(sizes.values())
    relative = {name: differences[name] / max(sizes[name], least, 1e-30) for name in named}
    worst = max(relative, key=lambda name: relative[name])
    found = SelfCheck(
        loss=abs(fast_loss - plain_loss) / max(abs(plain_loss), 1e-30),
        gradients=sum(d**2 for d in differences.values()) ** 0.5 / max(whole, 1e-30),
        worst=relative[worst],
        worst_name=worst,
        tokens=sum(len(s) for s in chosen),
    )
    bounds = TOLERANCE[dtype]
    # Written so that a difference that is not a number fails.
    if not (found.loss <= bounds[0] and found.gradients <= bounds[1] and found.worst <= bounds[2]):
        raise SelfCheckFailed(
            f"The fast step does not compute what the plain one does on this model: loss off by {found.loss:.1e}, "
            f"gradients by {found.gradients:.1e} (relative), the worst in {worst} ({found.worst:.1e}).\n"
            "Nothing was trained. Please report this; --no-self-check trains all the same."
        )
    return found


def _short(samples: Sequence[Sample]) -> list[Sample]:
    """Two of the first samples that are short and yet long enough to mean something; the shortest when none are."""
    by_length = sorted(samples[:256], key=len)
    fitting = [s for s in by_length if 16 <= len(s) <= LONGEST] or by_length
    return fitting[:EXAMPLES]


def _outcome(
    forward: Forward, groups: Sequence[Sequence[Sample]], named: dict[str, nn.Parameter], place: DropoutPlace
) -> tuple[float, dict[str, Tensor]]:
    """Loss per supervised token and its gradients, the groups one row each."""
    supervised = sum(s.supervised_tokens for group in groups for s in group)
    total, gradients = 0.0, {name: torch.zeros_like(p, dtype=torch.float32) for name, p in named.items()}
    for group in groups:
        row = make_row(group)
        place.update, place.prefixes = 0, row.prefixes
        loss = forward(row) / supervised
        made = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
        for name, gradient in zip(named, made, strict=True):
            if gradient is not None:
                gradients[name] += gradient
        total += loss.item()
    return total, gradients


@contextlib.contextmanager
def _random_b(model: Any) -> Iterator[None]:
    kept = {}
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".lora_B." in name:
                kept[name] = parameter.detach().clone()
                parameter.add_(0.02 * torch.randn(parameter.shape, generator=draw).to(parameter))
    try:
        yield
    finally:
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if name in kept:
                    parameter.copy_(kept[name])
