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
from lorafit.model.quantize import is_quantized

# (adapter, tokens): to whom the tokens of a row belong, one after another; None is the base.
Owner = tuple[str | None, int]


class Adapters:
    """The adapters of a model, which may be a plain one or PEFT's. They may come and go between passes."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self._known: dict[str, tuple[Any, ...]] = {}
        self._layers: list[Any] = []
        self._low_rank: list[_LowRank] = []
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
        self._others = [module for module in modules if not _is_linear(module)]
        self._plain = {name for name in found if self._is_plain(name)}
        self._low_rank = [_LowRank(layer, self._plain) for layer in self._layers]
        found = {name: self._state(name, state[0]) for name, state in found.items()}
        gone = {name for name, state in self._known.items() if found.get(name) != state}
        self._known = found
        return gone

    def _state(self, name: str, config: Any) -> tuple[Any, ...]:
        """What differs after an adapter was replaced or trained further: its configuration, its first weight."""
        weight = next((layer.lora_B[name].weight for layer in self._layers if name in layer.lora_B), None)
        return (config, None) if weight is None else (config, id(weight), weight._version, weight.data_ptr())

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
    def shared(self, owners: Sequence[Owner]) -> Iterator[None]:
        """Within this block a row whose tokens have these owners, base or plain adapters, is computed for each."""
        names, counts = zip(*owners, strict=True)
        with _attributes(self._others, _disable_adapters=True):
            for low_rank in self._low_rank:
                vars(low_rank.layer)["forward"] = functools.partial(low_rank.forward, names, counts)
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


class _LowRank:
    """The forward of a LoRA layer for several adapters.

    Each adapter is multiplied with its own tokens, one after another. One product with all adapters, what is of others
    masked, is faster for a few tokens but multiplies many times as much for a prompt beside them. T tokens of the row,
    L of an adapter, I inputs, O outputs, r rank.
    """

    def __init__(self, layer: Any, plain: set[str]) -> None:
        self.layer = layer
        self.names = [name for name in layer.lora_A if name in plain]
        self._factors: dict[torch.dtype, dict[str | None, tuple[Tensor, Tensor]]] = {}

    def forward(self, names: Sequence[str | None], counts: Sequence[int], x: Tensor) -> Tensor:
        """y = x W^T + b for all, and what each token's adapter adds: s (x A^T) B^T."""
        base = self.layer.base_layer
        y: Tensor = frozen_product(base, x) if is_quantized(base) else base(x)
        x_TI, y_TO = x.reshape(-1, x.shape[-1]).to(y.dtype), y.view(-1, y.shape[-1])
        if len(x_TI) != sum(counts):
            raise AdapterError(
                "An adapter is on a layer that sees only some of the tokens (an expert); such a model cannot be "
                "decoded with several adapters at once."
            )
        factors, scaling = self._in(y.dtype), self.layer.scaling
        for name, x_LI, y_LO in zip(names, x_TI.split_with_sizes(counts), y_TO.split_with_sizes(counts), strict=True):
            if name in factors:
                a_Ir, b_rO = factors[name]
                y_LO.addmm_(x_LI.mm(a_Ir), b_rO, alpha=scaling[name])
        return y

    def _in(self, dtype: torch.dtype) -> dict[str | None, tuple[Tensor, Tensor]]:
        """A^T and B^T of each adapter, looked up and cast once: that takes as long as the products of a few tokens."""
        if dtype not in self._factors:
            a, b = self.layer.lora_A, self.layer.lora_B
            self._factors[dtype] = {
                name: (a[name].weight.detach().to(dtype).T, b[name].weight.detach().to(dtype).T) for name in self.names
            }
        return self._factors[dtype]


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
