"""Packed attention: several documents in one row, each attending only to itself, a shared beginning computed once.

Registered in transformers' attention interface, so that its models use it unchanged. The layout of the row travels as a
model keyword (`row_layout`), not as state. There is no mask to build: each run of tokens attends to its path and,
causally, to itself. The reference is transformers' dense mask, or each document alone (tests/ops/test_attention.py).

Shapes: B batch (1), H query heads, G key/value heads, R = H / G, T tokens of the row, L tokens of a run, P of its path,
N runs of equal length side by side, D head dimension.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface
from transformers.masking_utils import AttentionMaskInterface

from lorafit.records import Layout, Siblings

PACKED = "lorafit_packed"
# Paths and runs up to this length together take plain products on the CPU; beyond it flash attention's memory wins.
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
    row_layout: Layout | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Causal attention along the paths of a row; returns ([B, T, H, D], None).

    Dropout on attention weights is not applied: the base's own dropout is off while an adapter is trained.

    Raises RuntimeError when the model did not hand the layout down to its attention.
    """
    if row_layout is None:
        raise RuntimeError(f"{type(module).__name__} does not hand row_layout to its attention function")
    cut = 0
    if query_BHTD.device.type == "cpu" and softcap is None:
        cut = _short_tokens(row_layout, min(MATMUL_LENGTH, sliding_window or MATMUL_LENGTH))
    if cut == 0:
        return path_attention(query_BHTD, key_BGTD, value_BGTD, row_layout, scaling, sliding_window, softcap), None
    scale = query_BHTD.shape[-1] ** -0.5 if scaling is None else scaling
    if cut == row_layout[-1].end:
        product: Tensor = _MatmulAttention.apply(query_BHTD[0], key_BGTD[0], value_BGTD[0], row_layout, scale)
        return product[None], None
    short, long = _cut(row_layout[0], cut)
    product = _MatmulAttention.apply(query_BHTD[0, :, :cut], key_BGTD[0, :, :cut], value_BGTD[0, :, :cut], short, scale)
    query, key, value = (x[:, :, cut:] for x in (query_BHTD, key_BGTD, value_BGTD))
    rest = path_attention(query, key, value, long, scaling, sliding_window)
    return torch.cat([product[None], rest], dim=1), None


def _short_tokens(layout: Layout, longest: int) -> int:
    """How many tokens at the start of the row take plain products: all, none, or the short documents of a flat row."""
    if all(group.path_length + max(length for length, _ in group.runs) <= longest for group in layout):
        return layout[-1].end
    return 0 if len(layout) > 1 else sum(length * count for length, count in layout[0].runs if length <= longest)


def _cut(group: Siblings, cut: int) -> tuple[Layout, Layout]:
    """A flat row in two, at the token `cut`: its runs are in order of length."""
    runs = [run for run in _runs(group) if run[0] < cut]
    short, long = group.runs[: len(runs)], group.runs[len(runs) :]
    return (Siblings(0, cut, (), short),), (Siblings(0, group.end - cut, (), long),)


def path_attention(
    query_BHTD: Tensor,
    key_BGTD: Tensor,
    value_BGTD: Tensor,
    layout: Layout,
    scaling: float | None,
    sliding_window: int | None = None,
    softcap: float | None = None,
) -> Tensor:
    """Run after run, each with the keys of its path before its own: [B, T, H, D]. On any device."""
    outputs = []
    for group in layout:
        for start, end in _places(group):
            key_BGSD, value_BGSD = (
                torch.cat([x[:, :, first:last] for first, last in (*group.path, (start, end))], dim=2)
                if group.path
                else x[:, :, start:end]
                for x in (key_BGTD, value_BGTD)
            )
            query_BHLD = query_BHTD[:, :, start:end]
            outputs.append(run_attention(query_BHLD, key_BGSD, value_BGSD, scaling, sliding_window, softcap))
    return torch.cat(outputs, dim=2).transpose(1, 2)


def _places(group: Siblings) -> Iterator[tuple[int, int]]:
    """(start, end) of each run of a group."""
    lengths = [length for length, count in group.runs for _ in range(count)]
    return itertools.pairwise(itertools.accumulate(lengths, initial=group.start))


