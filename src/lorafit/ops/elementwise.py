"""The elementwise work of a decoder over frozen weights: RMS norm, gated activation, rotary embedding.

    norm       y = x r w',  r = 1 / sqrt(mean(x^2) + eps)                 (RMSNorm, arXiv 1910.07467, equation 4)
               dx = r (g w' - x r mean(g w' x r))                         w' = w (Llama) or 1 + w (Gemma)
    gated      h = act(gate) up                                           (GLU variants, arXiv 2002.05202, equation 6)
               dup = g act(gate)       dgate = g up act'(gate)
    rotary     y1 = x1 c1 - x2 s1      y2 = x2 c2 + x1 s2                 (RoFormer, arXiv 2104.09864, equation 34,
               dx1 = g1 c1 + g2 s2     dx2 = g2 c2 - g1 s1                 the two halves of a head as its pairs)

Kept for the backward: the norm's input and a float32 a row; gate and up; of the rotary embedding nothing but the cosine
and sine, which all layers share. Who reads a norm or a gated product need not keep it (ops/lora_linear.py): it says how
it is made again of what is kept anyway (`Origin`). No gradient is made for weights: these functions are for frozen
ones. The plain functions round to 16 bits where transformers does. torch.compile makes one pass over memory of each of
them and keeps float32 in between.
Shapes: N rows, D columns; B batch, T tokens, H heads, D head dimension, R = D / 2.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import gelu, silu

Activation = Literal["silu", "gelu_tanh"]
# Below this many elements a plain call is as fast, and short rows (generation, probes) cost no compilation.
WORTH_COMPILING = 8192
ORIGIN = "lorafit_origin"


def norm(x_ND: Tensor, weight_D: Tensor, eps: float, offset: float, round_late: bool) -> tuple[Tensor, Tensor]:
    """(RMS norm [N, D], 1 / RMS [N, 1] in float32). round_late: to x's type after the weight (Gemma), not before."""
    wide_ND = x_ND.float()
    inverse_N1 = torch.rsqrt(wide_ND.pow(2).mean(-1, keepdim=True) + eps)
    normed_ND = wide_ND * inverse_N1
    if round_late:
        return (normed_ND * (weight_D.float() + offset)).to(x_ND.dtype), inverse_N1
    return normed_ND.to(x_ND.dtype) * (weight_D + offset), inverse_N1


def norm_back(
    gradient_ND: Tensor, x_ND: Tensor, inverse_N1: Tensor, weight_D: Tensor, offset: float, round_late: bool
) -> Tensor:
    """The gradient of x [N, D]."""
    if round_late:
        slope_ND = gradient_ND.float() * (weight_D.float() + offset)
    else:
        slope_ND = (gradient_ND * (weight_D + offset)).float()
    normed_ND = x_ND.float() * inverse_N1
    along_N1 = (slope_ND * normed_ND).mean(-1, keepdim=True)
    return ((slope_ND - normed_ND * along_N1) * inverse_N1).to(x_ND.dtype)


def gated(gate_ND: Tensor, up_ND: Tensor, activation: Activation) -> Tensor:
    """act(gate) * up, [N, D]."""
    return _act(gate_ND, activation) * up_ND


def gated_back(gradient_ND: Tensor, gate_ND: Tensor, up_ND: Tensor, activation: Activation) -> tuple[Tensor, Tensor]:
    """The gradients of gate and up, [N, D] each."""
    slope_ND = gradient_ND * up_ND
    if activation == "silu":
        slope_ND = torch.ops.aten.silu_backward(slope_ND, gate_ND)
    else:
        slope_ND = torch.ops.aten.gelu_backward(slope_ND, gate_ND, approximate="tanh")
    return slope_ND, gradient_ND * _act(gate_ND, activation)


def _act(gate_ND: Tensor, activation: Activation) -> Tensor:
    return silu(gate_ND) if activation == "silu" else gelu(gate_ND, approximate="tanh")


def rotate(x_BTHD: Tensor, cos_BTD: Tensor, sin_BTD: Tensor) -> Tensor:
    """Each head turned by the angles of its position, [B, T, H, D]."""
    (x1, x2), (c1, c2), (s1, s2) = _halves(x_BTHD), _halves(cos_BTD[:, :, None]), _halves(sin_BTD[:, :, None])
    return torch.cat([x1 * c1 - x2 * s1, x2 * c2 + x1 * s2], -1)


