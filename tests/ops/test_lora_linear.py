"""What the LoRA product makes again in the backward: the very same bits, once for all who share it, then dropped."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import gc
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils.checkpoint import checkpoint

from lorafit.ops import lora_linear
from lorafit.ops.dropout import Mask
from lorafit.ops.elementwise import PLAIN, Gated, RmsNorm
from lorafit.ops.lora_linear import LoraLinear

TOKENS, WIDTH, RANK = 7, 24, 3
MASKS = [None, Mask(0.3, 5, np.arange(TOKENS, dtype=np.uint64))]


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


class Group:
    """Two products of one norm, and a third of what they make together, gated: as in a layer's MLP.

    `made` has every output of norm and gate that was made, forward and backward, and says which are still there.
    """

    def __init__(self, dtype: torch.dtype = torch.float32, mask: Mask | None = None) -> None:
        self.mask, self.made = mask, {"norm": [], "gated": []}  # type: ignore[var-annotated]
        self.x = drawn(1, TOKENS, WIDTH).to(dtype).requires_grad_()
        self.a = [drawn(RANK, WIDTH, seed=n).requires_grad_() for n in (1, 2, 3)]
        self.b = [drawn(WIDTH, RANK, seed=n).requires_grad_() for n in (4, 5, 6)]
        self.weights = [drawn(WIDTH, WIDTH, seed=n).to(dtype) for n in (7, 8, 9)]
        self.scale = drawn(WIDTH, seed=10).to(dtype)
        self.kernels = dataclasses.replace(PLAIN, norm=self._watched("norm"), gated=self._watched("gated"))

    def _watched(self, name: str) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            found = getattr(PLAIN, name)(*args)
            output = found[0] if name == "norm" else found
            self.made[name].append(StorageWeakRef(output.untyped_storage()))
            return found

        return call

    def norm(self) -> Tensor:
        return RmsNorm.apply(self.x, self.scale, 1e-6, 0.0, False, self.kernels)

    def product(self, x: Tensor, number: int) -> Tensor:
        weight = self.weights[number]
        product = functools.partial(nn.functional.linear, weight=weight)
        return LoraLinear.apply(x, self.a[number], self.b[number], lambda: weight, product, 2.0, self.mask)

    def __call__(self) -> Tensor:
        y = self.norm()
        return self.product(Gated.apply(self.product(y, 0), self.product(y, 1), "silu", self.kernels), 2).float().sum()

    def gradients(self, loss: Tensor, **settings: Any) -> list[Tensor]:
        return list(torch.autograd.grad(loss, [self.x, *self.a, *self.b], **settings))

    def counts(self) -> tuple[int, int]:
        return len(self.made["norm"]), len(self.made["gated"])

    def alive(self) -> int:
        return sum(not made.expired() for made in (*self.made["norm"], *self.made["gated"]))


@contextlib.contextmanager
def keeping() -> Iterator[None]:
    """Within this block inputs are kept, as if nothing said how they are made."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lora_linear, "origin_of", lambda _: None)
        yield


@pytest.fixture(autouse=True)
def by_counting_alone() -> Iterator[None]:
    """What is dropped goes at once, not when the collector comes by."""
    gc.disable()
    yield
    gc.enable()


def assert_same_bits(found: list[Tensor], wanted: list[Tensor]) -> None:
    assert len(found) == len(wanted) > 1
    for one, other in zip(found, wanted, strict=True):
        assert torch.equal(one, other) and other.abs().max() > 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("mask", MASKS)
def test_gradients_are_those_with_all_kept_and_each_is_remade_once(dtype: torch.dtype, mask: Mask | None) -> None:
    group = Group(dtype, mask)
    with keeping():
        wanted = group.gradients(group())
    assert group.counts() == (1, 1)
    assert_same_bits(group.gradients(group()), wanted)
    assert group.counts() == (3, 3)
    assert group.alive() == 0


