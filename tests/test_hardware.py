"""oneDNN: float32 through it only where it is as exact and with nothing left behind; how many products it keeps."""

from __future__ import annotations

import os

import pytest
import torch

from lorafit import hardware, memory
from lorafit.hardware import Hardware, float32_through_onednn

FLOAT32 = Hardware(torch.device("cpu"), torch.float32, "a test")
SWITCH = getattr(torch.backends.mkldnn, "matmul", None)

pytestmark = pytest.mark.skipif(
    getattr(SWITCH, "fp32_precision", None) != "none", reason="this torch has no such switch, or somebody has set it"
)


def precision() -> str:
    return SWITCH.fp32_precision  # type: ignore[union-attr]


@pytest.fixture
def slow_mkl(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "_mkl_is_slow", lambda: True)


def exact_product(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    return (left.double() @ right.double()).float()


def test_the_switch_is_on_inside_and_off_after(slow_mkl: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "_product", exact_product)  # so on every processor
    with float32_through_onednn(FLOAT32) as sentence:
        assert precision() == "bf16" and sentence and "oneDNN" in sentence
        with float32_through_onednn(FLOAT32) as inner:
            assert inner is None, "it is on already"
        assert precision() == "bf16"
    assert precision() == "none"
    with pytest.raises(KeyboardInterrupt), float32_through_onednn(FLOAT32):
        raise KeyboardInterrupt
    assert precision() == "none"


@pytest.mark.parametrize("layout", ["every", "odd", "left transposed", "right transposed", "batch"])
def test_a_product_that_rounds_to_bfloat16_refuses_the_switch(
    slow_mkl: None, monkeypatch: pytest.MonkeyPatch, layout: str
) -> None:
    """As on processors with tile units; one layout is enough."""
    chosen = {
        "every": lambda a, b: True,
        "odd": lambda a, b: a.shape[0] % 2 == 1,
        "left transposed": lambda a, b: not a.is_contiguous(),
        "right transposed": lambda a, b: b.ndim == 2 and not b.is_contiguous(),
        "batch": lambda a, b: a.ndim == 3,
    }[layout]

    def rounding(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        if precision() == "bf16" and chosen(left, right):
            return exact_product(left.bfloat16(), right.bfloat16())
        return exact_product(left, right)

    monkeypatch.setattr(hardware, "_product", rounding)
    with float32_through_onednn(FLOAT32) as sentence:
        assert sentence is None and precision() == "none"


def test_products_inside_are_float32s_on_this_processor(slow_mkl: None) -> None:
    """Whatever the probe decided: a linear layer, its gradients and a batched product, other sizes than the probe's."""
    generator = torch.Generator().manual_seed(1)

    def outcome(dtype: torch.dtype) -> list[torch.Tensor]:
        generator.manual_seed(1)
        x, w, b = (torch.randn(s, generator=generator).to(dtype) for s in ((333, 576), (192, 576), (192,)))
        x.requires_grad_()
        w.requires_grad_()
        y = torch.nn.functional.linear(x, w, b)
        y.square().sum().backward()
        heads = y.detach().view(333, 3, 64).transpose(0, 1)
        assert x.grad is not None and w.grad is not None
        return [y.detach(), x.grad, w.grad, torch.bmm(heads, heads.transpose(1, 2))]

    wanted = outcome(torch.float64)
    with float32_through_onednn(FLOAT32):
        found, again = outcome(torch.float32), outcome(torch.float32)
    for one, same, exact in zip(found, again, wanted, strict=True):
        assert torch.equal(one, same)
        assert (one.double() - exact).norm() <= 1e-5 * exact.norm()


def test_it_leaves_alone_what_needs_no_switch(slow_mkl: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "_product", exact_product)
    for other in (Hardware(torch.device("cpu"), torch.bfloat16, ""), Hardware(torch.device("cuda"), torch.float32, "")):
        with float32_through_onednn(other) as sentence:
            assert sentence is None and precision() == "none"
    monkeypatch.setattr(hardware, "_mkl_is_slow", lambda: False)
    with float32_through_onednn(FLOAT32) as sentence:
        assert sentence is None and precision() == "none"


def test_a_precision_that_the_user_set_stays(slow_mkl: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "_product", exact_product)
    try:
        SWITCH.fp32_precision = "ieee"  # type: ignore[union-attr]
        with float32_through_onednn(FLOAT32) as sentence:
            assert sentence is None and precision() == "ieee"
        assert precision() == "ieee"
    finally:
        SWITCH.fp32_precision = "none"  # type: ignore[union-attr]


@pytest.mark.parametrize(("maker", "slow"), [("AuthenticAMD", True), ("GenuineIntel", False), ("", False)])
def test_the_makers_name_decides(monkeypatch: pytest.MonkeyPatch, maker: str, slow: bool) -> None:
    monkeypatch.setattr(hardware, "_maker", lambda: maker)
    able = torch.backends.mkl.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    assert hardware._mkl_is_slow() is (slow and able)


def test_the_cpu_keeps_few_products_unless_the_user_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "ONEDNN_PRIMITIVE_CACHE_CAPACITY"
    monkeypatch.delenv(name, raising=False)
    hardware.choose("cpu")
    assert os.environ[name] == str(memory.PRODUCTS)
    monkeypatch.setenv(name, "17")
    hardware.choose("cpu")
    assert os.environ[name] == "17"