def rotate_back(gradient_BTHD: Tensor, cos_BTD: Tensor, sin_BTD: Tensor) -> Tensor:
    """The gradient of x, [B, T, H, D]."""
    (g1, g2), (c1, c2), (s1, s2) = _halves(gradient_BTHD), _halves(cos_BTD[:, :, None]), _halves(sin_BTD[:, :, None])
    return torch.cat([g1 * c1 + g2 * s2, g2 * c2 - g1 * s1], -1)


def _halves(x: Tensor) -> tuple[Tensor, Tensor]:
    half = x.shape[-1] // 2
    return x[..., :half], x[..., half:]


@dataclass(frozen=True, slots=True)
class Kernels:
    """The six functions above, plain or compiled."""

    norm: Callable[..., tuple[Tensor, Tensor]]
    norm_back: Callable[..., Tensor]
    gated: Callable[..., Tensor]
    gated_back: Callable[..., tuple[Tensor, Tensor]]
    rotate: Callable[..., Tensor]
    rotate_back: Callable[..., Tensor]


PLAIN = Kernels(norm, norm_back, gated, gated_back, rotate, rotate_back)


class _Compiled:
    """A function of tensors compiled at its first large call, one program for all lengths."""

    def __init__(self, plain: Callable[..., Any]) -> None:
        self._plain = plain
        self._compiled = torch.compile(plain, fullgraph=True, dynamic=True)

    def __call__(self, *args: Any) -> Any:
        # Inference mode would be compiled again for itself.
        small = args[0].numel() < WORTH_COMPILING or torch.is_inference_mode_enabled()
        if small:
            return self._plain(*args)
        # Detached: torch.compile would build anew for each way in which its input is a view of something.
        return self._compiled(*(a.detach() if isinstance(a, Tensor) else a for a in args))


@functools.cache
def compiled_kernels() -> Kernels:
    """The functions through torch.compile: built when first called with large tensors, kept on disk by torch."""
    return Kernels(**{field.name: _Compiled(getattr(PLAIN, field.name)) for field in fields(Kernels)})


def why_not_compiled(kernels: Kernels, device: torch.device, dtype: torch.dtype) -> str | None:
    """Build one of the functions as a trial: None when it can be done here, else the reason in a sentence's words."""
    if device.type not in ("cpu", "cuda"):
        return f"torch.compile is not used on {device.type}"
    # Sizes that differ from one another: torch.compile takes equal ones to be equal always.
    x_ND = torch.ones(67, 131, dtype=dtype, device=device)
    try:
        with torch.no_grad():
            kernels.norm(x_ND, x_ND[0].clone(), 1e-6, 0.0, False)
    except (RuntimeError, OSError, ImportError) as error:  # no compiler, no Triton, a folder that cannot be written
        return f"torch.compile failed ({type(error).__name__}: {' '.join(str(error).split())[:160]})"
    return None


class Remade:
    """An output of a function, made again in the backward: once for all who ask, until the function's own backward.

    That one comes after all who ask. Where a backward ends before it (`inputs=`), the output stays until another gets
    there or the graph goes.
    """

    def __init__(self, make: Callable[..., Tensor]) -> None:
        self._make = make  # holds no tensors: recomputation and hooks have to see them
        self._made: Tensor | None = None

    def of(self, *parts: Tensor) -> Tensor:
        if self._made is None:
            self._made = self._make(*parts)
        return self._made

    def drop(self) -> None:
        self._made = None


@dataclass(frozen=True, slots=True)
class Origin:
    """How an output is made again: `remade.of(*parts)`, bit for bit. An attribute of the output, not of its views."""

    parts: tuple[Tensor, ...]
    remade: Remade
    hooks: object


def _give_origin(output: Tensor, remade: Remade, *parts: Tensor) -> None:
    """The output has to be a view: torch then refuses it where it was written to."""
    setattr(output, ORIGIN, Origin(parts, remade, _hooks()))


def origin_of(x: Tensor) -> Origin | None:
    """How x is made again of parts that are kept anyway; None where there is nothing but x."""
    origin: Origin | None = getattr(x, ORIGIN, None)
    # An x from outside a checkpoint is kept by it, and may come back for the recomputation without its attributes.
    return origin if origin is not None and origin.hooks == _hooks() else None


