"""The planned peak against the real one on the CPU, byte by byte; shallow traces against whole ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedConfig

from lorafit.adapters.inject import inject
from lorafit.adapters.settings import AdapterSettings
from lorafit.data.pack import make_batch
from lorafit.hardware import Hardware
from lorafit.model import forward as forward_module
from lorafit.model.forward import choose_forward
from lorafit.model.fused import fuse
from lorafit.model.load import load_base
from lorafit.plan.measure import Measured, measured_on_cpu
from lorafit.plan.meta import held_constants
from lorafit.plan.simulate import Job, Trace, _forget, period, simulate, simulate_deep
from lorafit.plan.tracker import BLOCK
from lorafit.plan.ways import ways_of
from lorafit.records import Batch, Fit, Sample, Source
from lorafit.train import step
from lorafit.train.optim import MasterOptimizer
from lorafit.train.recompute import recomputing

F32, BF16 = torch.float32, torch.bfloat16
LORA, FULL = AdapterSettings(rank=8), AdapterSettings(method="none")
RAGGED = (40, 70, 100, 128)


def make_config(kind: str, size: Sequence[int] = (128, 320, 3, 4, 2, 2000), **more: Any) -> PreTrainedConfig:
    """size: width, inner width, layers, heads, key/value heads, vocabulary."""
    width, inner, layers, heads, groups, vocabulary = size
    if kind == "gpt2":
        return transformers.GPT2Config(
            n_embd=width, n_inner=inner, n_layer=layers, n_head=heads, vocab_size=vocabulary, n_positions=2048, **more
        )
    make = {
        "llama": transformers.LlamaConfig,
        "mistral": transformers.MistralConfig,
        "qwen2": transformers.Qwen2Config,
        "qwen3": transformers.Qwen3Config,
        "gemma2": transformers.Gemma2Config,
        "gemma3": transformers.Gemma3TextConfig,
    }[kind]
    given = {"tie_word_embeddings": False, "head_dim": width // heads, **more}
    return make(
        hidden_size=width,
        intermediate_size=inner,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=groups,
        vocab_size=vocabulary,
        max_position_embeddings=2048,
        **given,
    )


def make_documents(lengths: Sequence[int], tokens_per_pass: int, shared: int = 0, packed: bool = True) -> Batch:
    """Documents of random tokens, two thirds of them trained, the first `shared` tokens alike."""
    draw = np.random.default_rng(0)
    beginning = draw.integers(0, 500, shared)
    samples = []
    for number, length in enumerate(lengths):
        trained = np.ones(length, dtype=bool)
        trained[: max(length // 3, shared) + 1] = False
        token_ids = np.concatenate([beginning, draw.integers(0, 500, length - shared)])
        samples.append(Sample(token_ids, trained, Source("drawn", number)))
    return make_batch(samples, tokens_per_pass, packed)


def make_job(
    config: PreTrainedConfig,
    adapter: AdapterSettings = LORA,
    quantization: Any = "none",
    dtype: torch.dtype = F32,
    recompute: str = "none",
    lengths: Sequence[int] = RAGGED,
    tokens_per_pass: int = 512,
    shared: int = 0,
    double: bool = True,
    optimizer: Any = "adamw",
    kind: str = "cpu",
) -> Job:
    ways = ways_of(config)
    batch = make_documents(lengths, tokens_per_pass, shared, ways.packed)
    fit = Fit(tokens_per_pass, recompute)
    return Job(
        config, kind, dtype, quantization, double, adapter, optimizer, fit, (batch, batch), ways.packed, ways.plain_head
    )


def measured(job: Job, folder: Path) -> Measured:
    """The job's updates run really, with a model of random weights that was saved and loaded."""
    torch.manual_seed(0)
    drawn = AutoModelForCausalLM.from_config(job.config, dtype=job.dtype)
    torch.nn.init.normal_(drawn.get_input_embeddings().weight, std=0.02)  # the padding token's row would be zero
    drawn.save_pretrained(folder)
    base = load_base(
        folder, Hardware(torch.device("cpu"), job.dtype, "a test"), job.quantization, job.double_quantization
    )
    injection = inject(base, job.adapter, 0)
    model = injection.model
    model.train()
    fuse(model, compile=False)
    forward, _ = choose_forward(model)
    assert forward.packed == job.packed
    optimizer = MasterOptimizer(model.parameters(), job.optimizer, 0.0)
    _forget()
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    standing = [*model.parameters(), *model.buffers(), *held_constants(model), *optimizer.masters]
    # After the first product an 8-bit layer holds its rows and constants there, and not in its weight.
    states = [m.state for m in model.modules() if hasattr(getattr(m, "state", None), "CB")]
    standing += [t for s in states for t in (s.CB, s.SCB)]
    with recomputing(model, job.fit.recompute), forward.running(), measured_on_cpu(standing) as result:
        for number, batch in enumerate(job.updates):
            step.train_step(forward, batch, optimizer, scaler, injection.place, number, 1e-4, job.max_gradient_norm)
    return result


