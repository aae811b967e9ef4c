"""Packed attention: several documents in one row, each attending only to itself, a shared beginning computed once.

Registered in transformers' attention interface, so that its models use it unchanged. The layout of the row travels as a
model keyword (`row_layout`), not as state. There is no mask to build: each run of tokens attends to its path and,
causally, to itself. The reference is transformers' dense mask, or each document alone (tests/ops/test_attention.py).

Shapes: B batch (1), H query heads, G key/value heads, R = H / G, T tokens of the row, L tokens of a run, P of its path,
N runs of a block, D head dimension, X = G N, M tokens of a block.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers import AttentionInterface
from transformers.masking_utils import AttentionMaskInterface

from lorafit.hardware import kind_of
from lorafit.records import Layout, Siblings

PACKED = "lorafit_packed"
# Paths and runs up to this length together take plain products on the CPU; beyond it flash attention's memory wins.
MATMUL_LENGTH = 1024
# Runs are filled up to the longest of their block, at most this much longer than its shortest, and to a multiple of
# ROUND: the products and the softmax run at half their speed on small batches and odd sizes (docs/performance.md).
FILL, ROUND = 1.3, 16


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
    if kind_of(query_BHTD.device) == "cpu" and softcap is None:
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
    ends = itertools.accumulate(length * count for length, count in group.runs)
    first_long = sum(end <= cut for end in ends)
    short, long = group.runs[:first_long], group.runs[first_long:]
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
        return functional.scaled_dot_product_attention(
            query_BHLD, key_BGSD, value_BGSD, is_causal=length > 1, scale=scaling, enable_gqa=True
        )
    visible_LS = torch.ones(length, seen, dtype=torch.bool, device=query_BHLD.device).tril(seen - length)
    if sliding_window is not None:
        # a token sees itself and the window - 1 before it
        visible_LS = visible_LS.triu(1 - sliding_window + seen - length)
    if softcap is None and kind_of(query_BHLD.device) != "cuda":
        return functional.scaled_dot_product_attention(
            query_BHLD, key_BGSD, value_BGSD, attn_mask=visible_LS, scale=scaling, enable_gqa=True
        )
    heads_per_group = query_BHLD.shape[1] // key_BGSD.shape[1]
    key_BHSD = key_BGSD.repeat_interleave(heads_per_group, dim=1)
    value_BHSD = value_BGSD.repeat_interleave(heads_per_group, dim=1)
    if softcap is None:  # CUDA's kernel for masks wants a key and value for each query head
        return functional.scaled_dot_product_attention(
            query_BHLD, key_BHSD, value_BHSD, attn_mask=visible_LS, scale=scaling
        )
    scores = query_BHLD @ key_BHSD.transpose(-1, -2) * (query_BHLD.shape[-1] ** -0.5 if scaling is None else scaling)
    scores = softcap * torch.tanh(scores / softcap)
    weights = scores.masked_fill(~visible_LS, float("-inf")).softmax(-1, dtype=torch.float32).to(query_BHLD.dtype)
    return weights @ value_BHSD


@dataclass(frozen=True, slots=True)
class _Block:
    """Neighbouring runs of about equal length as one batch: `count` runs, filled up at their ends to `length` tokens.

    filled [N L]: which token of the block stands at each place (a filler repeats another); fillers: the places of
    fillers; real [M]: the places of the others. All None where nothing is filled up.
    """

    start: int
    end: int
    length: int
    count: int
    filled: Tensor | None = None
    fillers: Tensor | None = None
    real: Tensor | None = None


@functools.lru_cache(maxsize=256)
def _blocks(group: Siblings, device: torch.device) -> tuple[_Block, ...]:
    """The runs of a group, which are in order of length, as blocks."""
    made: list[_Block] = []
    bundle: list[int] = []
    start = group.start
    lengths = [length for length, count in group.runs for _ in range(count)]
    for length, following in zip(lengths, [*lengths[1:], None], strict=True):
        bundle.append(length)
        if following is None or following > FILL * bundle[0]:
            made.append(_block(start, bundle, device))
            start, bundle = made[-1].end, []
    return tuple(made)


def _block(start: int, lengths: list[int], device: torch.device) -> _Block:
    end, longest = start + sum(lengths), -(-lengths[-1] // ROUND) * ROUND
    if lengths[0] == longest:
        return _Block(start, end, longest, len(lengths))
    lengths_N1 = torch.tensor(lengths)[:, None]
    place_NL = torch.arange(longest).expand(len(lengths), -1)
    filler_NL = place_NL >= lengths_N1
    first_N1 = lengths_N1.cumsum(0) - lengths_N1
    return _Block(
        start,
        end,
        longest,
        len(lengths),
        filled=(first_N1 + place_NL.minimum(lengths_N1 - 1)).flatten().to(device),
        fillers=filler_NL.flatten().nonzero().squeeze(1).to(device),
        real=(~filler_NL).flatten().nonzero().squeeze(1).to(device),
    )


class _MatmulAttention(torch.autograd.Function):
    """Attention along short paths as plain matrix products, the probabilities kept for the backward.

    torch's flash kernel for the CPU is made for long sequences and slow on short ones (benchmarks/step.py). Runs of
    about equal length are one batch; the heads of a key/value group stand below one another, so that keys and values
    are not copied for each. A filler is a later token to every real one, which does not see it; what a filler itself
    gives is dropped, and its slope is zero.
    """

    @staticmethod
    def forward(
        ctx: Any, query_HTD: Tensor, key_GTD: Tensor, value_GTD: Tensor, layout: Layout, scale: float
    ) -> Tensor:
        heads, tokens, width = query_HTD.shape
        groups = len(key_GTD)
        output_THD = query_HTD.new_empty(tokens, heads, width)
        kept: list[Tensor] = []
        for group in layout:
            path_keys, path_values = _on_path(key_GTD, group), _on_path(value_GTD, group)
            for block in _blocks(group, query_HTD.device):
                # Scaled here and not in the scores, of which there are more; the softmax kernel adds up in float32.
                query_XRD = _stacked(query_HTD, groups, block) * scale
                scores = torch.bmm(query_XRD, _stacked(key_GTD, groups, block).transpose(1, 2))
                later = causal_mask(scores.dtype, scores.device)[: block.length, : block.length]
                scores.view(-1, block.length, block.length).add_(later)
                if path_keys is not None:
                    query_GRD = query_XRD.view(groups, -1, width)
                    scores = _beside(torch.bmm(query_GRD, path_keys.transpose(1, 2)), scores)
                weights = scores.softmax(-1)
                own, on_path = _apart(weights, block)
                out_XRD = torch.bmm(own, _stacked(value_GTD, groups, block))
                if path_values is not None:
                    out_XRD.view(groups, -1, width).add_(torch.bmm(on_path, path_values))
                _unstack(out_XRD, output_THD, block)
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
        query_slope_THD = query_HTD.new_empty(gradients[0].shape)
        # A shared beginning collects the slopes of all that continue it: in float32.
        dtype = torch.float32 if len(ctx.layout) > 1 else key_GTD.dtype
        key_slope_TGD = key_GTD.new_empty(tokens, groups, width, dtype=dtype)
        value_slope_TGD = torch.empty_like(key_slope_TGD)
        remaining = iter(kept)
        for group in ctx.layout:
            path_keys, path_values = _on_path(key_GTD, group), _on_path(value_GTD, group)
            for block in _blocks(group, query_HTD.device):
                weights = next(remaining)
                query_XRD = _stacked(query_HTD, groups, block) * ctx.scale
                gradient_XRD = _stacked(gradient_HTD, groups, block, fill=False)
                query_GRD, gradient_GRD = (x.view(groups, -1, width) for x in (query_XRD, gradient_XRD))
                slope = torch.bmm(gradient_XRD, _stacked(value_GTD, groups, block).transpose(1, 2))
                if path_values is not None:
                    slope = _beside(torch.bmm(gradient_GRD, path_values.transpose(1, 2)), slope)
                # d softmax: P (dP - sum(dP P)); masked places have P = 0
                slope = torch._softmax_backward_data(slope, weights, -1, weights.dtype)
                own_slope, path_slope = _apart(slope, block)
                own_weights, path_weights = _apart(weights, block)
                slope_XRD = torch.bmm(own_slope, _stacked(key_GTD, groups, block))
                if path_keys is not None:
                    slope_XRD.view(groups, -1, width).add_(torch.bmm(path_slope, path_keys))
                    _add_on_path(key_slope_TGD, torch.bmm(path_slope.transpose(1, 2), query_GRD), group)
                    _add_on_path(value_slope_TGD, torch.bmm(path_weights.transpose(1, 2), gradient_GRD), group)
                _unstack(slope_XRD.mul_(ctx.scale), query_slope_THD, block)
                # Parents come before their children, so that a run's own slopes are there before any is added.
                _unstack(torch.bmm(own_slope.transpose(1, 2), query_XRD), key_slope_TGD, block)
                _unstack(torch.bmm(own_weights.transpose(1, 2), gradient_XRD), value_slope_TGD, block)
        return (
            query_slope_THD.transpose(0, 1),
            key_slope_TGD.to(key_GTD.dtype).transpose(0, 1),
            value_slope_TGD.to(key_GTD.dtype).transpose(0, 1),
            None,
            None,
        )


def _stacked(x_HTD: Tensor, groups: int, block: _Block, fill: bool = True) -> Tensor:
    """[H, T, D] to [G N, R L, D]: a batch for each key/value head and run, its query heads below one another.

    fill: fillers repeat a token; else they are zero.
    """
    heads, _, width = x_HTD.shape
    x_MHD = x_HTD[:, block.start : block.end].transpose(0, 1)
    if block.filled is not None and block.fillers is not None:
        x_MHD = x_MHD.index_select(0, block.filled)
        if not fill:
            x_MHD.index_fill_(0, block.fillers, 0)
    split = x_MHD.reshape(block.count, block.length, groups, heads // groups, width)
    return split.permute(2, 0, 3, 1, 4).reshape(-1, heads // groups * block.length, width)


def _unstack(x_XRD: Tensor, into_THD: Tensor, block: _Block) -> None:
    """Undo `_stacked`, into the block's tokens of [T, H, D]."""
    _, heads, width = into_THD.shape
    stack = x_XRD.shape[1] // block.length
    split = x_XRD.view(heads // stack, block.count, stack, block.length, width).permute(1, 3, 0, 2, 4)
    into_MHD = into_THD[block.start : block.end]
    if block.real is None:
        into_MHD.view(block.count, block.length, heads // stack, stack, width).copy_(split)
    else:
        into_MHD.copy_(split.reshape(-1, heads, width).index_select(0, block.real))


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


def _apart(both: Tensor, block: _Block) -> tuple[Tensor, Tensor]:
    """Undo `_beside`: ([G N, R L, L], [G, N R L, P]). What has no path is its own part, and comes as it was."""
    if both.shape[-1] == block.length:
        return both, both
    groups, rows, seen = both.shape
    own = both[..., seen - block.length :].view(groups, block.count, rows // block.count, block.length).flatten(0, 1)
    return own, both[..., : seen - block.length]


@functools.cache
def causal_mask(dtype: torch.dtype, device: torch.device) -> Tensor:
    """[M, M], M = MATMUL_LENGTH rounded up: 0 where a token may look, minus infinity at the tokens after it."""
    length = MATMUL_LENGTH + ROUND
    return torch.full((length, length), float("-inf"), dtype=dtype, device=device).triu_(1)


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
