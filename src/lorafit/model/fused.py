"""Faster norms, gated MLPs and rotary embeddings in a transformers decoder, found by structure and proven one by one.

A module is replaced by changing the class of that instance to a subclass made here; it gets no state, so saving and
adapters see what they saw before. It is accepted only if output and input gradient are those of the original on random
input: with plain functions in float32 within 1e-5, and with the functions that will run in the model's own type within
a few of its roundings. Projections, which may be quantised or dropped out, are stood in for by small ones meanwhile.

The rotary embedding is a function that the attention module looks up by name in its file. The library's file is left as
it is: the attention's own forward is rebuilt over a copy of that file's names, with ours in place of that one.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import inspect
import math
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from lorafit.hardware import kind_of
from lorafit.ops import elementwise
from lorafit.ops.elementwise import Activation, Gated, Kernels, RmsNorm, Rotary

ROTARY = "apply_rotary_pos_emb"
ACTIVATIONS: tuple[Activation, ...] = ("silu", "gelu_tanh")
# (what is added to the weight, is it rounded late): Llama, Gemma, OLMo 2
NORMS = ((0.0, False), (1.0, True), (0.0, True))
# Largest difference, relative to the largest element: in 16 bits the orders of rounding may differ.
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 3e-2, torch.float16: 4e-3}
# Large enough to run the compiled functions, and sizes that differ: torch.compile takes equal ones to be equal always.
ROWS = 67
STAND_INS = {"gate_proj": (26, 134), "up_proj": (26, 134), "gate_up_proj": (26, 268), "down_proj": (134, 26)}
# What strange modules raise on input that is not theirs: they are left alone.
REFUSALS = (RuntimeError, TypeError, ValueError, AttributeError, IndexError, KeyError)


@dataclass(frozen=True, slots=True)
class Fused:
    """How many modules were replaced; `reason`: why the functions are not compiled though that was asked for."""

    norms: int = 0
    gated: int = 0
    rotary: int = 0
    compiled: bool = False
    reason: str | None = None

    def sentence(self) -> str:
        how = "fused and compiled" if self.compiled else "fused"
        return f"{self.norms} norms, {self.gated} gated activations and {self.rotary} rotary embeddings {how}"


class _Swapped:
    """Marks the classes made here. plain: the class before."""

    plain: ClassVar[type[nn.Module]]
    kernels: ClassVar[Kernels]


class _FusedNorm(_Swapped):
    offset: ClassVar[float]
    round_late: ClassVar[bool]

    def forward(self: Any, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        weight = self.weight
        other = weight.requires_grad or weight.dtype != x.dtype or torch.is_autocast_enabled(kind_of(x.device))
        if args or kwargs or other or _hooked(self):
            return super().forward(x, *args, **kwargs)  # type: ignore[misc, no-any-return]
        product: Tensor = RmsNorm.apply(x, weight, _epsilon(self), self.offset, self.round_late, self.kernels)
        return product


class _FusedGated(_Swapped):
    activation: ClassVar[Activation]

    def forward(self: Any, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        act = _activation_module(self)
        if args or kwargs or _hooked(self) or _hooked(act) or torch.is_autocast_enabled(kind_of(x.device)):
            return super().forward(x, *args, **kwargs)  # type: ignore[misc, no-any-return]
        if hasattr(self, "gate_up_proj"):
            gate, up = self.gate_up_proj(x).chunk(2, dim=-1)
        else:
            gate, up = self.gate_proj(x), self.up_proj(x)
        alike = gate.dtype == up.dtype and gate.shape == up.shape
        product = Gated.apply(gate, up, self.activation, self.kernels) if alike else act(gate) * up
        return self.down_proj(product)  # type: ignore[no-any-return]


def fuse(model: nn.Module, compile: bool) -> Fused:
    """Replace what can be replaced; `unfuse` undoes it. A model that is fused already is fused anew.

    compile: build the functions with torch.compile, which takes seconds (docs/performance.md) and pays in long runs.
    """
    unfuse(model)
    dtype, device = _kind(model)
    if dtype not in TOLERANCE:
        return Fused()
    kernels = elementwise.compiled_kernels() if compile else elementwise.PLAIN
    reason = elementwise.why_not_compiled(kernels, device, dtype) if compile else None
    if reason is not None:
        kernels = elementwise.PLAIN
    widths = {2 * b.numel() for name, b in model.named_buffers() if name.endswith("inv_freq")}
    counts = {"norm": 0, "gated": 0, "rotary": 0}
    planned = device.type == "meta"
    device = torch.device("cpu") if planned else device  # where there is nothing to compare, by its like on the CPU
    alike: dict[Any, Callable[..., type[nn.Module]] | None] = {}
    with torch.enable_grad(), torch.autocast(kind_of(device), enabled=False):
        for module in model.modules():
            kind, candidates = _candidates(module, widths)
            if not candidates:
                continue
            looks = (type(module), _epsilon(module), *(p.shape for p in module._parameters.values() if p is not None))
            best = alike[looks] if planned and looks in alike else _best(kind, module, candidates, dtype, device)
            alike[looks] = best
            if best is None:
                continue
            # Only the one chosen is compiled.
            if kernels is elementwise.PLAIN or _misfit(kind, module, best, [(dtype, kernels)], device) < math.inf:
                module.__class__ = best(kernels=kernels)
                counts[kind] += 1
    return Fused(counts["norm"], counts["gated"], counts["rotary"], compile and reason is None, reason)


def unfuse(model: nn.Module) -> None:
    """Every module of the model has its own class again."""
    for module in model.modules():
        if isinstance(module, _Swapped):
            module.__class__ = cast(Any, module.plain)


@contextlib.contextmanager
def unfused(model: nn.Module) -> Iterator[None]:
    """Within this block every module has its own class; afterwards what was replaced is so again."""
    swapped = {module: type(module) for module in model.modules() if isinstance(module, _Swapped)}
    unfuse(model)
    try:
        yield
    finally:
        for module, fused in swapped.items():
            module.__class__ = fused


def _kind(model: nn.Module) -> tuple[torch.dtype, torch.device]:
    """The type and device that frozen norms and embeddings compute with: those of the first frozen float parameter."""
    floats = [p for p in model.parameters() if p.is_floating_point()]
    first = next((p for p in floats if not p.requires_grad), floats[0])
    return first.dtype, first.device


def _candidates(module: nn.Module, widths: set[int]) -> tuple[str, list[Callable[..., type[nn.Module]]]]:
    """What this module may be by its structure, and makers of the classes to try, which want `kernels`."""
    plain: Any = type(module)  # Any: functools.cache is typed for what mypy takes to be hashable
    if "forward" in vars(module) or _hooked(module):
        return "", []  # somebody else has replaced its forward or looks in
    if _is_norm(module):
        return "norm", [partial(_make, plain, _FusedNorm, offset=o, round_late=late) for o, late in NORMS]
    if _is_gated(module) and not _hooked(_activation_module(module)):
        return "gated", [partial(_make, plain, _FusedGated, activation=name) for name in ACTIVATIONS]
    if getattr(module, "head_dim", None) in widths and _rotary_of(plain) is not None:
        return "rotary", [partial(_make_rotary, plain)]
    return "", []


def _best(
    kind: str,
    module: nn.Module,
    candidates: list[Callable[..., type[nn.Module]]],
    dtype: torch.dtype,
    device: torch.device,
) -> Callable[..., type[nn.Module]] | None:
    """The candidate nearest to the module, None where none is near enough."""
    plainly = [(torch.float32, elementwise.PLAIN), (dtype, elementwise.PLAIN)]
    misfits = [_misfit(kind, module, candidate, plainly, device) for candidate in candidates]
    return None if min(misfits) == math.inf else candidates[misfits.index(min(misfits))]


def _is_norm(module: nn.Module) -> bool:
    """No children, no buffers, a frozen weight [D] and nothing else, and an epsilon."""
    own = dict(module.named_parameters(recurse=False))
    alone = own.keys() == {"weight"} and not module._modules and not module._buffers
    return (
        alone and own["weight"].dim() == 1 and not own["weight"].requires_grad and isinstance(_epsilon(module), float)
    )


def _is_gated(module: nn.Module) -> bool:
    names = module._modules.keys()
    projections = "down_proj" in names and ("gate_up_proj" in names or {"gate_proj", "up_proj"} <= names)
    return projections and isinstance(_activation_module(module), nn.Module)


def _epsilon(module: Any) -> Any:
    return getattr(module, "variance_epsilon", getattr(module, "eps", None))


def _activation_module(module: Any) -> Any:
    return getattr(module, "act_fn", getattr(module, "activation_fn", None))


def _hooked(module: nn.Module) -> bool:
    return bool(
        module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or module._backward_pre_hooks
    )


def _rotary_of(attention: type[nn.Module]) -> Callable[..., Any] | None:
    """The rotary function that this class's forward calls, when it is a plain function that calls one by that name."""
    forward = attention.forward
    if not isinstance(forward, types.FunctionType) or ROTARY not in forward.__code__.co_names:
        return None
    function = forward.__globals__.get(ROTARY)
    if not callable(function):
        return None
    names = list(inspect.signature(function).parameters)
    return function if names[:4] == ["q", "k", "cos", "sin"] else None


