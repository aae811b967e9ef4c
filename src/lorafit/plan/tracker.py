"""Follows the storages of tensors through a step: when each is born, when it dies, and what stands at the peak.

A dispatch mode sees every operation that reaches the device, in the order in which the device's allocator would see
it, also in the backward; a weak reference tells when a storage is let go. On meta tensors nothing is computed. What a
kernel takes for itself and gives back before it returns is not to be seen from here: rules say it (`workspaces.py`).
"""

from __future__ import annotations

import functools
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

WORKSPACES = "workspaces"
RESHAPING = ("resize_", "set_", "t_", "transpose_", "squeeze_", "unsqueeze_", "swapaxes_", "as_strided_")
BLOCK = 512  # CUDA's allocator counts in such blocks (c10/cuda/CUDACachingAllocator.cpp, kMinBlockSize)


class Allocator(Protocol):
    """Where the bytes go: the replay of an allocator (allocator.py)."""

    def malloc(self, size: int) -> Any: ...
    def free(self, handle: Any) -> None: ...


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation of a step: phase, name, arithmetic operations, bytes read and written, and how often it is done."""

    phase: str
    name: str
    flops: float
    bytes: float
    count: int = 1


@dataclass(slots=True)
class Peak:
    """Most bytes alive at once: where that was, and what they were."""

    bytes: int = 0
    phase: str = ""
    operation: str = ""
    parts: dict[str, int] = field(default_factory=dict)


# Bytes that an operation's kernel takes and gives back.
Workspace = Callable[[Sequence[Any], Any], list[int]]
# What is done in place of an operation that meta tensors do not have.
StandIn = Callable[..., Any]
# By operation and looks of its arguments: (flops, bytes moved), and what makes the like of its result again.
Seen = dict[Any, tuple[tuple[float, int], Callable[[Any], Any]]]


class Tracker(TorchDispatchMode):
    """Counts the bytes alive while operations run.

    block: bytes are counted in multiples of it. workspaces and stand_ins: by operation's name. allocator: sees every
    birth and death. seen: what earlier trackers found out about operations. peaks: the most bytes alive for each
    (phase, operation), with their parts.
    """

    def __init__(
        self,
        block: int,
        workspaces: dict[str, Workspace],
        stand_ins: dict[str, StandIn],
        allocator: Allocator | None = None,
        seen: Seen | None = None,
    ) -> None:
        super().__init__()
        self.block, self.workspaces, self.stand_ins, self.allocator = block, workspaces, stand_ins, allocator
        self.phase = ""
        self.born_as = "activations"
        self.alive: Counter[str] = Counter()
        self.now = 0
        self.peaks: dict[tuple[str, str], Peak] = {}
        self.operations: list[Operation] = []
        self._storages: dict[int, tuple[int, str, Any, Any]] = {}
        self._off = False
        self._seen: Seen = {} if seen is None else seen

    @property
    def peak(self) -> Peak:
        return max(self.peaks.values(), key=lambda peak: peak.bytes, default=Peak())

    @contextmanager
    def during(self, phase: str, born_as: str) -> Iterator[None]:
        """Within this block operations belong to `phase`, and what they make to the part `born_as`."""
        before = self.phase, self.born_as
        self.phase, self.born_as = phase, born_as
        try:
            yield
        finally:
            self.phase, self.born_as = before

    @contextmanager
    def elsewhere(self) -> Iterator[None]:
        """What is made within this block is not on the device."""
        self._off = True
        try:
            yield
        finally:
            self._off = False

    def hold(self, tensors: Iterable[Tensor | None], part: str) -> None:
        """Count tensors that are there already, or were born as something else, to `part`."""
        for tensor in tensors:
            if tensor is None:
                continue
            storage = tensor.untyped_storage()
            known = self._storages.get(storage._cdata)
            if known is None:
                self._born(storage, part, "hold")
            else:
                size, old, handle, reference = known
                self.alive[old] -= size
                self.alive[part] += size
                self._storages[storage._cdata] = size, part, handle, reference

    def take(self, size: int, part: str) -> Any:
        """Bytes that no tensor stands for; they stay."""
        return self._count(size, part, "take")

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = function._overloadpacket.__name__
        if name == "_local_scalar_dense" and args[0].is_meta:
            return _answer(args[0])
        if self._off:
            return function(*args, **kwargs)
        cost, out = self._run(function, name, args, kwargs)
        fresh = 0
        # What is seen in a view only, and was there before, is not the device's (a CPU's rows are numpy's).
        for tensor in () if _gives_views(function) else _tensors(out):
            storage = tensor.untyped_storage()
            if storage._cdata not in self._storages:
                fresh += self._born(storage, self.born_as, name)
        sizes = self.workspaces[name](args, out) if name in self.workspaces else []
        handles = [self._count(size, WORKSPACES, name) for size in sizes]
        for size, handle in zip(sizes, handles, strict=True):
            self._release(self._rounded(size), WORKSPACES, handle)
        if self.phase and (fresh or sizes or name.endswith("_") or name.startswith("_foreach") or "out" in kwargs):
            flops, moved = cost
            self.operations.append(Operation(self.phase, name, flops, moved + 2 * sum(sizes)))
        return out

    def _run(self, function: Any, name: str, args: Any, kwargs: Any) -> tuple[tuple[float, int], Any]:
        """What it costs, and the result: of an operation seen before on the same shapes without doing it again.

        The layers of a model are alike, and working out shapes takes longer than all else.
        """
        on_meta = all(tensor.is_meta for tensor in _all_tensors((args, kwargs)))
        key = (function, _looks(args), _looks(tuple(kwargs.items()))) if on_meta and _repeats(function) else None
        known = self._seen.get(key) if key else None
        if known is not None:
            cost, made = known
            return cost, made(args)
        out = self.stand_ins.get(name, function)(*args, **kwargs)
        cost = _flops(function, name, args, kwargs, out), _moved(name, args, kwargs, out)
        maker = _maker(function, args, kwargs, out) if key is not None else None
        if maker is not None:
            self._seen[key] = cost, maker
        return cost, out

    def _born(self, storage: Any, part: str, name: str) -> int:
        size = int(storage.nbytes())
        if size:
            key = storage._cdata
            handle = self._count(size, part, name)

            def gone(_: Any, self: Tracker = self, key: int = key) -> None:
                size, part, handle, _reference = self._storages.pop(key)
                self._release(size, part, handle)

            self._storages[key] = self._rounded(size), part, handle, weakref.ref(storage, gone)
        return size

    def _count(self, size: int, part: str, name: str) -> Any:
        rounded = self._rounded(size)
        self.now += rounded
        self.alive[part] += rounded
        peak = self.peaks.setdefault((self.phase, name), Peak(phase=self.phase, operation=name))
        if self.now > peak.bytes:
            peak.bytes, peak.parts = self.now, dict(self.alive)
        return self.allocator.malloc(size) if self.allocator else None

    def _release(self, rounded: int, part: str, handle: Any) -> None:
        self.now -= rounded
        self.alive[part] -= rounded
        if self.allocator:
            self.allocator.free(handle)

    def _rounded(self, size: int) -> int:
        return -(-size // self.block) * self.block


def _looks(value: Any) -> Any:
    """What decides the shapes of a result, as a key."""
    if isinstance(value, Tensor):
        return value.shape, value.stride(), value.dtype, value.device.type
    if isinstance(value, (list, tuple)):
        return tuple(_looks(item) for item in value)
    return type(value), value


@functools.cache
def _repeats(function: Any) -> bool:
    """Whether an operation gives fresh tensors, or works in its first argument and returns it."""
    schema = function._schema
    written = [i for i, argument in enumerate(schema.arguments) if argument.alias_info is not None]
    fresh = not written and all(result.alias_info is None for result in schema.returns)
    in_place = written == [0] and len(schema.returns) == 1 and schema.arguments[0].alias_info.is_write
    return bool(schema.returns) and (fresh or (in_place and function._overloadpacket.__name__ not in RESHAPING))


@functools.cache
def _gives_views(function: Any) -> bool:
    """Whether what an operation gives are its arguments, or parts of them."""
    return any(result.alias_info is not None for result in function._schema.returns)


def _maker(function: Any, args: Any, kwargs: Any, out: Any) -> Callable[[Any], Any] | None:
    """Makes the like of `out` again; None where it cannot be said how."""
    if function._schema.arguments and function._schema.arguments[0].alias_info is not None:
        return lambda args: args[0]
    given = {tensor.untyped_storage()._cdata for tensor in _all_tensors((args, kwargs))}
    results = list(out) if isinstance(out, (list, tuple)) else [out]
    tensors = [t for t in results if isinstance(t, Tensor)]
    storages = {t.untyped_storage()._cdata for t in tensors}
    whole = all(t.is_meta and t.untyped_storage().nbytes() == _span(t) and t.storage_offset() == 0 for t in tensors)
    if (
        storages & given
        or len(storages) < len(tensors)
        or not whole
        or any(isinstance(r, (list, tuple)) for r in results)
    ):
        return None
    specs = [(t.shape, t.stride(), t.dtype, t.device) if isinstance(t, Tensor) else t for t in results]
    several = type(out) if isinstance(out, (list, tuple)) else None

    def made(_: Any) -> Any:
        again = [torch.empty_strided(s[0], s[1], dtype=s[2], device=s[3]) if isinstance(s, tuple) else s for s in specs]
        return several(again) if several else again[0]

    return made


def _span(tensor: Tensor) -> int:
    """Bytes from the first element to the last."""
    if tensor.numel() == 0:
        return 0
    reach = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return (reach + 1) * tensor.element_size()


def _flops(function: Any, name: str, args: Any, kwargs: Any, out: Any) -> float:
    if name == "gemm_4bit":
        return float(2 * args[0].numel() * args[2][0])
    if name == "int8_mixed_scaled_mm":  # x, its rows in 8 bits, the weight
        return float(2 * args[0].numel() * args[2].shape[0])
    count = flop_registry.get(function._overloadpacket)
    if count is None:
        return 0.0
    flops = float(count(*args, **kwargs, out_val=out))
    return flops / 2 if "attention" in name else flops  # causal: half of the products are never made


def _moved(name: str, args: Any, kwargs: Any, out: Any) -> int:
    """Bytes read and written."""
    empty = name in ("empty", "empty_like", "new_empty", "empty_strided", "new_empty_strided")
    return 0 if empty else sum(_bytes(tensor) for tensor in _tensors((args, kwargs, out)))


def _tensors(tree: Any) -> Iterator[Tensor]:
    return (tensor for tensor in _all_tensors(tree) if tensor.is_meta)


def _all_tensors(tree: Any) -> Iterator[Tensor]:
    """By hand: torch's own walk over a tree takes a quarter of a trace."""
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, (list, tuple)):
        for item in tree:
            yield from _all_tensors(item)
    elif isinstance(tree, dict):
        yield from _all_tensors(tuple(tree.values()))


def _bytes(tensor: Tensor) -> int:
    """What is read or written of a tensor: an expanded one has fewer bytes than elements."""
    return min(tensor.numel() * tensor.element_size(), int(tensor.untyped_storage().nbytes()))


def _answer(tensor: Tensor) -> Any:
    """What a meta tensor's number is taken to be: a loss or a norm of one; no, where a mask is asked whether it is."""
    if tensor.dtype == torch.bool:
        return False
    return 1.0 if tensor.dtype.is_floating_point else 1
