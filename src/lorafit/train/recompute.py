"""Recompute policies: what is computed a second time in the backward so that it need not be kept until then.

    none        nothing
    attention   the attention of every layer; what its MLP keeps stays
    every-2     every second layer as a whole, beginning with the first (every-3: every third, and so on)
    layers      every layer as a whole; kept is each layer's input
    offload     as layers, the inputs kept in the host's memory (CUDA)

(Chen et al., "Training deep nets with sublinear memory cost", arXiv 1604.06174.) Every policy gives the same loss and
gradients: the adapter's dropout is a function of place (ops/dropout.py) and the base's own is off, so nothing is drawn
anew. On a 4-bit base the weights that a recomputation dequantises are handed on to the backward that follows it
(`SharedWeights`): two dequantisations of each weight and pass, as without recomputation, and one layer's weights more
memory at the peak. Layers whose forward is PEFT's own (DoRA) dequantise for themselves, three times.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.checkpoint import checkpoint
from transformers.modeling_layers import GradientCheckpointingLayer

from lorafit.adapters.dropout import PlacedDropout
from lorafit.errors import TrainingError
from lorafit.hardware import kind_of
from lorafit.model.quantize import SharedWeights, sharing_weights
from lorafit.train.settings import RECOMPUTE, RECOMPUTE_POLICIES


def check_recompute(policy: str, device: str) -> None:
    """Raises TrainingError for a policy that there is not, or that this device has not."""
    if not RECOMPUTE.fullmatch(policy):
        raise TrainingError(f"train.recompute: found {policy!r}; it should be {RECOMPUTE_POLICIES}")
    if policy == "offload" and device != "cuda":
        raise TrainingError(
            f"train.recompute: offload moves what is kept from the GPU to the host's memory; this run is on {device}. "
            "Use layers."
        )


@contextlib.contextmanager
def recomputing(model: Any, policy: str) -> Iterator[None]:
    """Within this block forwards with a gradient recompute as the policy says; afterwards the model is as before.

    Raises TrainingError for an unknown policy, for offload without CUDA, and for a model in which nothing is found to
    recompute.
    """
    check_recompute(policy, kind_of(next(model.parameters()).device))
    with _recomputed(model, _parts(model, policy), offload=policy == "offload"):
        yield


def decoder_layers(model: Any) -> list[nn.Module]:
    """The layers of the decoder in order: what transformers marks as such, else the longest list of like modules.

    model: a transformers model, or PEFT's round one. Raises TrainingError when there are none.
    """
    plain = model.get_base_model() if hasattr(model, "peft_config") else model
    decoder = plain.get_decoder() if hasattr(plain, "get_decoder") else plain
    layers = list(_outermost(decoder, GradientCheckpointingLayer))
    if not layers:
        # Outermost, as the experts of a layer may outnumber the layers.
        stacks = [list(stack.children()) for stack in _outermost(decoder, nn.ModuleList)]
        layers = max((s for s in stacks if len({type(module) for module in s}) == 1), key=len, default=[])
    if not layers:
        raise TrainingError(f"train.recompute: no layers were found in {type(plain).__name__}; use none.")
    return layers


def _outermost(module: nn.Module, kind: type[nn.Module]) -> Iterator[nn.Module]:
    for child in module.children():
        if isinstance(child, kind):
            yield child
        else:
            yield from _outermost(child, kind)


def _parts(model: Any, policy: str) -> list[nn.Module]:
    """The modules that the policy recomputes, each as a whole."""
    if policy == "none":
        return []
    layers = decoder_layers(model)
    if policy != "attention":
        # From the first on: the last is kept where it can be, as the backward needs it at once.
        return layers[:: int(policy.removeprefix("every-"))] if policy.startswith("every-") else layers
    # transformers calls the class so in every model, whatever the attribute is called.
    parts = [module for layer in layers for module in layer.children() if "Attention" in type(module).__name__]
    if not parts:
        raise TrainingError(f"train.recompute: {type(layers[0]).__name__} has no attention of its own; use layers.")
    return parts


@contextlib.contextmanager
def _recomputed(model: nn.Module, parts: list[nn.Module], offload: bool) -> Iterator[None]:
    drawing = any(isinstance(m, nn.Dropout) and not isinstance(m, PlacedDropout) and m.p > 0 for m in model.modules())
    shared = SharedWeights()
    with contextlib.ExitStack() as stack:
        for part in parts:
            stack.enter_context(sharing_weights(part, shared))
            forward = _Recomputed(part.forward, shared, offload, keeps_draws=drawing)
            stack.enter_context(_forward_of(part, forward))
        yield


@contextlib.contextmanager
def _forward_of(module: nn.Module, forward: Callable[..., Any]) -> Iterator[None]:
    """Another forward for this one module; hooks and class stay, and a forward of its own comes back."""
    own = vars(module).get("forward")
    module.forward = forward
    try:
        yield
    finally:
        del module.forward
        if own is not None:
            module.forward = own


class _Recomputed:
    """The forward of a module, keeping its input alone.

    keeps_draws: whether dropout that draws from torch's generator (never ours) has to draw the same again.
    """

    def __init__(self, forward: Callable[..., Any], shared: SharedWeights, offload: bool, keeps_draws: bool) -> None:
        self._forward = forward
        self._shared = shared
        self._offload = offload
        self._keeps_draws = keeps_draws

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not torch.is_grad_enabled():
            return self._forward(*args, **kwargs)
        # Tensors have to be positional to be kept the way autograd keeps its own: seen by hooks, freed with the graph.
        names = [name for name, value in kwargs.items() if isinstance(value, Tensor)]
        rest = {name: value for name, value in kwargs.items() if name not in names}

        def forward(*values: Any) -> Any:
            named = dict(zip(names, values[len(args) :], strict=True))
            return self._forward(*values[: len(args)], **named, **rest)

        values = (*args, *(kwargs[name] for name in names))
        with kept_on_host(values) if self._offload else contextlib.nullcontext():
            return checkpoint(
                forward,
                *values,
                use_reentrant=False,
                preserve_rng_state=self._keeps_draws,
                context_fn=lambda: (contextlib.nullcontext(), self._shared.recomputing()),
            )


def kept_on_host(values: tuple[Any, ...]) -> saved_tensors_hooks:
    """Hooks that keep the first floating-point tensor of `values` (a layer's input) in the host's memory.

    Pinned, so that neither copy makes the host wait; both are in the order of the device's stream.
    """
    place = next(_place(value) for value in values if isinstance(value, Tensor) and value.is_floating_point())

    def pack(tensor: Tensor) -> Tensor | tuple[torch.device, Tensor]:
        return (tensor.device, to_host(tensor)) if _place(tensor) == place else tensor

    def unpack(packed: Tensor | tuple[torch.device, Tensor]) -> Tensor:
        return packed if isinstance(packed, Tensor) else from_host(*packed)

    return saved_tensors_hooks(pack, unpack)


def to_host(tensor: Tensor) -> Tensor:
    """A copy in the host's memory, pinned where it comes from a GPU."""
    host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=tensor.is_cuda)
    return host.copy_(tensor, non_blocking=True)


def from_host(device: torch.device, host: Tensor) -> Tensor:
    """The copy on the device again."""
    return host.to(device, non_blocking=True)


def _place(tensor: Tensor) -> tuple[int, int]:
    # Not the address, which meta tensors have not.
    return tensor.untyped_storage()._cdata, int(tensor.storage_offset())