def _fast_rotary(original: Callable[..., Any], kernels: Kernels) -> Callable[..., Any]:
    """The same function, ours where heads are turned whole and in one type, else the original."""

    @functools.wraps(original)
    def apply_rotary_pos_emb(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor, *args: Any, **kwargs: Any) -> Any:
        tensors = all(isinstance(t, Tensor) for t in (q, k, cos, sin))
        whole = not args and not kwargs and tensors and q.dim() == k.dim() == 4 and cos.dim() == sin.dim() == 3
        if (
            not whole
            or not q.dtype == k.dtype == cos.dtype == sin.dtype
            or not q.shape[-1] == k.shape[-1] == cos.shape[-1] == sin.shape[-1]
            or cos.requires_grad
            or sin.requires_grad
        ):
            return original(q, k, cos, sin, *args, **kwargs)
        return Rotary.apply(q, k, cos, sin, kernels)

    return apply_rotary_pos_emb


@functools.cache
def _make(plain: Any, mixin: Any, *, kernels: Kernels, **constants: Any) -> type[nn.Module]:
    body = {"plain": plain, "kernels": kernels, "__module__": plain.__module__, "__doc__": plain.__doc__, **constants}
    return cast(type[nn.Module], type(f"Fused{plain.__name__}", (mixin, plain), body))


