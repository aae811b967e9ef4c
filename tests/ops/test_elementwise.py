"""The elementwise functions against autograd on the formulas as transformers writes them."""

from __future__ import annotations

import shutil

import pytest
import torch
from torch import Tensor
from transformers.activations import ACT2FN
from transformers.models.gemma2.modeling_gemma2 import Gemma2RMSNorm
from transformers.models.llama.modeling_llama import LlamaRMSNorm, apply_rotary_pos_emb

from lorafit.ops import elementwise
from lorafit.ops.elementwise import (
    PLAIN,
    Gated,
    Kernels,
    RmsNorm,
    Rotary,
    compiled_kernels,
    origin_of,
    why_not_compiled,
)

TYPES = [torch.float32, torch.bfloat16]


def drawn(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def assert_close(found: tuple[Tensor, ...], wanted: tuple[Tensor, ...], bound: float) -> None:
    for one, other in zip(found, wanted, strict=True):
        assert one.dtype == other.dtype and one.shape == other.shape
        assert (one - other).abs().max() <= bound * other.abs().max() > 0


def gradients(outputs: Tensor | tuple[Tensor, ...], *inputs: Tensor) -> tuple[Tensor, ...]:
    outputs = (outputs,) if isinstance(outputs, Tensor) else outputs
    slopes = [drawn(*y.shape, dtype=y.dtype, seed=9) for y in outputs]
    return torch.autograd.grad(outputs, inputs, slopes)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("kind", [LlamaRMSNorm, Gemma2RMSNorm])
def test_the_norm_is_that_of_transformers(kind: type, dtype: torch.dtype) -> None:
    module = kind(44, eps=1e-3).to(dtype)
    module.weight = torch.nn.Parameter(drawn(44, dtype=dtype), requires_grad=False)
    late = kind is Gemma2RMSNorm
    x = drawn(2, 3, 5, 44, dtype=dtype, seed=1).requires_grad_()
    wanted = module(x)
    found = RmsNorm.apply(x, module.weight, 1e-3, float(late), late, PLAIN)
    assert torch.equal(found, wanted)  # the same roundings, so bit-identical
    assert_close(gradients(found, x), gradients(wanted, x), 1e-5 if dtype == torch.float32 else 8e-3)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(("activation", "name"), [("silu", "silu"), ("gelu_tanh", "gelu_pytorch_tanh")])
@pytest.mark.parametrize("contiguous", [True, False])
def test_the_gated_activation_is_that_of_transformers(
    activation: str, name: str, dtype: torch.dtype, contiguous: bool
) -> None:
    both = drawn(7, 26, dtype=dtype)
    gate, up = (h.contiguous() if contiguous else h for h in both.chunk(2, -1))
    gate, up = gate.requires_grad_(), up.requires_grad_()
    wanted, found = ACT2FN[name](gate) * up, Gated.apply(gate, up, activation, PLAIN)
    assert torch.equal(found, wanted)
    assert all(torch.equal(a, b) for a, b in zip(gradients(found, gate, up), gradients(wanted, gate, up), strict=True))


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("batch", [1, 3])
def test_the_rotary_embedding_is_that_of_transformers(dtype: torch.dtype, batch: int) -> None:
    q, k = (drawn(3, 5, heads, 8, dtype=dtype, seed=heads).transpose(1, 2).requires_grad_() for heads in (4, 2))
    cos, sin = (drawn(batch, 5, 8, dtype=dtype, seed=seed) for seed in (5, 6))
    wanted, found = apply_rotary_pos_emb(q, k, cos, sin), Rotary.apply(q, k, cos, sin, PLAIN)
    assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))
    assert_close(gradients(found, q, k), gradients(wanted, q, k), 1e-6 if dtype == torch.float32 else 1e-2)


def test_nothing_else_is_kept_for_the_backward() -> None:
    x, weight = drawn(6, 8).requires_grad_(), drawn(8)
    kept: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        y = RmsNorm.apply(x, weight, 1e-6, 0.0, False, PLAIN)
        assert sorted(t.numel() for t in kept) == [6, 8, 48]  # 1 / RMS, weight, input
        kept.clear()
        Gated.apply(y, y, "silu", PLAIN)
        assert [t.data_ptr() for t in kept] == [y.data_ptr()] * 2
        kept.clear()
        cos = drawn(1, 6, 4)
        Rotary.apply(y.view(1, 1, 6, 8)[..., :4], y.view(1, 1, 6, 8)[..., 4:], cos, cos, PLAIN)
        assert [t.data_ptr() for t in kept] == [cos.data_ptr()] * 2


