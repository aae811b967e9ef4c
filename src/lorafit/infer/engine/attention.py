"""Attention of a row that holds parts of many requests: chunks of prompts, and a token each of those that answer.

Registered in transformers' attention interface, so that its models use it unchanged; what stands where travels as the
model keyword `engine_pass`. Keys and values of the row are written to the cache first. A chunk then attends as one
request alone would; the tokens of a slab together, the beginning that they share in one product for all (as in
Hydragen, arXiv 2402.05099).

Shapes: H query heads, G key/value heads, R = H / G, T tokens of the row, L of a chunk, N tokens of a slab (one a
request), P places of the path, M places of the longest slot, D head dimension.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface
from transformers.masking_utils import AttentionMaskInterface

from lorafit.infer.engine.cache import Segment, Slab
from lorafit.ops.attention import run_attention

ENGINE = "lorafit_engine"


@dataclass(frozen=True, slots=True)
class Chunk:
    """Places `start` to `end` of the row: the next tokens of a segment, after those on its path."""

    start: int
    end: int
    segment: Segment
    path: tuple[Segment, ...]

    def write(self, layer: int, key_GTD: Tensor, value_GTD: Tensor) -> None:
        self.segment.write(layer, key_GTD[:, self.start : self.end], value_GTD[:, self.start : self.end])

    def attend(self, layer: int, query_HTD: Tensor, into_THD: Tensor, how: _How) -> None:
        seen = self.segment.filled + self.end - self.start
        parts = [*(each.read(layer, each.tokens) for each in self.path), self.segment.read(layer, seen)]
        key_GSD, value_GSD = (torch.cat(x, dim=1) if len(parts) > 1 else x[0] for x in zip(*parts, strict=True))
        query_BHLD = query_HTD[None, :, self.start : self.end]
        attended = run_attention(query_BHLD, key_GSD[None], value_GSD[None], how.scale, how.window, how.softcap)
        into_THD[self.start : self.end] = attended[0].transpose(0, 1)


class Answers:
    """Places `start` to `end` of the row: the newest token of each member of a slab, in their order."""

    def __init__(self, start: int, slab: Slab[Any], path: tuple[Segment, ...], device: torch.device) -> None:
        self.start, self.end = start, start + len(slab.members)
        self.slab, self.path = slab, path
        self._before = sum(each.tokens for each in path)
        self._longest = max(slab.lengths) + 1
        self._places_N = torch.tensor(slab.lengths, device=device)
        self._rows: dict[int, Tensor] = {}
        self._hidden: dict[int | None, Tensor | None] = {}

    @property
    def positions(self) -> list[int]:
        return [self._before + length for length in self.slab.lengths]

    def write(self, layer: int, key_GTD: Tensor, value_GTD: Tensor) -> None:
        for slots_SGCD, x_GTD in zip(self.slab.layer(layer), (key_GTD, value_GTD), strict=True):
            _, groups, capacity, width = slots_SGCD.shape
            x_ND = x_GTD[:, self.start : self.end].transpose(0, 1).reshape(-1, width)
            slots_SGCD.view(-1, width).index_copy_(0, self._written(groups, capacity), x_ND)

    def _written(self, groups: int, capacity: int) -> Tensor:
        """[N G] where the new tokens stand among all places of all slots."""
        if groups not in self._rows:
            head_NG = torch.arange(len(self._places_N) * groups, device=self._places_N.device).view(-1, groups)
            self._rows[groups] = (head_NG * capacity + self._places_N[:, None]).flatten()
        return self._rows[groups]

    def attend(self, layer: int, query_HTD: Tensor, into_THD: Tensor, how: _How) -> None:
        count = self.end - self.start
        own_NGMD = [x[:count, :, : self._longest] for x in self.slab.layer(layer)]
        groups = own_NGMD[0].shape[1]
        query_NGRD = (query_HTD[:, self.start : self.end].transpose(0, 1) * how.scale).unflatten(1, (groups, -1))
        on_path = [each.read(layer, each.tokens) for each in self.path]
        scores = torch.bmm(query_NGRD.flatten(0, 1), own_NGMD[0].flatten(0, 1).transpose(1, 2))
        scores = scores.unflatten(0, (count, groups))
        if self.path:
            query_GXD = query_NGRD.transpose(0, 1).flatten(1, 2)
            shared = [torch.bmm(query_GXD, key_GPD.transpose(1, 2)) for key_GPD, _ in on_path]
            scores = torch.cat([*(x.unflatten(1, (count, -1)).transpose(0, 1) for x in shared), scores], dim=-1)
        if how.softcap is not None:
            scores = how.softcap * torch.tanh(scores / how.softcap)
        hidden_N11S = self._hidden_from(how.window)
        if hidden_N11S is not None:
            scores = scores.masked_fill_(hidden_N11S, float("-inf"))
        weights = scores.softmax(-1)
        out_NGRD = torch.bmm(weights[..., self._before :].flatten(0, 1), own_NGMD[1].flatten(0, 1))
        out_NGRD = out_NGRD.unflatten(0, (count, groups))
        seen = 0
        for _, value_GPD in on_path:
            part_GXP = weights[..., seen : seen + value_GPD.shape[1]].transpose(0, 1).flatten(1, 2)
            out_NGRD += torch.bmm(part_GXP, value_GPD).unflatten(1, (count, -1)).transpose(0, 1)
            seen += value_GPD.shape[1]
        into_THD[self.start : self.end] = out_NGRD.flatten(1, 2)

    def _hidden_from(self, window: int | None) -> Tensor | None:
        """[N, 1, 1, P + M]: the places that a token does not see; None where it sees all. Made once a pass."""
        if window not in self._hidden:
            place_S = torch.arange(self._before + self._longest, device=self._places_N.device)
            newest_N1 = self._before + self._places_N[:, None]
            hidden_NS = place_S > newest_N1
            if window is not None:
                hidden_NS |= place_S <= newest_N1 - window
            self._hidden[window] = hidden_NS[:, None, None] if bool(hidden_NS.any()) else None
        return self._hidden[window]


@dataclass(frozen=True, slots=True)
class _How:
    scale: float
    window: int | None
    softcap: float | None


@dataclass(slots=True)
class Pass:
    """What stands in one row. `layers` counts the layers that have attended: a probe looks at it."""

    parts: Sequence[Chunk | Answers]
    layers: int = field(default=0)


def engine_attention(
    module: torch.nn.Module,
    query_BHTD: Tensor,
    key_BGTD: Tensor,
    value_BGTD: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    engine_pass: Pass | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Write the row's keys and values, attend part by part: ([1, T, H, D], None).

    Raises RuntimeError when the model did not hand the pass down to its attention, or does not number its layers.
    """
    layer = getattr(module, "layer_idx", None)
    if engine_pass is None or layer is None:
        raise RuntimeError(f"{type(module).__name__} does not hand engine_pass to its attention, or has no layer_idx")
    engine_pass.layers += 1
    how = _How(query_BHTD.shape[-1] ** -0.5 if scaling is None else scaling, sliding_window, softcap)
    out_THD = query_BHTD.new_empty(query_BHTD.shape[2], query_BHTD.shape[1], value_BGTD.shape[3])
    for part in engine_pass.parts:
        part.write(layer, key_BGTD[0], value_BGTD[0])
    for part in engine_pass.parts:
        part.attend(layer, query_BHTD[0], out_THD, how)
    return out_THD[None], None


AttentionInterface.register(ENGINE, engine_attention)
AttentionMaskInterface.register(ENGINE, lambda *args, **kwargs: None)


@contextlib.contextmanager
def attending(model: Any) -> Iterator[None]:
    """Within this block a transformers model attends as rows of requests need it.

    This is done at every step, so only the configuration is told, which transformers' models ask at each call; going
    through all modules takes as long as many a step. The probe finds out a model that does otherwise.
    """
    configs = [model.config, *(c for name in model.config.sub_configs if (c := getattr(model.config, name, None)))]
    before = [config._attn_implementation for config in configs]
    model.config._attn_implementation = ENGINE
    try:
        yield
    finally:
        for config, implementation in zip(configs, before, strict=True):
            config._attn_implementation = implementation