SMALL = (128, 320, 2, 4, 2, 2000)
M15, M60 = (288, 768, 6, 6, 6, 32000), (512, 1376, 8, 8, 4, 32000)
DROPPED, DORA = AdapterSettings(rank=8, dropout=0.1), AdapterSettings(rank=8, variant="dora")
LONG = {"lengths": (100, 180, 230, 1400), "tokens_per_pass": 2048}
SHARED = {"lengths": (150, 200, 170, 300), "shared": 100, "tokens_per_pass": 1024}


def llama(**more: Any) -> Job:
    return make_job(make_config("llama", SMALL), **more)


def tied(kind: str, **more: Any) -> Job:
    return make_job(make_config(kind, SMALL, tie_word_embeddings=True), **more)


# Off by no byte but for these, which are left:
#   a Python number in a product is a tensor of 8 bytes on the CPU, kept for the backward (PEFT's own forward);
#   oneDNN takes scratch through torch's allocator for products in 16 bits;
#   the hash of the columns in dropout is numpy's memory;
#   layer norms (GPT-2) in 16 bits keep means and deviations in 16 bits on the CPU, in 32 on CUDA, as meta tensors do.
CASES: dict[str, Callable[[], Job]] = {
    "LoRA, float32": lambda: llama(),
    "LoRA, recompute layers, bfloat16": lambda: llama(dtype=BF16, recompute="layers"),
    "LoRA, a long document, float32": lambda: llama(**LONG),
    "LoRA, a shared beginning, float32": lambda: llama(**SHARED),
    "LoRA, dropout, float32": lambda: llama(adapter=DROPPED),
    "LoRA, tied head and caps (Gemma 2), float32": lambda: tied("gemma2"),
    "LoRA, Conv1D (GPT-2), float32": lambda: make_job(make_config("gpt2", SMALL)),
    "DoRA, float32": lambda: llama(adapter=DORA),
    "LoRA on NF4, float32": lambda: llama(quantization="nf4"),
    "LoRA on NF4 of one level, bfloat16": lambda: llama(quantization="nf4", double=False, dtype=BF16),
    "LoRA on NF4, every-2, a long document, bfloat16": lambda: llama(
        quantization="nf4", dtype=BF16, recompute="every-2", **LONG
    ),
    "LoRA on 8 bits, bfloat16": lambda: llama(quantization="int8", dtype=BF16),
    "full, float32": lambda: llama(adapter=FULL),
    "full, recompute attention, SGD, float32": lambda: llama(adapter=FULL, recompute="attention", optimizer="sgd"),
    "full, tied head (Qwen 2), float32": lambda: tied("qwen2", adapter=FULL),
    "full, Conv1D (GPT-2), bfloat16": lambda: make_job(make_config("gpt2", SMALL), FULL, dtype=BF16),
}
SLOW: dict[str, Callable[[], Job]] = {
    "DoRA on NF4, recompute layers, bfloat16": lambda: llama(
        adapter=DORA, quantization="nf4", dtype=BF16, recompute="layers"
    ),
    "LoRA on 8 bits, recompute layers, float32": lambda: llama(quantization="int8", recompute="layers"),
    "full, several passes, bfloat16": lambda: llama(adapter=FULL, dtype=BF16, tokens_per_pass=128),
    "15M, LoRA, a shared beginning, bfloat16": lambda: make_job(make_config("llama", M15), dtype=BF16, **SHARED),
    "15M, LoRA on NF4, recompute layers, bfloat16": lambda: make_job(
        make_config("llama", M15), quantization="nf4", dtype=BF16, recompute="layers", lengths=[256] * 4
    ),
    "15M, full, float32": lambda: make_job(make_config("llama", M15), FULL),
    "60M, LoRA on NF4, float32": lambda: make_job(
        make_config("llama", M60), quantization="nf4", lengths=(100, 180, 230, 400), tokens_per_pass=1024
    ),
    "60M, full, recompute attention, float32": lambda: make_job(
        make_config("llama", M60), FULL, recompute="attention", lengths=[256] * 2
    ),
    "60M, LoRA on 8 bits, bfloat16": lambda: make_job(
        make_config("llama", M60), quantization="int8", dtype=BF16, lengths=[256] * 2
    ),
}


