"""Optimizers: PyTorch's and bitsandbytes', on float32 masters where a trained parameter is kept in 16 bits."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Iterable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from lorafit.errors import TrainingError
from lorafit.memory import is_out_of_memory, one_line

Name = Literal["adamw", "adam", "sgd", "adamw-8bit", "paged-adamw"]
Build = Callable[[list[nn.Parameter], Name, float], torch.optim.Optimizer]


class MasterOptimizer:
    """An optimizer over float32 copies of the trained parameters.

    In 16 bits most updates are smaller than half the spacing of the weight and would be lost; float32 parameters (the
    adapters) are their own masters and cost nothing.
    """

    def __init__(
        self, parameters: Iterable[nn.Parameter], name: Name, weight_decay: float, build: Build | None = None
    ) -> None:
        """build: makes the optimizer over the masters, where PyTorch's and bitsandbytes' cannot be had (a plan)."""
        self.parameters = [p for p in parameters if p.requires_grad]
        if not self.parameters:
            raise TrainingError("No parameter is trained: the adapter is empty.")
        self.masters = [p if p.dtype == torch.float32 else nn.Parameter(p.detach().float()) for p in self.parameters]
        self.inner = (build or _build)(self.masters, name, weight_decay)
        self.torn = False  # whether an update was given up halfway
        # Weakly, as the parameters outlive the optimizer.
        collect = weakref.WeakMethod(self.collect_gradient)
        for parameter, master in zip(self.parameters, self.masters, strict=True):
            if master is not parameter:
                hook = functools.partial(_collect, collect, weakref.ref(master))
                parameter.register_post_accumulate_grad_hook(hook)

    def step(self, scaler: torch.amp.GradScaler) -> None:
        """Update the masters.

        When memory runs out for the state that a first step makes, nothing has been updated and the step can be taken
        again. Raises TrainingError where that cannot be known.
        """
        first = not self.inner.state
        try:
            scaler.step(self.inner)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if not first or not isinstance(self.inner, torch.optim.Adam | torch.optim.SGD):
                self.torn = True
                raise TrainingError(f"Memory ran out while the weights were updated ({one_line(error)}).") from error
            self.inner.state.clear()  # torch makes the state of all before it updates one
            raise

    def set_learning_rate(self, value: float) -> None:
        for group in self.inner.param_groups:
            group["lr"] = value

    def collect_gradient(self, master: Tensor, parameter: Tensor) -> None:
        """Add a gradient to its master's in float32 and free the 16-bit one: called as soon as the backward has it, so
        that the gradients never all stand twice."""
        assert parameter.grad is not None
        gradient = parameter.grad.float()
        master.grad = gradient if master.grad is None else master.grad.add_(gradient)
        parameter.grad = None

    @torch.no_grad()
    def publish(self) -> None:
        """Round the masters into the parameters that the model computes with."""
        for parameter, master in zip(self.parameters, self.masters, strict=True):
            if master is not parameter:
                parameter.copy_(master)

    def gradient_norm(self, maximum: float) -> Tensor:
        """The 2-norm over all gradients; they are scaled down to `maximum` when it is not 0."""
        if maximum:
            return nn.utils.clip_grad_norm_(self.masters, maximum)
        return nn.utils.get_total_norm([m.grad for m in self.masters if m.grad is not None])

    def clear(self) -> None:
        for tensor in (*self.parameters, *self.masters):
            tensor.grad = None


def _collect(collect: weakref.WeakMethod[Any], master: weakref.ref[Tensor], parameter: Tensor) -> None:
    method, into = collect(), master()
    if method is not None and into is not None:
        method(into, parameter)


def check_optimizer(name: Name, device: str) -> None:
    """Raises TrainingError for an optimizer that this device has not."""
    if name in ("adamw-8bit", "paged-adamw") and device != "cuda":
        raise TrainingError(
            f"train.optimizer: {name} keeps its state through bitsandbytes' CUDA kernels; this run is on {device}. "
            "Use adamw."
        )


def _build(parameters: list[nn.Parameter], name: Name, weight_decay: float) -> torch.optim.Optimizer:
    check_optimizer(name, parameters[0].device.type)
    if name == "sgd":
        return torch.optim.SGD(parameters, lr=0.0, weight_decay=weight_decay)
    if name == "adam":
        return torch.optim.Adam(parameters, lr=0.0, weight_decay=weight_decay, fused=True)
    if name == "adamw":
        return torch.optim.AdamW(parameters, lr=0.0, weight_decay=weight_decay, fused=True)
    import bitsandbytes

    build = bitsandbytes.optim.AdamW8bit if name == "adamw-8bit" else bitsandbytes.optim.PagedAdamW
    optimizer: torch.optim.Optimizer = build(parameters, lr=0.0, weight_decay=weight_decay)
    return optimizer
