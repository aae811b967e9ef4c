"""The check at the start of a run: passes where all is well, and sees each fault that was planted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AttentionInterface

from lorafit.adapters.inject import inject
from lorafit.adapters.settings import AdapterSettings
from lorafit.errors import SelfCheckFailed
from lorafit.hardware import DTYPES, Hardware
from lorafit.model.forward import choose_forward
from lorafit.model.load import load_base
from lorafit.ops import attention, lora_linear
from lorafit.ops.attention import PACKED
from lorafit.records import Layout, Sample, Siblings, Source
from lorafit.train.self_check import self_check


@pytest.fixture
def samples() -> list[Sample]:
    draw = np.random.default_rng(4)
    return [
        Sample(draw.integers(3, 512, n), np.arange(n) > 3, Source("made", i + 1)) for i, n in enumerate((40, 18, 25))
    ]


def prepared(folder: Path, dtype: str = "float32", quantization: str = "none", **settings: Any) -> tuple[Any, Any]:
    base = load_base(folder, Hardware(torch.device("cpu"), DTYPES[dtype], "a test"), quantization)  # type: ignore[arg-type]
    injection = inject(base, AdapterSettings(rank=4, alpha=8, **settings), seed=0)
    return injection, choose_forward(injection.model)[0]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("family", "quantization", "settings"),
    [
        ("llama", "none", {}),
        ("qwen3", "nf4", {"dropout": 0.2}),
        ("mistral", "int8", {}),
        ("gemma2", "none", {"variant": "rslora"}),
        ("even-llama", "nf4", {"variant": "dora"}),
        ("llama", "nf4", {"variant": "pissa"}),
        ("gpt2", "none", {}),
        ("llama", "none", {"method": "none"}),
    ],
)
def test_all_is_well(
    bases: Callable[[str], Path],
    samples: list[Sample],
    dtype: str,
    family: str,
    quantization: str,
    settings: dict[str, Any],
) -> None:
    injection, forward = prepared(bases(family), dtype, quantization, **settings)
    before = {n: p.clone() for n, p in injection.model.named_parameters() if p.requires_grad}
    found = self_check(forward, samples, injection.place, DTYPES[dtype])
    assert found.tokens == 18 + 25
    if dtype == "float32":
        assert found.loss < 1e-6 and found.gradients < 1e-4
    for name, parameter in injection.model.named_parameters():
        if parameter.requires_grad:
            assert torch.equal(parameter, before[name]) and parameter.grad is None, "the check leaves no trace"


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_missing_scale_is_seen(
    llama: Path, samples: list[Sample], monkeypatch: pytest.MonkeyPatch, dtype: str
) -> None:
    injection, forward = prepared(llama, dtype)
    right = lora_linear.LoraLinear.forward
    monkeypatch.setattr(
        lora_linear.LoraLinear,
        "forward",
        staticmethod(lambda ctx, x, a, b, weight, bias, scaling, mask: right(ctx, x, a, b, weight, bias, 1.0, mask)),
    )
    with pytest.raises(SelfCheckFailed, match=r"does not compute what the plain one does.*lora_"):
        self_check(forward, samples, injection.place, DTYPES[dtype])


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_neighbour_attended_to_is_seen(
    llama: Path, samples: list[Sample], monkeypatch: pytest.MonkeyPatch, dtype: str
) -> None:
    injection, forward = prepared(llama, dtype)
    right = attention.packed_attention

    def leaking(*args: Any, row_layout: Layout, **kwargs: Any) -> Any:
        end = row_layout[-1].end
        return right(*args, row_layout=(Siblings(0, end, (), ((end, 1),)),), **kwargs)

    monkeypatch.setitem(AttentionInterface._global_mapping, PACKED, leaking)
    with pytest.raises(SelfCheckFailed):
        self_check(forward, samples, injection.place, DTYPES[dtype])


def test_a_wrong_gradient_alone_is_seen(llama: Path, samples: list[Sample], monkeypatch: pytest.MonkeyPatch) -> None:
    injection, forward = prepared(llama)
    right = lora_linear.LoraLinear.backward

    def forgets(ctx: Any, *gradients: Any) -> Any:
        dx, da, db, *rest = right(ctx, *gradients)
        return (dx, None if da is None else da * 1.5, db, *rest)

    monkeypatch.setattr(lora_linear.LoraLinear, "backward", staticmethod(forgets))
    with pytest.raises(SelfCheckFailed, match=r"loss off by 0.0e\+00, gradients by .*lora_A"):
        self_check(forward, samples, injection.place, torch.float32)
