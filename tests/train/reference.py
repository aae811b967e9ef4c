"""The slow, obvious path that the fast one is compared with, and what the tests of exactness have in common.

Plain transformers + PEFT: PEFT's own layers, the model's own attention and logits, each example alone, the mean over
all supervised tokens of the update. Its dropout is PEFT's, with a mask that is drawn by the same rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from lorafit.adapters.fast import make_fast, make_plain
from lorafit.adapters.inject import Injection, inject
from lorafit.adapters.settings import AdapterSettings
from lorafit.data.pack import prefix_numbers
from lorafit.hardware import Hardware
from lorafit.model.forward import Forward, choose_forward
from lorafit.model.load import load_base
from lorafit.model.settings import Quantization
from lorafit.ops.attention import PACKED
from lorafit.records import Batch, Sample, Source
from lorafit.train.optim import MasterOptimizer
from lorafit.train.step import train_step

Outcome = tuple[float, dict[str, torch.Tensor]]
FAMILIES = ["llama", "qwen2", "qwen3", "mistral", "gemma2", "gpt2", "phi3"]
# The documents of one update: one of a single target, one that fills the row, some beyond the sliding window of 6.
LENGTHS = (2, 9, 17, 3, 30, 12)


def make_samples(lengths: Sequence[int] = LENGTHS) -> list[Sample]:
    """Documents of random tokens that begin differently; about 60 % of their tokens are trained."""
    generator = np.random.default_rng(3)
    samples = []
    for number, length in enumerate(lengths):
        trained = generator.random(length) < 0.6
        trained[0], trained[-1] = False, True
        samples.append(Sample(generator.integers(3, 512, length), trained, Source("made", number + 1)))
    return samples


def spelt(*documents: str) -> list[Sample]:
    """A document per word: a letter is a token, and a target where it is a capital (never the first)."""
    return [
        Sample(
            np.array([ord(letter.lower()) for letter in document]),
            np.array([letter.isupper() for letter in document]),
            Source("made", number + 1),
        )
        for number, document in enumerate(documents)
    ]


# A tree three deep, with paths beyond the sliding window of 6: documents that are another's beginning, that are the
# same, that train the same target (the weights), with a single token, without a target, and one that shares nothing.
ALIKE = spelt(
    "systempromptABC", "systempromptABD", "systempromptAXYZ", "systempromPT", "systempROMPT", "systempromptABC",
    "systemotherQRS", "systemotherQ", "systemo", "s", "x", "lonelyDOCUMENTOFITSOWN",
)  # fmt: skip


def adapted(
    folder: Path, dtype: torch.dtype = torch.float32, quantization: Quantization = "none", **settings: Any
) -> Injection:
    """A tiny base with an adapter that is somewhere in training, and its dropout on."""
    base = load_base(folder, Hardware(torch.device("cpu"), dtype, "a test"), quantization)
    injection = inject(base, AdapterSettings(rank=4, alpha=8, **settings), seed=1)
    with torch.no_grad():  # B starts at zero, which would make every gradient of A zero
        for name, parameter in injection.model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.05, generator=torch.Generator().manual_seed(len(name)))
    injection.model.train()
    return injection


def gradients(model: Any) -> dict[str, torch.Tensor]:
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.requires_grad and p.grad is not None}


def reference(injection: Injection, samples: Sequence[Sample]) -> Outcome:
    """Each example alone through plain transformers + PEFT, full logits, the mean over all supervised tokens."""
    model, place = injection.model, injection.place
    plain = model.get_base_model() if hasattr(model, "peft_config") else model
    assert plain.config._attn_implementation != PACKED  # the reference is the plain model
    model.zero_grad()
    make_plain(model)
    total = sum(s.supervised_tokens for s in samples)
    mean = 0.0
    for sample in samples:
        place.update, place.prefixes = 0, prefix_numbers(sample.token_ids)
        ids = torch.from_numpy(sample.token_ids)[None]
        labels = torch.where(torch.from_numpy(sample.trained), ids[0], -100)
        logits = model(input_ids=ids, use_cache=False).logits[0].float()
        loss = cross_entropy(logits[:-1], labels[1:], ignore_index=-100, reduction="sum") / total
        loss.backward()
        mean += loss.item()
    make_fast(model)
    return mean, gradients(model)


def ours(injection: Injection, batch: Batch, forward: Forward | None = None) -> Outcome:
    """The update as a run makes it (at a learning rate of 0); `forward` is the one that a run would choose."""
    if forward is None:
        forward, reason = choose_forward(injection.model)
        assert reason is None and forward.packed
    optimizer = MasterOptimizer(injection.model.parameters(), "sgd", 0.0)
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    with forward.running():
        step = train_step(forward, batch, optimizer, scaler, injection.place, 0, 0.0, 0.0)
    return step.loss, gradients(injection.model)


def assert_equal(found: Outcome, wanted: Outcome, bound: float = 1e-5, least: float = 0.0) -> None:
    """The loss and each gradient within `bound`, relative to the gradient's largest entry.

    least: a gradient smaller than this share of the largest one is compared with that share. A query's gradient is
    nothing but rounding where all that it could attend to is the same.
    """
    assert found[0] == pytest.approx(wanted[0], rel=bound, abs=0)
    assert found[1].keys() == wanted[1].keys()
    sizes = {name: gradient.abs().max().item() for name, gradient in wanted[1].items()}
    floor = least * max(sizes.values())
    for name, size in sizes.items():
        assert size > 0 or floor > 0, f"{name} has no gradient: nothing is compared"
        assert (found[1][name] - wanted[1][name]).abs().max().item() <= bound * max(size, floor), name


def distance(found: Outcome, wanted: Outcome) -> tuple[float, float]:
    """Relative differences: of the loss, and of all gradients as one vector (Frobenius)."""
    squares = sum(float((found[1][name] - gradient).norm()) ** 2 for name, gradient in wanted[1].items())
    whole = sum(float(gradient.norm()) ** 2 for gradient in wanted[1].values())
    return abs(found[0] - wanted[0]) / abs(wanted[0]), (squares / whole) ** 0.5


# bfloat16 against the same weights in float32: the loss, and all gradients as one vector. Measured over all families,
# flat and shared, with and without dropout: at most 1.5e-4 and 1.7e-2, where plain transformers + PEFT in bfloat16 has
# 1.3e-4 and 1.7e-2; ours was 0.94 to 1.43 times as far off as that.
BFLOAT16 = (5e-4, 3e-2)
BESIDE_PLAIN = 2.0


def assert_near(found: Outcome, exact: Outcome, plain: Outcome) -> None:
    """Within the bound of bfloat16 of float32, and not more than twice as far off as plain bfloat16 is."""
    loss, slopes = distance(found, exact)
    assert loss <= BFLOAT16[0]
    assert slopes <= min(BFLOAT16[1], BESIDE_PLAIN * distance(plain, exact)[1])


def adapted_in_16_bits(folder: Path, samples: Sequence[Sample], **settings: Any) -> tuple[Injection, Outcome, Outcome]:
    """(in bfloat16; the reference on its rounded weights in float32; the reference in bfloat16)."""
    exact = adapted(folder, **settings)
    with torch.no_grad():
        for parameter in exact.model.parameters():
            if not parameter.requires_grad:  # the adapter is float32 in both
                parameter.copy_(parameter.bfloat16())
    injection = adapted(folder, torch.bfloat16, **settings)
    return injection, reference(exact, samples), reference(injection, samples)
