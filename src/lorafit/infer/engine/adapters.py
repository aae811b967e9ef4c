"""Several adapters in one row: the base's product once for all of it, each adapter's low-rank part on its own tokens.

PEFT's modules stay the storage and are not changed: within a pass LoRA layers get another forward, and afterwards their
own again. That forward is for plain LoRA on linear layers. Any other adapter (DoRA and further variants, trained
embeddings, other methods) has a pass to itself, through PEFT's own layers.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from peft.tuners.lora import LoraLayer
from peft.tuners.lora.layer import Linear
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils.other import AuxiliaryTrainingWrapper
from torch import Tensor, nn

from lorafit.adapters.fast import frozen_product
from lorafit.errors import AdapterError
from lorafit.infer.engine.low_rank import Block, LowRank, Owner, make_block
from lorafit.model.quantize import is_quantized


class Adapters:
    """The adapters of a model, which may be a plain one or PEFT's. They may come and go between passes."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self._known: dict[str, tuple[Any, ...]] = {}
        self._layers: list[Any] = []
        self._low_rank: list[LowRank] = []
        self._stacked: tuple[str, ...] = ()
        self._others: list[Any] = []
        self._plain: set[str] = set()

    @property
    def names(self) -> frozenset[str]:
        return frozenset(getattr(self.model, "peft_config", {}))

    def refresh(self) -> set[str]:
        """Look at the model again if its adapters are not those known; the names that went, or whose weights changed.

        Raises AdapterError for a merged adapter: what it did to the base cannot be told apart.
        """
        merged = {name for layer in self._layers for name in layer.merged_adapters}
        if merged:
            raise AdapterError(f"Adapter {', '.join(sorted(merged))} is merged into the base: unmerge it first.")
        found = {name: self._state(name, config) for name, config in getattr(self.model, "peft_config", {}).items()}
        if found == self._known:
            return set()
        modules = [m for m in self.model.modules() if isinstance(m, (BaseTunerLayer, AuxiliaryTrainingWrapper))]
        self._layers = [module for module in modules if _is_linear(module)]
        self._low_rank, self._stacked = [LowRank(layer) for layer in self._layers], ()
        self._others = [module for module in modules if not _is_linear(module)]
        self._plain = {name for name in found if self._is_plain(name)}
        found = {name: self._state(name, state[0]) for name, state in found.items()}
        gone = {name for name, state in self._known.items() if found.get(name) != state}
        self._known = found
        return gone

    def _state(self, name: str, config: Any) -> tuple[Any, ...]:
        """What differs after an adapter was replaced or trained further: its configuration, its first weight."""
        weight = next((layer.lora_B[name].weight for layer in self._layers if name in layer.lora_B), None)
        return (config, None) if weight is None else (config, id(weight), weight._version)

    def needs_own_pass(self, name: str | None) -> bool:
        return name is not None and name not in self._plain

    def _is_plain(self, name: str) -> bool:
        if any(name in _adapters_of(module) for module in self._others):
            return False
        layers = [layer for layer in self._layers if name in layer.lora_A]
        return bool(layers) and all(
            name not in layer.lora_variant
            and type(layer.lora_A[name]) is nn.Linear
            and type(layer.lora_B[name]) is nn.Linear
            and layer.lora_B[name].bias is None
            for layer in layers
        )

    @contextlib.contextmanager
    def shared(self, owners: Sequence[Owner], device: torch.device) -> Iterator[None]:
        """Within this block a row whose tokens have these owners, base or plain adapters, is computed for each."""
        block = make_block(owners, self._stacked, device)
        if block is not None:
            self._stacked = block.names
        with _attributes(self._others, _disable_adapters=True):
            for low_rank in self._low_rank:
                vars(low_rank.layer)["forward"] = functools.partial(_shared_forward, low_rank, owners, block)
            try:
                yield
            finally:
                for layer in self._layers:
                    del vars(layer)["forward"]

    @contextlib.contextmanager
    def alone(self, name: str | None) -> Iterator[None]:
        """Within this block the model is PEFT's own with one adapter, or the base. What is trained stays so."""
        modules = [*self._layers, *self._others]
        with _attributes(modules, _disable_adapters=name is None, _active_adapter=[name] if name else []):
            yield


def _shared_forward(low_rank: LowRank, owners: Sequence[Owner], block: Block | None, x: Tensor) -> Tensor:
    """y = x W^T + b for all, and what each token's adapter adds."""
    base = low_rank.layer.base_layer
    y: Tensor = frozen_product(base, x) if is_quantized(base) else base(x)
    x_TI, y_TO = x.reshape(-1, x.shape[-1]), y.view(-1, y.shape[-1])
    if len(x_TI) != sum(count for _, count in owners):
        raise AdapterError(
            "An adapter is on a layer that sees only some of the tokens (an expert); such a model cannot be decoded "
            "with several adapters at once."
        )
    low_rank.add(x_TI, y_TO, owners, block)
    return y


@functools.cache
def _linear_classes() -> tuple[type, ...]:
    try:
        from peft.tuners.lora.bnb import Linear4bit, Linear8bitLt
    except ImportError:  # bitsandbytes is not installed
        return (Linear,)
    return Linear, Linear4bit, Linear8bitLt


def _is_linear(module: Any) -> bool:
    return isinstance(module, LoraLayer) and isinstance(module, _linear_classes())


def _adapters_of(module: Any) -> set[str]:
    if isinstance(module, AuxiliaryTrainingWrapper):
        return set(module._adapters)
    return {name for kind in module.adapter_layer_names for name in getattr(module, kind, ())}


@contextlib.contextmanager
def _attributes(modules: Sequence[Any], **values: Any) -> Iterator[None]:
    before = [{name: getattr(module, name) for name in values} for module in modules]
    for module in modules:
        vars(module).update(values)
    try:
        yield
    finally:
        for module, kept in zip(modules, before, strict=True):
            vars(module).update(kept)
