"""Every method in every dtype: base, validate, train, validate, train. Libraries change state in evaluation mode."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from lorafit.adapters.inject import inject
from lorafit.adapters.settings import AdapterSettings
from lorafit.data.pack import make_batch
from lorafit.evaluate.held_out import mean_loss
from lorafit.hardware import DTYPES, Hardware
from lorafit.model.forward import choose_forward
from lorafit.model.load import load_base
from lorafit.records import Sample, Siblings, Source
from lorafit.train.optim import MasterOptimizer
from lorafit.train.step import train_step

METHODS = {
    "lora": ("none", {}),
    "qlora": ("nf4", {}),
    "int8": ("int8", {}),
    "full": ("none", {"method": "none"}),
    "rslora": ("none", {"variant": "rslora"}),
    "dora": ("none", {"variant": "dora"}),
    "qdora": ("nf4", {"variant": "dora"}),
    "pissa": ("none", {"variant": "pissa"}),
    "qpissa": ("nf4", {"variant": "pissa"}),
    "int8-pissa": ("int8", {"variant": "pissa"}),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("method", METHODS)
def test_validation_leaves_training_as_it_was(
    bases: Callable[[str], Path], samples: list[Sample], method: str, dtype: str
) -> None:
    quantization, settings = METHODS[method]
    # Both kinds of linear layer with odd sizes in both; DoRA on NF4 is refused for odd sizes.
    family = {"qlora": "gpt2", "lora": "gpt2", "qdora": "even-llama"}.get(method, "llama")
    base = load_base(bases(family), Hardware(torch.device("cpu"), DTYPES[dtype], "a test"), quantization)  # type: ignore[arg-type]
    injection = inject(base, AdapterSettings(rank=4, alpha=8, **settings), seed=0)  # type: ignore[arg-type]
    forward, reason = choose_forward(injection.model)
    assert reason is None
    batch = make_batch(samples, 64)
    optimizer = MasterOptimizer(injection.model.parameters(), "adamw", 0.0)
    scaler = torch.amp.GradScaler("cpu", init_scale=256.0, enabled=dtype == "float16")

    def step(update: int, rate: float) -> dict[str, torch.Tensor]:
        injection.model.train()
        train_step(forward, batch, optimizer, scaler, injection.place, update, rate, 0.0)
        trained = zip(optimizer.parameters, optimizer.masters, strict=True)
        return {str(i): m.grad.clone() for i, (_, m) in enumerate(trained) if m.grad is not None}

    with forward.running():
        first = step(0, 0.0)
        before = mean_loss(forward, batch)
        # A plain evaluation as a user's own code would make it, which is what makes bitsandbytes repack.
        injection.model.eval()
        with torch.no_grad():
            layout = (Siblings(0, 3, (), ((3, 1),)),)
            injection.model(input_ids=torch.tensor([[5, 6, 7]]), row_layout=layout, use_cache=False)
        second = step(1, 0.0)
        assert first.keys() == second.keys() and first
        assert any(gradient.abs().max() > 0 for gradient in first.values())
        for name, gradient in first.items():
            assert torch.equal(gradient, second[name]), "an evaluation changed the gradient"
        assert mean_loss(forward, batch) == before
        for update in range(2, 8):
            step(update, 1e-2)
        assert mean_loss(forward, batch) < before


@pytest.fixture
def samples() -> list[Sample]:
    generator = torch.Generator().manual_seed(5)
    made = []
    for number, length in enumerate((12, 20, 7, 15)):
        tokens = torch.randint(3, 512, (length,), generator=generator).numpy()
        trained = torch.arange(length).numpy() >= length // 2
        made.append(Sample(tokens, trained, Source("made", number + 1)))
    return made