def outputs(kernels: Kernels, dtype: torch.dtype, length: int = 67) -> list[Tensor]:
    """Of every kind of norm and gate, of parts that have a gradient and are in one run of memory, or are not."""
    wide = drawn(2, length, 2 * 44, dtype=dtype).requires_grad_()
    weight = drawn(44, dtype=dtype, seed=1)
    found = []
    for one, other in (wide.chunk(2, -1), [half.contiguous() for half in wide.chunk(2, -1)]):
        for offset, late in ((0.0, False), (1.0, True), (0.0, True)):
            found.append(RmsNorm.apply(one, weight, 1e-6, offset, late, kernels))
        found += [Gated.apply(one, other, activation, kernels) for activation in ("silu", "gelu_tanh")]
    return found


def assert_remade(output: Tensor) -> None:
    origin = origin_of(output)
    assert origin is not None
    with torch.no_grad():
        again = origin.remade.of(*origin.parts)
    assert again.data_ptr() != output.data_ptr() and torch.equal(again.view_as(output), output)


@pytest.mark.parametrize("dtype", TYPES)
def test_outputs_are_made_again_bit_for_bit(dtype: torch.dtype) -> None:
    for output in outputs(PLAIN, dtype):
        assert_remade(output)


def test_an_output_whose_parts_are_not_kept_has_no_origin() -> None:
    x = drawn(6, 8)
    for found in (RmsNorm.apply(x, x[0], 1e-6, 0.0, False, PLAIN), Gated.apply(x, x, "silu", PLAIN)):
        assert origin_of(found) is None


@pytest.mark.slow  # as below
@pytest.mark.skipif(shutil.which("c++") is None and shutil.which("g++") is None, reason="no C++ compiler here")
@pytest.mark.parametrize("dtype", TYPES)
def test_compiled_outputs_are_made_again_bit_for_bit(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elementwise, "WORTH_COMPILING", 0)
    kernels = compiled_kernels()
    assert why_not_compiled(kernels, torch.device("cpu"), dtype) is None
    for length in (67, 260):
        for output in outputs(kernels, dtype, length):
            assert_remade(output)


def test_a_device_without_compilation_is_named() -> None:
    reason = why_not_compiled(compiled_kernels(), torch.device("meta"), torch.float32)
    assert reason is not None and "meta" in reason


def test_a_failure_to_build_is_a_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    def broken(*args: object, **kwargs: object) -> None:
        raise torch._dynamo.exc.BackendCompilerFailed(broken, RuntimeError("no C++ compiler"), None)

    monkeypatch.setattr(elementwise._Compiled, "__call__", broken)
    reason = why_not_compiled(compiled_kernels(), torch.device("cpu"), torch.float32)
    assert reason is not None and "no C++ compiler" in reason


@pytest.mark.slow  # three C++ builds: 10 to 20 s where torch's cache on disk is cold
@pytest.mark.skipif(shutil.which("c++") is None and shutil.which("g++") is None, reason="no C++ compiler here")
def test_compiled_functions_are_equal_and_built_once_for_all_lengths(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._dynamo.utils import counters

    monkeypatch.setattr(elementwise, "WORTH_COMPILING", 0)
    kernels = compiled_kernels()
    assert why_not_compiled(kernels, torch.device("cpu"), torch.float32) is None
    before, weight = None, drawn(24)
    for length in (67, 13, 24, 260, 2):
        x = drawn(1, length, 24).requires_grad_()
        found, wanted = (RmsNorm.apply(x, weight, 1e-6, 0.0, False, which) for which in (kernels, PLAIN))
        assert_close((found, *gradients(found, x)), (wanted, *gradients(wanted, x)), 1e-5)
        found, wanted = (Gated.apply(x, 2 * x, "silu", which) for which in (kernels, PLAIN))
        assert_close((found, *gradients(found, x)), (wanted, *gradients(wanted, x)), 1e-5)
        built = counters["stats"]["unique_graphs"]
        before = built if before is None else before
        assert built == before, f"built again for {length} rows"
