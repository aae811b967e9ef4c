"""What a device does that meta tensors do not show: attention kernels, 8-bit layers, what kernels take for themselves.

A composite function takes another way on meta tensors than on the device. Here its way is put in place, by exchanging
attributes and not by a mode: a mode is off in the backward, where recomputation would then see other operations.
Sources are in `NOTES`, and printed by `lorafit plan --explain`.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.nn import functional

from lorafit.plan.tracker import StandIn, Workspace

aten = torch.ops.aten

CUBLAS_WORKSPACE = 8_519_680
HOPPER_WORKSPACE = 32 * 2**20
OUTLIERS = 0.001

NOTES = {
    "cuBLAS workspace": f"{CUBLAS_WORKSPACE:,} bytes, kept by the allocator (pytorch issue 95668); 32 MiB from compute "
    "capability 9.0 on (pytorch issue 120925)",
    "flash attention, backward": "float32 [B, S, H, D] for the query's gradient and [B, H, S] for the row sums, S a "
    "multiple of 128, D of 32; with grouped heads the gradients of keys and values once for each query head "
    "(flash-attention's mha_bwd, as torch carries it)",
    "memory-efficient attention, backward": "float32 [B, H, S] and [B, S, H, D] (torch's "
    "_efficient_attention_backward)",
    "NF4 product in PEFT's own forward": "the weight in 16 bits, and two vectors of constants where they are quantised "
    "(bitsandbytes 0.50, backends/cuda/ops.py: always above 1,536 tokens)",
    "8-bit product": f"{OUTLIERS:.1%} of columns taken for outliers (LLM.int8(), arXiv 2208.07339, section 4); int32 "
    "products; while quantising, |x| and a mask (bitsandbytes 0.50, backends/cuda/ops.py)",
    "CPU, operands of two types": "the converted one as a whole (torch's TensorIterator; CUDA converts as it reads)",
    "8-bit Adam": "two states of a byte a weight and a float32 for each 256; tensors below 4,096 weights keep float32 "
    "(bitsandbytes 0.50, optim/optimizer.py)",
}


def _multiple(x: int, of: int) -> int:
    return -(-x // of) * of


def _flash_backward(args: Sequence[Any], out: Any) -> list[int]:
    query, key = args[1], args[2]
    batch, heads, length, width = query.shape
    length128, width32 = _multiple(length, 128), _multiple(width, 32 if width <= 128 else 64)
    sizes = [4 * batch * heads * length128, 4 * batch * length128 * heads * width32]
    if heads != key.shape[1]:
        sizes += [batch * key.shape[2] * heads * width * query.element_size()] * 2
    return sizes


def _efficient_backward(args: Sequence[Any], out: Any) -> list[int]:
    batch, heads, length, width = args[1].shape
    return [4 * batch * heads * length, 4 * batch * heads * length * width]


def _gemm_4bit(args: Sequence[Any], out: Any) -> list[int]:
    x, _, shape, absmax, block = args[:5]
    weights = shape[0] * shape[1]
    constants = [4 * (weights // block)] * 2 if absmax.numel() != weights // block else []
    return [*constants, weights * x.element_size()]


def _int8_quantize(args: Sequence[Any], out: Any) -> list[int]:
    return [args[0].numel() * args[0].element_size(), args[0].numel()]


def _int8_product(args: Sequence[Any], out: Any) -> list[int]:
    return [4 * out[0].numel()]


def _promotion(args: Sequence[Any], out: Any) -> list[int]:
    tensors = [x for x in args[:2] if isinstance(x, Tensor)]
    return [x.numel() * out.element_size() for x in tensors if x.dtype != out.dtype and x.is_meta]


WORKSPACES: dict[str, dict[str, Workspace]] = {
    "cuda": {
        "_scaled_dot_product_flash_attention_backward": _flash_backward,
        "_scaled_dot_product_efficient_attention_backward": _efficient_backward,
        "gemm_4bit": _gemm_4bit,
        "int8_vectorwise_quant": _int8_quantize,
        "int8_mixed_scaled_mm": _int8_product,
    },
    "cpu": {name + mark: _promotion for name in ("add", "sub", "mul", "div") for mark in ("", "_")},
    "mps": {},
}


def _vectorwise_quant(x: Tensor, threshold: float = 0.0) -> tuple[Tensor, Tensor, Tensor | None]:
    rows = x.numel() // x.shape[-1]
    outliers = x.new_empty(math.ceil(OUTLIERS * x.shape[-1]), dtype=torch.int64) if threshold > 0 else None
    return x.new_empty(x.shape, dtype=torch.int8), x.new_empty(rows, dtype=torch.float32), outliers


def _mixed_scaled_mm(
    x: Tensor, rows: Tensor, weight: Tensor, row_stats: Tensor, stats: Tensor, outliers: Tensor | None, bias: Any = None
) -> tuple[Tensor, Tensor | None]:
    product = x.new_empty(*rows.shape[:-1], weight.shape[0])
    return product, None if outliers is None else x.new_empty(x.shape[0], outliers.numel())


# Operations whose result has a shape that depends on data, with what is assumed of it.
STAND_INS: dict[str, StandIn] = {
    "int8_vectorwise_quant": _vectorwise_quant,
    "int8_mixed_scaled_mm": _mixed_scaled_mm,
}


@contextlib.contextmanager
def as_on(kind: str) -> Iterator[None]:
    """Within this block functions that choose a kernel by device choose for meta tensors as on `kind`."""
    with contextlib.ExitStack() as stack:
        attend = _attention_on_cpu if kind == "cpu" else _attention_on_cuda
        stack.enter_context(mock.patch.object(functional, "scaled_dot_product_attention", attend))
        if kind == "cpu":
            with contextlib.suppress(ImportError):
                import bitsandbytes

                stack.enter_context(mock.patch.object(bitsandbytes, "matmul", _int8_matmul_on_cpu))
        yield


def _attention_on_cpu(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        attn_mask = torch.where(attn_mask, query.new_zeros(()), query.new_zeros(()))
    attend = aten._scaled_dot_product_flash_attention_for_cpu
    out: Tensor = attend(query, key, value, dropout_p, is_causal, attn_mask=attn_mask, scale=scale)[0]
    return out


def _attention_on_cuda(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """The flash kernel in 16 bits without a mask, else the memory-efficient one."""
    width = query.shape[-1]
    if attn_mask is None and query.element_size() == 2:
        if width % 8:
            query, key, value = (functional.pad(x, (0, 8 - width % 8)) for x in (query, key, value))
        attend = aten._scaled_dot_product_flash_attention
        out: Tensor = attend(query, key, value, dropout_p, is_causal, False, scale=scale)[0]
        return out[..., :width]
    if key.shape[1] != query.shape[1]:  # this kernel knows no groups
        key, value = (x.repeat_interleave(query.shape[1] // x.shape[1], dim=1) for x in (key, value))
    if attn_mask is not None:
        if attn_mask.dtype == torch.bool:
            attn_mask = torch.zeros_like(attn_mask, dtype=query.dtype).masked_fill_(attn_mask.logical_not(), -math.inf)
        seen = attn_mask.shape[-1]
        if seen % 16:  # the kernel wants rows that begin at multiples of 16
            attn_mask = functional.pad(attn_mask, (0, 16 - seen % 16))[..., :seen]
        attn_mask = attn_mask.expand(*query.shape[:3], seen)
    kept = torch.is_grad_enabled() and any(x.requires_grad for x in (query, key, value))
    efficient = aten._scaled_dot_product_efficient_attention
    result: Tensor = efficient(query, key, value, attn_mask, kept, dropout_p, is_causal, scale=scale)[0]
    return result


def _int8_matmul_on_cpu(
    x: Tensor, weight: Tensor, out: Any = None, state: Any = None, threshold: float = 0.0, bias: Any = None
) -> Tensor:
    from bitsandbytes.autograd._functions import MatMul8bitFp

    product: Tensor = MatMul8bitFp.apply(x, weight, out, bias, state)
    return product
