"""Wrong numbers: which samples and which layer a loss or gradient that is not finite came from."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lorafit.data.pack import make_batch
from lorafit.model.forward import Forward
from lorafit.records import Sample
from lorafit.train.optim import MasterOptimizer


@dataclass(frozen=True, slots=True)
class Evidence:
    """losses: of each sample alone, in nats a supervised token; where: a sentence with the first wrong layer."""

    losses: tuple[float, ...]
    where: str


def find_evidence(forward: Forward, samples: Sequence[Sample], optimizer: MasterOptimizer) -> Evidence:
    """Looks for what went wrong in an update that was not applied; its gradients are still there.

    The samples are computed one by one, without gradients and without dropout.
    """
    where = _wrong_gradient(forward.model, optimizer)
    optimizer.clear()
    losses, first = [], None
    training = forward.model.training
    forward.model.eval()
    with torch.no_grad(), _watched(forward.model) as found:
        for sample in samples:
            batch = make_batch([sample], len(sample), forward.packed)
            losses.append(forward(batch.rows[0]).item() / batch.supervised_tokens)
            if first is None and not math.isfinite(losses[-1]) and not found():
                first = f"every layer's output is finite, the loss is not ({sample.source})"
            elif first is None and found():
                first = f"the first layer that gives numbers which are not finite is {found()} ({sample.source})"
    forward.model.train(training)
    return Evidence(tuple(losses), first or where)


@contextlib.contextmanager
def _watched(model: nn.Module) -> Iterator[Callable[[], str | None]]:
    """Yields a function that names the first module, in the order of the forward, whose output was not finite."""
    found: list[str] = []

    def hook(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def look(module: nn.Module, inputs: Any, output: Any) -> None:
            tensors = [output] if isinstance(output, Tensor) else output if isinstance(output, tuple) else ()
            if not found and not all(_finite(tensor) for tensor in tensors if isinstance(tensor, Tensor)):
                weights = all(_finite(parameter) for parameter in module.parameters(recurse=False))
                found.append(name if weights else f"{name}, whose own weights are not finite")

        return look

    handles = [module.register_forward_hook(hook(name)) for name, module in model.named_modules() if name]
    try:
        yield lambda: found[0] if found else None
    finally:
        for handle in handles:
            handle.remove()


def _wrong_gradient(model: nn.Module, optimizer: MasterOptimizer) -> str:
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    # The backward goes from the last to the first.
    for parameter, master in zip(reversed(optimizer.parameters), reversed(optimizer.masters), strict=True):
        if master.grad is not None and not _finite(master.grad):
            return f"every layer's output is finite; the first gradient that is not is that of {names[id(parameter)]}"
    return "every layer's output and every gradient is finite: their sum overflowed"


def _finite(tensor: Tensor) -> bool:
    return not tensor.is_floating_point() or bool(torch.isfinite(tensor).all())