def kept(run: Callable[[], Tensor]) -> int:
    """Elements saved, each storage once."""
    storages: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        storages[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = run()
    del loss
    return sum(tensor.untyped_storage().nbytes() // tensor.element_size() for tensor in storages.values())


def test_neither_product_is_kept() -> None:
    group = Group()
    less = kept(group)
    with keeping():
        assert kept(group) - less == 2 * TOKENS * WIDTH


def test_a_graph_that_is_thrown_away_leaves_nothing() -> None:
    group = Group()
    loss = group()
    assert group.alive() == 0  # neither product lives past the forward
    del loss
    assert group.counts() == (1, 1)


def test_a_graph_can_be_gone_through_again() -> None:
    group = Group()
    loss = group()
    first = group.gradients(loss, retain_graph=True)
    assert group.alive() == 0
    assert_same_bits(group.gradients(loss), first)
    assert group.counts() == (3, 3) and group.alive() == 0


def test_a_backward_that_reaches_one_of_two_leaves_nothing() -> None:
    group = Group()
    y = group.norm()
    one, other = group.product(y, 0), group.product(y, 1)
    (found,) = torch.autograd.grad(one.sum(), [group.a[0]], retain_graph=True)
    assert group.counts() == (2, 0)
    del y
    assert group.alive() == 1  # it ended before the norm's own backward, which drops it
    one.sum().backward()
    assert group.counts() == (2, 0) and group.alive() == 0
    assert torch.equal(found, group.a[0].grad) and group.a[1].grad is None
    other.sum().backward(inputs=[group.a[1]])
    assert group.counts() == (3, 0) and group.alive() == 1
    del one, other
    assert group.alive() == 0


@pytest.mark.parametrize("reentrant", [True, False])
def test_within_a_checkpoint_what_it_recomputes_is_used(reentrant: bool) -> None:
    group = Group(mask=MASKS[1])
    wanted = group.gradients(group())
    group.made["norm"].clear()
    checkpoint(lambda _: group(), group.x, use_reentrant=reentrant).backward()
    found = [group.x.grad, *(p.grad for p in (*group.a, *group.b))]
    assert_same_bits(found, wanted)  # type: ignore[arg-type]
    assert len(group.made["norm"]) == 3 and group.alive() == 0  # forward, recomputation, remade


@pytest.mark.parametrize("hooked", [True, False])
def test_an_input_of_a_checkpoint_is_kept_by_it(hooked: bool) -> None:
    """Hooks round it give the input back as another tensor, which does not say how it was made."""
    group = Group()
    wanted = group.gradients(group())
    group.made["norm"].clear()
    hooks = saved_tensors_hooks(lambda t: t.clone(), lambda t: t) if hooked else contextlib.nullcontext()
    with hooks:
        y = group.norm()
        products = [checkpoint(group.product, y, number, use_reentrant=False) for number in (0, 1)]
        loss = group.product(Gated.apply(*products, "silu", group.kernels), 2).sum()
    del y, products
    assert_same_bits(group.gradients(loss), wanted)
    assert len(group.made["norm"]) == 1 and group.alive() == 0


@pytest.mark.parametrize("change", [lambda y: y.view(TOKENS, WIDTH), lambda y: y * 1])
def test_what_is_not_the_very_output_is_kept(change: Callable[[Tensor], Tensor]) -> None:
    group = Group()
    group.product(change(group.norm()), 0).sum().backward()
    assert group.counts() == (1, 0)


@pytest.mark.parametrize("name", ["norm", "gated"])
def test_an_output_that_was_written_to_is_refused(name: str) -> None:
    """By torch, as both outputs are views: else what is made again would not be what was read."""
    group = Group()
    y = group.norm() if name == "norm" else Gated.apply(group.x, group.x, "silu", group.kernels)
    y.detach().mul_(2)
    with pytest.raises(RuntimeError, match="modified inplace"):
        group.product(y, 0)