def run_attention(
    query_BHLD: Tensor,
    key_BGSD: Tensor,
    value_BGSD: Tensor,
    scaling: float | None,
    sliding_window: int | None = None,
    softcap: float | None = None,
) -> Tensor:
    """Causal attention of the last L of S tokens, [B, H, L, D]; a window or soft-cap is respected where it matters."""
    length, seen = query_BHLD.shape[2], key_BGSD.shape[2]
    windowed = sliding_window is not None and seen > sliding_window
    if length == seen and softcap is None and not windowed:
        return scaled_dot_product_attention(
            query_BHLD, key_BGSD, value_BGSD, is_causal=length > 1, scale=scaling, enable_gqa=True
        )
    visible_LS = torch.ones(length, seen, dtype=torch.bool, device=query_BHLD.device).tril(seen - length)
    if sliding_window is not None:
        # a token sees itself and the window - 1 before it
        visible_LS = visible_LS.triu(1 - sliding_window + seen - length)
    if softcap is None:
        return scaled_dot_product_attention(
            query_BHLD, key_BGSD, value_BGSD, attn_mask=visible_LS, scale=scaling, enable_gqa=True
        )
    heads_per_group = query_BHLD.shape[1] // key_BGSD.shape[1]
    key_BHSD = key_BGSD.repeat_interleave(heads_per_group, dim=1)
    value_BHSD = value_BGSD.repeat_interleave(heads_per_group, dim=1)
    scores = query_BHLD @ key_BHSD.transpose(-1, -2) * (query_BHLD.shape[-1] ** -0.5 if scaling is None else scaling)
    scores = softcap * torch.tanh(scores / softcap)
    weights = scores.masked_fill(~visible_LS, float("-inf")).softmax(-1, dtype=torch.float32).to(query_BHLD.dtype)
    return weights @ value_BHSD


class _MatmulAttention(torch.autograd.Function):
    """Attention along short paths as plain matrix products, the probabilities kept for the backward.

    torch's flash kernel for the CPU is made for long sequences and slow on short ones (benchmarks/step.py). Runs of
    equal length are one batch; the heads of a key/value group stand below one another, so that keys and values are not
    copied for each.
    """

    @staticmethod
    def forward(
        ctx: Any, query_HTD: Tensor, key_GTD: Tensor, value_GTD: Tensor, layout: Layout, scale: float
    ) -> Tensor:
        heads, tokens, width = query_HTD.shape
        output_THD = query_HTD.new_empty(tokens, heads, width)
        kept: list[Tensor] = []
        for group in layout:
            path_keys, path_values = _on_path(key_GTD, group), _on_path(value_GTD, group)
            for start, length, count in _runs(group):
                place = slice(start, start + length * count)
                # Scaled here and not in the scores, of which there are more; the softmax kernel adds up in float32.
                query_XRD = _stacked(query_HTD[:, place], len(key_GTD), length) * scale
                scores = torch.bmm(query_XRD, _stacked(key_GTD[:, place], len(key_GTD), length).transpose(1, 2))
                scores.view(-1, length, length).add_(causal_mask(scores.dtype, scores.device)[:length, :length])
                if path_keys is not None:
                    query_GRD = query_XRD.view(len(key_GTD), -1, width)
                    scores = _beside(torch.bmm(query_GRD, path_keys.transpose(1, 2)), scores)
                weights = scores.softmax(-1)
                own, on_path = _apart(weights, length, count)
                out_XRD = torch.bmm(own, _stacked(value_GTD[:, place], len(key_GTD), length))
                if path_values is not None:
                    out_XRD.view(len(key_GTD), -1, width).add_(torch.bmm(on_path, path_values))
                _unstack(out_XRD, output_THD[place], length)
                kept.append(weights)
        ctx.save_for_backward(query_HTD, key_GTD, value_GTD, *kept)
        ctx.layout, ctx.scale = layout, scale
        return output_THD

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        query_HTD, key_GTD, value_GTD, *kept = ctx.saved_tensors
        groups, tokens, width = key_GTD.shape
        gradient_HTD = gradients[0].transpose(0, 1)
        query_slope_THD = torch.empty_like(gradients[0])
        # A shared beginning collects the slopes of all that continue it: in float32.
        dtype = torch.float32 if len(ctx.layout) > 1 else key_GTD.dtype
        key_slope_TGD = key_GTD.new_empty(tokens, groups, width, dtype=dtype)
        value_slope_TGD = torch.empty_like(key_slope_TGD)
        remaining = iter(kept)
        for group in ctx.layout:
            path_keys, path_values = _on_path(key_GTD, group), _on_path(value_GTD, group)
            for start, length, count in _runs(group):
                place = slice(start, start + length * count)
                weights = next(remaining)
                query_XRD = _stacked(query_HTD[:, place], groups, length) * ctx.scale
                gradient_XRD = _stacked(gradient_HTD[:, place], groups, length)
                query_GRD, gradient_GRD = (x.view(groups, -1, width) for x in (query_XRD, gradient_XRD))
                slope = torch.bmm(gradient_XRD, _stacked(value_GTD[:, place], groups, length).transpose(1, 2))
                if path_values is not None:
                    slope = _beside(torch.bmm(gradient_GRD, path_values.transpose(1, 2)), slope)
                # d softmax: P (dP - sum(dP P)); masked places have P = 0
                slope = torch._softmax_backward_data(slope, weights, -1, weights.dtype)
                own_slope, path_slope = _apart(slope, length, count)
                own_weights, path_weights = _apart(weights, length, count)
                slope_XRD = torch.bmm(own_slope, _stacked(key_GTD[:, place], groups, length))
                if path_keys is not None:
                    slope_XRD.view(groups, -1, width).add_(torch.bmm(path_slope, path_keys))
                    _add_on_path(key_slope_TGD, torch.bmm(path_slope.transpose(1, 2), query_GRD), group)
                    _add_on_path(value_slope_TGD, torch.bmm(path_weights.transpose(1, 2), gradient_GRD), group)
                _unstack(slope_XRD.mul_(ctx.scale), query_slope_THD[place], length)
                # Parents come before their children, so that a run's own slopes are there before any is added.
                _unstack(torch.bmm(own_slope.transpose(1, 2), query_XRD), key_slope_TGD[place], length)
                _unstack(torch.bmm(own_weights.transpose(1, 2), gradient_XRD), value_slope_TGD[place], length)
        return (
            query_slope_THD.transpose(0, 1),
            key_slope_TGD.to(key_GTD.dtype).transpose(0, 1),
            value_slope_TGD.to(key_GTD.dtype).transpose(0, 1),
            None,
            None,
        )


