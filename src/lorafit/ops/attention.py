"""Packed attention: several documents in one row, each attending only to itself.

Registered in transformers' attention interface, so that its models use it unchanged. The lengths of the documents
travel as a model keyword (`document_lengths`), not as state. There is no mask to build: each document is a causal
attention of its own. The reference is transformers' dense block mask (tests/ops/test_attention.py).

Shapes: B batch (1), H query heads, G key/value heads, T tokens of the row, L of one document, D head dimension.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface
from transformers.masking_utils import AttentionMaskInterface

PACKED = "lorafit_packed"


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