@pytest.mark.parametrize("name", [*CASES, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])
def test_planned_peak_is_the_real_one(name: str, tmp_path: Path) -> None:
    job = {**CASES, **SLOW}[name]()
    real, planned = measured(job, tmp_path).peak, simulate(job).peak
    off = planned.bytes - real
    text = f"{name}: real {real}, planned {planned.bytes}, off {off} bytes = {off / real:+.8%}; {planned}"
    print(text)
    assert abs(off) <= 0.005 * real, text


def stack(kind: str, layers: int, **more: Any) -> PreTrainedConfig:
    return make_config(kind, (64, 96, layers, 2, 1, 200), **more)


SHORT = {"lengths": (30, 17), "tokens_per_pass": 64}
# (job for a device, period)
STACKS: dict[str, tuple[Callable[[str], Job], int]] = {
    "Llama, LoRA": (lambda on: make_job(stack("llama", 6), kind=on, **SHORT), 1),
    "Llama, full": (lambda on: make_job(stack("llama", 6), FULL, kind=on, **SHORT), 1),
    "Llama, 8 bits": (lambda on: make_job(stack("llama", 7), quantization="int8", kind=on, **SHORT), 1),
    "Qwen 3, NF4, recompute layers": (
        lambda on: make_job(stack("qwen3", 7), quantization="nf4", dtype=BF16, recompute="layers", kind=on, **SHORT),
        1,
    ),
    "Llama, NF4, every-2": (
        lambda on: make_job(stack("llama", 9), quantization="nf4", recompute="every-2", kind=on, **SHORT),
        2,
    ),
    "Llama, every-3": (lambda on: make_job(stack("llama", 12), dtype=BF16, recompute="every-3", kind=on, **SHORT), 3),
    "Gemma 2": (lambda on: make_job(stack("gemma2", 10, sliding_window=8), dtype=BF16, kind=on, **SHORT), 2),
    "Gemma 3, full, bfloat16": (
        lambda on: make_job(stack("gemma3", 21, sliding_window=8), FULL, dtype=BF16, kind=on, **SHORT),
        6,
    ),
}