def _runs(group: Siblings) -> Iterator[tuple[int, int, int]]:
    """(start, length, count) of neighbouring runs of equal length."""
    start = group.start
    for length, count in group.runs:
        yield start, length, count
        start += length * count


def _stacked(x_HMD: Tensor, groups: int, length: int) -> Tensor:
    """[H, N L, D] to [G N, R L, D]: a batch for each key/value head and run, its query heads below one another."""
    heads, tokens, width = x_HMD.shape
    split = x_HMD.reshape(groups, heads // groups, tokens // length, length, width)
    return split.transpose(1, 2).reshape(-1, heads // groups * length, width)


def _unstack(x_XRD: Tensor, into_MHD: Tensor, length: int) -> None:
    """Undo `_stacked`, into [N L, H, D]."""
    tokens, heads, width = into_MHD.shape
    count = tokens // length
    stack = x_XRD.shape[1] // length
    split = x_XRD.view(heads // stack, count, stack, length, width)
    into_MHD.view(count, length, heads // stack, stack, width).copy_(split.permute(1, 3, 0, 2, 4))


def _on_path(x_GTD: Tensor, group: Siblings) -> Tensor | None:
    """The places on a group's path, [G, P, D]; None for a group without one."""
    if not group.path:
        return None
    return torch.cat([x_GTD[:, start:end] for start, end in group.path], dim=1)


def _add_on_path(into_TGD: Tensor, x_GPD: Tensor, group: Siblings) -> None:
    seen = 0
    for start, end in group.path:
        into_TGD[start:end] += x_GPD[:, seen : seen + end - start].transpose(0, 1)
        seen += end - start


def _beside(on_path_GRP: Tensor, own_XRL: Tensor) -> Tensor:
    """[G, N R L, P + L]: what belongs to the path before what belongs to the run itself."""
    groups, rows, _ = on_path_GRP.shape
    return torch.cat([on_path_GRP, own_XRL.view(groups, rows, -1)], dim=-1)


def _apart(both: Tensor, length: int, count: int) -> tuple[Tensor, Tensor]:
    """Undo `_beside`: ([G N, R L, L], [G, N R L, P]). What has no path is its own part, and comes as it was."""
    if both.shape[-1] == length:
        return both, both
    groups, rows, seen = both.shape
    own = both[..., seen - length :].view(groups, count, rows // count, length).flatten(0, 1)
    return own, both[..., : seen - length]


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
