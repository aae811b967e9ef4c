"""The product of a frozen weight and its low-rank update, forward and backward, keeping nothing that is cheap to make.

    forward    U = drop(X) A^T           Y = X W^T + b + s U B^T
    backward   V = s G B                 dX = G W + drop'(V A)      dA = V^T drop(X)      dB = s G^T U

(LoRA, arXiv 2106.09685, equation 3, and its chain rule; drop' = drop, as dropout is a product with its mask. The scale
of the mask is put into A, which is small.) Kept between the two: X, U [T, r], A, B and the mask, a byte each. Of an X
that can be made again (`elementwise.Origin`) only its parts are kept, which are kept anyway. W is asked for again in
the backward, so a quantised weight is dequantised twice and never kept. No gradient is made for W.
Shapes: T tokens, I inputs, O outputs, r rank.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lorafit.ops.dropout import Mask, draw_mask, keep
from lorafit.ops.elementwise import origin_of


class LoraLinear(torch.autograd.Function):
    """y_TO = lora_linear(x_TI, A [r, I], B [O, r], weight() [O, I], product(x_TI) [T, O], scaling, mask or None).

    product: x W^T + b as the frozen layer computes it, which in 8 bits is not the product with `weight()`.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        a: Tensor,
        b: Tensor,
        weight: Callable[[], Tensor],
        product: Callable[[Tensor], Tensor],
        scaling: float,
        mask: Mask | None,
    ) -> Tensor:
        x_TI = x.reshape(-1, x.shape[-1])
        scale = 1.0 if mask is None else mask.scale
        a_rI, b_Or = (a if mask is None else a * scale).to(x.dtype), b.to(x.dtype) * scaling
        keep_TI = None if mask is None else draw_mask(mask, x_TI)
        u_Tr = (x_TI if keep_TI is None else keep(x_TI, keep_TI)) @ a_rI.T
        y_TO = product(x_TI)
        y_TO.addmm_(u_Tr, b_Or.T)
        origin = origin_of(x)
        ctx.save_for_backward(u_Tr, a_rI, b_Or, keep_TI, *([x_TI] if origin is None else origin.parts))
        ctx.remade = None if origin is None else origin.remade
        ctx.weight, ctx.scaling, ctx.scale, ctx.shape = weight, scaling, scale, x.shape
        return y_TO.view(*x.shape[:-1], -1)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        u_Tr, a_rI, b_Or, keep_TI, *parts = ctx.saved_tensors
        g_TO = gradients[0].reshape(-1, gradients[0].shape[-1])
        v_Tr = g_TO @ b_Or
        dx = da = db = None
        if ctx.needs_input_grad[0]:
            dx_TI = g_TO @ ctx.weight()
            if keep_TI is None:
                dx_TI.addmm_(v_Tr, a_rI)
            else:
                dx_TI += keep(v_Tr @ a_rI, keep_TI)
            dx = dx_TI.view(ctx.shape)
        if ctx.needs_input_grad[1]:
            x_TI = parts[0] if ctx.remade is None else ctx.remade.of(*parts).view(-1, a_rI.shape[1])
            seen_TI = x_TI if keep_TI is None else keep(x_TI, keep_TI)
            da = (v_Tr.T @ seen_TI).float().mul_(ctx.scale)
        if ctx.needs_input_grad[2]:
            db = (g_TO.T @ u_Tr).float().mul_(ctx.scaling)
        return dx, da, db, None, None, None, None
