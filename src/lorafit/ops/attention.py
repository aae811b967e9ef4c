"""Packed attention: several documents in one row, each attending only to itself.

Registered in transformers' attention interface, so that its models use it unchanged. The lengths of the documents
travel as a model keyword (`document_lengths`), not as state. There is no mask to build: each document is a causal
attention of its own. The reference is transformers' dense block mask (tests/ops/test_attention.py).

Shapes: B batch (1), H query heads, G key/value heads, T tokens of the row, L of one document, D head dimension.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface
from transformers.masking_utils import AttentionMaskInterface

PACKED = "lorafit_packed"
# Documents up to this length take the plain products on the CPU; beyond it flash attention's saved memory wins.
MATMUL_LENGTH = 1024


def packed_attention(
    module: torch.nn.Module,
    query_BHTD: Tensor,
    key_BGTD: Tensor,
    value_BGTD: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    document_lengths: tuple[int, ...] | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Causal attention within each document; returns ([B, T, H, D], None).

    Dropout on attention weights is not applied: the base's own dropout is off while an adapter is trained.

    Raises RuntimeError when the model did not hand the lengths down to its attention.
    """
    if document_lengths is None:
        raise RuntimeError(f"{type(module).__name__} does not hand document_lengths to its attention function")
    outputs = []
    for query, key, value in zip(
        query_BHTD.split(document_lengths, dim=2),
        key_BGTD.split(document_lengths, dim=2),
        value_BGTD.split(document_lengths, dim=2),
        strict=True,
    ):
        outputs.append(document_attention(query, key, value, scaling, sliding_window, softcap))
    return torch.cat(outputs, dim=2).transpose(1, 2), None


def document_attention(
    query_BHLD: Tensor,
    key_BGLD: Tensor,
    value_BGLD: Tensor,
    scaling: float | None,
    sliding_window: int | None = None,
    softcap: float | None = None,
) -> Tensor:
    """Causal attention of one document, [B, H, L, D]; a window or a soft-cap is respected where it has an effect."""
    length = query_BHLD.shape[2]
    grouped = query_BHLD.shape[1] != key_BGLD.shape[1]
    if softcap is None and (sliding_window is None or length <= sliding_window):
        if query_BHLD.device.type == "cpu" and 1 < length <= MATMUL_LENGTH and torch.is_grad_enabled():
            scale = query_BHLD.shape[-1] ** -0.5 if scaling is None else scaling
            product: Tensor = _MatmulAttention.apply(query_BHLD[0], key_BGLD[0], value_BGLD[0], scale)
            return product[None]
        return scaled_dot_product_attention(
            query_BHLD, key_BGLD, value_BGLD, is_causal=length > 1, scale=scaling, enable_gqa=grouped
        )
    visible_LL = torch.ones(length, length, dtype=torch.bool, device=query_BHLD.device).tril()
    if sliding_window is not None:
        visible_LL = visible_LL.triu(1 - sliding_window)  # a token sees itself and the window - 1 before it
    if softcap is None:
        return scaled_dot_product_attention(
            query_BHLD, key_BGLD, value_BGLD, attn_mask=visible_LL, scale=scaling, enable_gqa=grouped
        )
    heads_per_group = query_BHLD.shape[1] // key_BGLD.shape[1]
    key_BHLD = key_BGLD.repeat_interleave(heads_per_group, dim=1)
    value_BHLD = value_BGLD.repeat_interleave(heads_per_group, dim=1)
    scores = query_BHLD @ key_BHLD.transpose(-1, -2) * (query_BHLD.shape[-1] ** -0.5 if scaling is None else scaling)
    scores = softcap * torch.tanh(scores / softcap)
    weights = scores.masked_fill(~visible_LL, float("-inf")).softmax(-1, dtype=torch.float32).to(query_BHLD.dtype)
    return weights @ value_BHLD


class _MatmulAttention(torch.autograd.Function):
    """Causal attention of a short document as plain matrix products, its probabilities kept for the backward.

    torch's flash kernel for the CPU is made for long sequences and slow on short ones (benchmarks/step.py). The heads
    of a key/value group stand below one another (R = H / G of them, R L rows), so that keys and values are not copied.
    """

    @staticmethod
    def forward(ctx: Any, query_HLD: Tensor, key_GLD: Tensor, value_GLD: Tensor, scale: float) -> Tensor:
        heads, length, width = query_HLD.shape
        # Scaled here and not in the scores, of which there are more; the softmax kernel adds up in float32.
        query_GRD = query_HLD.reshape(key_GLD.shape[0], -1, width) * scale
        scores_HLL = torch.bmm(query_GRD, key_GLD.transpose(1, 2)).view(heads, length, length)
        scores_HLL += causal_mask(query_HLD.dtype, query_HLD.device)[:length, :length]
        weights_GRL = scores_HLL.softmax(-1).view(key_GLD.shape[0], -1, length)
        ctx.save_for_backward(query_GRD, key_GLD, value_GLD, weights_GRL)
        ctx.scale = scale
        return torch.bmm(weights_GRL, value_GLD).view(heads, length, width)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        query_GRD, key_GLD, value_GLD, weights_GRL = ctx.saved_tensors
        gradient_GRD = gradients[0].reshape(query_GRD.shape)
        slope_GRL = torch.bmm(gradient_GRD, value_GLD.transpose(1, 2))
        # d softmax: P (dP - sum(dP P)); masked places have P = 0
        slope_GRL = torch._softmax_backward_data(slope_GRL, weights_GRL, -1, weights_GRL.dtype)
        return (
            torch.bmm(slope_GRL, key_GLD).mul_(ctx.scale).view(gradients[0].shape),
            torch.bmm(slope_GRL.transpose(1, 2), query_GRD),
            torch.bmm(weights_GRL.transpose(1, 2), gradient_GRD),
            None,
        )


@functools.cache
def causal_mask(dtype: torch.dtype, device: torch.device) -> Tensor:
    """[MATMUL_LENGTH, MATMUL_LENGTH]: 0 where a token may look, minus infinity at the tokens after it."""
    return torch.full((MATMUL_LENGTH, MATMUL_LENGTH), float("-inf"), dtype=dtype, device=device).triu_(1)


AttentionInterface.register(PACKED, packed_attention)
AttentionMaskInterface.register(PACKED, lambda *args, **kwargs: None)


@contextlib.contextmanager
def attention_of(model: Any, implementation: str) -> Iterator[None]:
    """Use another attention implementation within the block. `model` is a transformers model."""
    before = model.config._attn_implementation
    model.set_attn_implementation(implementation)
    try:
        yield
    finally:
        model.set_attn_implementation(before)