def _hooks() -> object:
    """The hooks that what is saved now goes through, such as a checkpoint's; None without."""
    return torch._C._autograd._top_saved_tensors_default_hooks(True)


class RmsNorm(torch.autograd.Function):
    """y = rms_norm(x [..., D], weight [D], eps, offset, round_late, kernels), as `norm` says."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, eps: float, offset: float, round_late: bool, kernels: Kernels
    ) -> Tensor:
        weight_D = weight.detach()  # a Parameter would be compiled for its very size
        make = functools.partial(_normed, eps=eps, offset=offset, round_late=round_late, kernels=kernels)
        y_ND, inverse_N1 = make(x, weight_D)
        y = y_ND.view(x.shape)
        ctx.save_for_backward(x, inverse_N1, weight_D)
        ctx.offset, ctx.round_late, ctx.kernels = offset, round_late, kernels
        ctx.remade = Remade(lambda *parts: make(*parts)[0])
        if ctx.needs_input_grad[0]:  # else x is not kept
            _give_origin(y, ctx.remade, x, weight_D)
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        ctx.remade.drop()
        x, inverse_N1, weight_D = ctx.saved_tensors
        gradient_ND, x_ND = gradients[0].reshape(-1, x.shape[-1]), x.detach().reshape(-1, x.shape[-1])
        dx_ND = ctx.kernels.norm_back(gradient_ND, x_ND, inverse_N1, weight_D, ctx.offset, ctx.round_late)
        return dx_ND.view(x.shape), None, None, None, None, None


def _normed(
    x: Tensor, weight_D: Tensor, eps: float, offset: float, round_late: bool, kernels: Kernels
) -> tuple[Tensor, Tensor]:
    return kernels.norm(x.detach().reshape(-1, x.shape[-1]), weight_D, eps, offset, round_late)


class Gated(torch.autograd.Function):
    """h = gated(gate [..., D], up [..., D], activation, kernels); gate and up of one shape and type."""

    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor, activation: Activation, kernels: Kernels) -> Tensor:
        ctx.save_for_backward(gate, up)
        ctx.activation, ctx.kernels = activation, kernels
        ctx.remade = Remade(functools.partial(_product, activation=activation, kernels=kernels))
        product = _product(gate, up, activation, kernels)
        if any(ctx.needs_input_grad):  # else gate and up are not kept
            _give_origin(product, ctx.remade, gate, up)
        return product

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        ctx.remade.drop()
        gate, up = ctx.saved_tensors
        d_gate, d_up = ctx.kernels.gated_back(*_flat(gradients[0], gate, up), ctx.activation)
        return d_gate.view(gate.shape), d_up.view(up.shape), None, None


def _product(gate: Tensor, up: Tensor, activation: Activation, kernels: Kernels) -> Tensor:
    return kernels.gated(*_flat(gate, up), activation).view(gate.shape)


def _flat(*tensors: Tensor) -> list[Tensor]:
    """One long row each where memory allows (the compiled loop is then 1.7 times as fast), else rows of D."""
    if all(t.is_contiguous() for t in tensors):
        return [t.view(-1) for t in tensors]
    return [t.reshape(-1, t.shape[-1]) for t in tensors]


class Rotary(torch.autograd.Function):
    """(q, k) [B, H, T, D] turned by cos and sin [B or 1, T, D]; H may differ between q and k."""

    @staticmethod
    def forward(
        ctx: Any, q_BHTD: Tensor, k_BHTD: Tensor, cos_BTD: Tensor, sin_BTD: Tensor, kernels: Kernels
    ) -> tuple[Tensor, ...]:
        # Nothing of q and k is kept; cos and sin are the same tensors in every layer.
        ctx.save_for_backward(cos_BTD, sin_BTD)
        ctx.kernels = kernels
        # Heads are views of the projections' [B, T, H D]: in that order memory is read and written in one run.
        return tuple(kernels.rotate(x.transpose(1, 2), cos_BTD, sin_BTD).transpose(1, 2) for x in (q_BHTD, k_BHTD))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        cos_BTD, sin_BTD = ctx.saved_tensors
        back = [ctx.kernels.rotate_back(g.transpose(1, 2), cos_BTD, sin_BTD).transpose(1, 2) for g in gradients]
        return back[0], back[1], None, None, None