@functools.cache
def _make_rotary(plain: Any, *, kernels: Kernels) -> type[nn.Module]:
    before = cast(types.FunctionType, plain.forward)
    fast = _fast_rotary(cast(Callable[..., Any], _rotary_of(plain)), kernels)
    names = {**before.__globals__, ROTARY: fast}
    forward = types.FunctionType(before.__code__, names, before.__name__, before.__defaults__, before.__closure__)
    forward.__kwdefaults__ = before.__kwdefaults__
    functools.update_wrapper(forward, before)
    body = {"plain": plain, "kernels": kernels, "forward": forward}
    body |= {"__module__": plain.__module__, "__doc__": plain.__doc__}
    return cast(type[nn.Module], type(f"Fused{plain.__name__}", (_Swapped, plain), body))


def _misfit(
    kind: str,
    module: nn.Module,
    candidate: Callable[..., type[nn.Module]],
    trials: list[tuple[torch.dtype, Kernels]],
    device: torch.device,
) -> float:
    """Infinity when the candidate is refused; else its mean differences, summed over the trials.

    They tell candidates apart that differ only in where they round.
    """
    plain, off = type(module), 0.0
    trial = {"norm": _try_norm, "gated": _try_gated, "rotary": _try_rotary}[kind]
    for trial_type, functions in trials:
        try:
            wanted = trial(module, plain, trial_type, device)
            found = trial(module, candidate(kernels=functions), trial_type, device)
        except REFUSALS:
            return math.inf
        for one, other in zip(found, wanted, strict=True):
            if one.shape != other.shape or one.dtype != other.dtype:
                return math.inf
            difference = (one.double() - other.double()).abs()
            # Written so that a difference that is not a number refuses.
            if not difference.max().item() <= TOLERANCE[trial_type] * other.abs().max().item():
                return math.inf
            off += difference.mean().item()
    return off


def _try_norm(module: nn.Module, to: type[nn.Module], dtype: torch.dtype, device: torch.device) -> list[Tensor]:
    """Output and input gradient of a copy with a random weight and the class `to`."""
    draw = torch.Generator().manual_seed(0)
    columns = cast(Tensor, module.weight).numel()
    stand_in = copy.copy(module)
    weight = torch.randn(columns, generator=draw).to(device, dtype)
    stand_in._parameters = {"weight": nn.Parameter(weight, requires_grad=False)}
    stand_in.__class__ = to
    return _run(stand_in, _rows(ROWS, columns, draw, dtype, device), draw)


def _try_gated(module: nn.Module, to: type[nn.Module], dtype: torch.dtype, device: torch.device) -> list[Tensor]:
    """Output and input gradient of a copy with small projections and the class `to`."""
    draw = torch.Generator().manual_seed(0)
    stand_in = copy.copy(module)
    stand_in._modules = dict(module._modules)
    for name, (inputs, outputs) in STAND_INS.items():
        if name in stand_in._modules:
            linear = nn.Linear(inputs, outputs, bias=False, device="meta")  # draws no random numbers
            linear.weight = nn.Parameter(_rows(outputs, inputs, draw, dtype, device) / inputs**0.5, requires_grad=False)
            stand_in._modules[name] = linear
    stand_in.__class__ = to
    return _run(stand_in, 2 * _rows(ROWS, STAND_INS["gate_proj"][0], draw, dtype, device), draw)


def _try_rotary(module: nn.Module, to: type[nn.Module], dtype: torch.dtype, device: torch.device) -> list[Tensor]:
    """Turned queries and keys and their gradients, by the function that the forward of `to` calls."""
    draw = torch.Generator().manual_seed(0)
    width = cast(int, module.head_dim)

    def heads(count: int) -> Tensor:
        return _rows(ROWS, count * width, draw, dtype, device).view(1, ROWS, count, width).transpose(1, 2)

    q, k = heads(5).requires_grad_(), heads(3).requires_grad_()
    cos, sin = (_rows(ROWS, width, draw, dtype, device)[None] for _ in range(2))
    turned = cast(Callable[..., Any], _rotary_of(to))(q, k, cos, sin)
    slopes = [torch.randn(t.shape, generator=draw).to(t) for t in turned]  # in the layout of attention's gradients
    return [*(t.detach() for t in turned), *torch.autograd.grad(turned, [q, k], slopes)]


def _rows(rows: int, columns: int, draw: torch.Generator, dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.randn(rows, columns, generator=draw).to(device, dtype)


def _run(module: nn.Module, x: Tensor, draw: torch.Generator) -> list[Tensor]:
    """Output and input gradient, the latter for a random gradient of the output."""
    x.requires_grad_()
    y = module(x)
    return [y.detach(), *torch.autograd.grad(y, x, torch.randn(y.shape, generator=draw).to(y))]