QUICK = {
    ("Llama, LoRA", "cpu"),
    ("Llama, NF4, every-2", "cpu"),
    ("Qwen 3, NF4, recompute layers", "cuda"),
    ("Gemma 2", "cuda"),
}


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        pytest.param(name, kind, marks=() if (name, kind) in QUICK else pytest.mark.slow)
        for name in STACKS
        for kind in ("cpu", "cuda")
    ],
)
def test_two_shallow_traces_give_the_whole_one(name: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    build, repeats = STACKS[name]
    job = build(kind)
    assert period(job.config, job.fit.recompute) == repeats
    whole = simulate(job)
    depths: list[int] = []

    def noted(job: Job) -> Trace:
        depths.append(job.config.num_hidden_layers)
        return simulate(job)

    monkeypatch.setattr("lorafit.plan.simulate.simulate", noted)
    deep = simulate_deep(job)
    assert len(depths) == 2 and max(depths) < job.config.num_hidden_layers
    assert deep.peak.bytes == whole.peak.bytes
    found, wanted = _bytes_of(deep), _bytes_of(whole)
    if kind == "cuda":  # the vector of all norms has four bytes a tensor, which are counted in whole blocks
        for key in (("update", "stack"), ("update", "linalg_vector_norm")):
            steps = (job.config.num_hidden_layers - max(depths)) // repeats
            assert abs(found.pop(key)[0] - wanted.pop(key)[0]) <= BLOCK * steps
    assert found == wanted
    assert _work_of(deep) == _work_of(whole)
    assert (deep.trained, deep.parameters) == (whole.trained, whole.parameters)


def _bytes_of(trace: Trace) -> dict[Any, Any]:
    return {key: (p.bytes, {n: size for n, size in p.parts.items() if size}) for key, p in trace.peaks.items()}


def _work_of(trace: Trace) -> dict[tuple[str, str], tuple[float, float, int]]:
    """(flops, bytes, count) of each (phase, operation)."""
    work: dict[tuple[str, str], tuple[float, float, int]] = {}
    for o in trace.operations:
        flops, moved, count = work.get((o.phase, o.name), (0.0, 0.0, 0))
        work[o.phase, o.name] = flops + o.flops * o.count, moved + o.bytes * o.count, count + o.count
    return work


def test_a_stack_that_repeats_nowhere_is_traced_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    config = stack("qwen2", 8, use_sliding_window=True, sliding_window=8, max_window_layers=5)
    assert period(config, "none") == 8
    job = make_job(config, **SHORT)
    assert simulate_deep(job).peaks == simulate(job).peaks


@pytest.mark.parametrize(
    ("kind", "recompute", "expected"),
    [("llama", "none", 1), ("llama", "layers", 1), ("llama", "every-3", 3), ("gemma2", "every-3", 6),
     ("gemma3", "none", 6), ("gemma3", "every-4", 12), ("gpt2", "offload", 1)],
)  # fmt: skip
def test_period(kind: str, recompute: str, expected: int) -> None:
    assert period(stack(kind, 26), recompute) == expected


class TestPlantedChange:
    """What is changed in the step shows in the plan, by its very bytes, and in the real run."""

    def rise(self, job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str, changed: Any) -> list[int]:
        """(planned, real): by how much the peak rises when `target` is replaced."""
        before = simulate(job).peak.bytes, measured(job, tmp_path).peak
        monkeypatch.setattr(target, changed)
        return [simulate(job).peak.bytes - before[0], measured(job, tmp_path).peak - before[1]]

    def test_logits_that_are_kept(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        job = llama(adapter=FULL, lengths=(100,))
        summed, places = forward_module.summed_cross_entropy, len(job.updates[0].rows[0].predict)

        def keeping(logits_SV: Tensor, *rest: Tensor) -> Tensor:
            loss = summed(logits_SV, *rest)
            kept = logits_SV.detach()
            if loss.requires_grad:  # not in the probe of packing
                loss.register_hook(lambda gradient: gradient + 0 * len(kept))
            return loss

        rise = self.rise(job, tmp_path, monkeypatch, "lorafit.model.forward.summed_cross_entropy", keeping)
        assert rise == [4 * places * 2000] * 2

    def test_hidden_states_that_are_copied(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        job = llama()
        plain, places = forward_module.head_cross_entropy, len(job.updates[0].rows[0].predict)

        def copying(hidden_SD: Tensor, *rest: Any) -> Tensor:
            kept = hidden_SD.detach().clone()
            loss = plain(hidden_SD, *rest)
            if loss.requires_grad:  # not in the probe of packing
                loss.register_hook(lambda gradient: gradient + 0 * len(kept))
            return loss

        rise = self.rise(job, tmp_path, monkeypatch, "lorafit.model.forward.head_cross_entropy", copying)
        assert rise == [4 * places * 128] * 2

    def test_gradients_that_are_kept_in_double(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        job = llama(adapter=FULL, tokens_per_pass=128)
        assert len(job.updates[0].rows) > 1
        norm, trained = MasterOptimizer.gradient_norm, simulate(job).trained

        def doubled(self: Any, maximum: float) -> torch.Tensor:
            self.doubles = None
            self.doubles = [master.grad.double() for master in self.masters]
            return norm(self, maximum)

        rise = self.rise(job, tmp_path, monkeypatch, "lorafit.train.optim.MasterOptimizer.gradient_norm", doubled)
        assert rise == [8 * trained] * 2

    def test_a_step_that_takes_more(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        job = llama(lengths=(60,))
        plain = step.train_step

        def taking(forward: Any, *rest: Any) -> Any:
            ballast = torch.empty(2**20, device=forward.device)
            result = plain(forward, *rest)
            del ballast
            return result

        rise = self.rise(job, tmp_path, monkeypatch, "lorafit.train.step.train_step", taking)
        assert rise == [4 * 2**20] * 2
