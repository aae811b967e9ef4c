"""Recompute policies: less is kept, and nothing else is different.

Equality is with the policy `none`: float32, 1e-5 relative, of loss and every gradient; bit-identical where said.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from lorafit.adapters.inject import inject
from lorafit.adapters.settings import AdapterSettings
from lorafit.data.pack import make_batch
from lorafit.errors import RecipeError, TrainingError
from lorafit.hardware import Hardware
from lorafit.model import quantize
from lorafit.model.forward import choose_forward
from lorafit.model.fused import fuse
from lorafit.model.load import load_base
from lorafit.model.settings import Quantization
from lorafit.ops import lora_linear
from lorafit.recipe import parse_recipe
from lorafit.records import Sample, Source
from lorafit.train import recompute
from lorafit.train.optim import MasterOptimizer
from lorafit.train.recompute import check_recompute, decoder_layers, kept_on_host, recomputing
from lorafit.train.step import train_step

CPU = Hardware(torch.device("cpu"), torch.float32, "a test")
POLICIES = ["attention", "every-2", "layers"]
LINEARS = 7  # in a Llama layer


class Bench:
    """A tiny model that is trained, and one update's data: two rows of several documents."""

    def __init__(self, folder: Path, quantization: Quantization = "none", device: str = "cpu", **adapter: Any) -> None:
        hardware = Hardware(torch.device(device), torch.float32, "a test")
        full = adapter.get("method") == "none"
        settings = AdapterSettings(**adapter) if full else AdapterSettings(rank=4, alpha=8, **adapter)
        self.injection = inject(load_base(folder, hardware, quantization), settings, seed=1)
        self.model: Any = self.injection.model
        draw = torch.Generator().manual_seed(2)
        with torch.no_grad():  # B starts at zero, which would make every gradient of A zero
            for name, parameter in self.model.named_parameters():
                if "lora_B" in name:
                    parameter.copy_(0.05 * torch.randn(parameter.shape, generator=draw))
        self.forward, reason = choose_forward(self.model)
        assert reason is None
        tokens = np.random.default_rng(3)
        samples = [
            Sample(tokens.integers(3, 512, length), np.arange(length) > 1, Source("made", number + 1))
            for number, length in enumerate((9, 17, 3, 30, 12))
        ]
        self.batch = make_batch(samples, tokens_per_pass=40)
        assert len(self.batch.rows) == 2
        self.model.train()

    def update(self, policy: str = "none") -> tuple[float, dict[str, torch.Tensor]]:
        """Loss and gradients of one update (at a learning rate of 0)."""
        with recomputing(self.model, policy):
            return self.step()

    def step(self) -> tuple[float, dict[str, torch.Tensor]]:
        optimizer = MasterOptimizer(self.model.parameters(), "sgd", 0.0)
        scaler = torch.amp.GradScaler("cpu", enabled=False)
        with self.forward.running():
            step = train_step(self.forward, self.batch, optimizer, scaler, self.injection.place, 0, 0.0, 0.0)
        return step.loss, {n: p.grad.clone() for n, p in self.model.named_parameters() if p.grad is not None}


def assert_equal(
    found: tuple[float, dict[str, torch.Tensor]], wanted: tuple[float, dict[str, torch.Tensor]], bound: float = 1e-5
) -> None:
    assert found[0] == pytest.approx(wanted[0], rel=bound, abs=0)
    assert found[1].keys() == wanted[1].keys()
    for name, gradient in wanted[1].items():
        size = gradient.abs().max().item()
        assert size > 0, f"{name} has no gradient: nothing is compared"
        assert (found[1][name] - gradient).abs().max().item() <= bound * size, name


@pytest.mark.parametrize("dropout", [0.0, 0.1])
@pytest.mark.parametrize("family", ["llama", "qwen3", "gpt2"])
def test_policies_change_nothing(bases: Callable[[str], Path], family: str, dropout: float) -> None:
    bench = Bench(bases(family), dropout=dropout)
    kept = bench.update()
    for policy in POLICIES:
        assert_equal(bench.update(policy), kept)


@pytest.mark.parametrize(("family", "quantization"), [("even-llama", "nf4"), ("llama", "nf4"), ("llama", "int8")])
def test_a_quantised_base_gives_the_very_same_bits(
    bases: Callable[[str], Path], family: str, quantization: Quantization
) -> None:
    bench = Bench(bases(family), quantization, dropout=0.1)
    kept = bench.update()
    for policy in POLICIES:
        assert_equal(bench.update(policy), kept, bound=0)


@pytest.mark.parametrize("policy", ["none", *POLICIES])
@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_what_projections_make_again_gives_the_very_same_bits(
    llama: Path, policy: str, dropout: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(llama, dropout=dropout)
    assert fuse(bench.model, compile=False).norms == 5
    found = bench.update(policy)
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: tensor.clone(), lambda tensor: tensor):
        assert_equal(bench.update(policy), found, bound=0)
    monkeypatch.setattr(lora_linear, "origin_of", lambda _: None)
    assert_equal(bench.update(policy), found, bound=0)


# Widths of the outputs of norms (32) and gates (44) that no checkpoint has a part in, but for the very first norm's.
REMADE = {"none": 3 * 32 + 2 * 44, "attention": 2 * 32 + 2 * 44, "every-2": 2 * 32 + 44, "layers": 0}


@pytest.mark.parametrize("policy", REMADE)
def test_what_projections_make_again_is_not_kept(llama: Path, policy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(llama)
    fuse(bench.model, compile=False)
    size, tokens = kept_bytes(bench, policy), len(bench.batch.rows[0].token_ids)
    monkeypatch.setattr(lora_linear, "origin_of", lambda _: None)
    assert kept_bytes(bench, policy) - size == 4 * REMADE[policy] * tokens  # float32


def test_full_fine_tuning(llama: Path) -> None:
    bench = Bench(llama, method="none")
    kept = bench.update()
    for policy in POLICIES:
        assert_equal(bench.update(policy), kept)


def test_dora_recomputes_through_peft_s_forward(bases: Callable[[str], Path]) -> None:
    bench = Bench(bases("even-llama"), "nf4", variant="dora")
    assert_equal(bench.update("layers"), bench.update())


def test_dropout_of_another_place_would_be_seen(llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison can fail: a mask that is not that of the forward gives other gradients."""
    bench = Bench(llama, dropout=0.1)
    kept = bench.update()
    backward = torch.Tensor.backward

    def later(loss: torch.Tensor) -> None:
        bench.injection.place.update = 1
        backward(loss)

    monkeypatch.setattr(torch.Tensor, "backward", later)
    with pytest.raises(AssertionError):
        assert_equal(bench.update("layers"), kept)


def test_dropout_that_draws_at_random_draws_the_same_again(llama: Path) -> None:
    bench = Bench(llama)
    for module in bench.model.modules():
        for adapter in getattr(module, "lora_dropout", {}):
            module.lora_dropout[adapter] = nn.Dropout(0.5)
    bench.model.train()
    torch.manual_seed(5)
    kept = bench.update()
    torch.manual_seed(5)
    assert_equal(bench.update("layers"), kept)


def kept_bytes(bench: Bench, policy: str) -> int:
    """Bytes that stand between forward and backward of one row, parameters aside."""
    weights = {p.untyped_storage().data_ptr() for p in bench.model.parameters()}
    kept: dict[int, torch.UntypedStorage] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage  # held, so that no place is used twice
        return tensor

    hooks = torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor)
    with recomputing(bench.model, policy), bench.forward.running(), hooks:
        bench.forward(bench.batch.rows[0])
    return sum(storage.nbytes() for storage in kept.values())


@pytest.mark.parametrize(("quantization", "method"), [("none", "lora"), ("nf4", "lora"), ("none", "none")])
def test_each_policy_keeps_less_than_the_one_before(
    bases: Callable[[str], Path], quantization: Quantization, method: str
) -> None:
    bench = Bench(bases("even-llama"), quantization, method=method)
    sizes = [kept_bytes(bench, policy) for policy in ("none", "attention", "every-2", "layers")]
    assert sizes == sorted(set(sizes), reverse=True)
    # Of two layers, half of what recomputing both saves; the first keeps a little less, its input having no gradient.
    assert sizes[0] - sizes[2] == pytest.approx(sizes[2] - sizes[3], rel=0.15)


@pytest.fixture
def dequantised(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every quantised layer whose weight is dequantised, in order."""
    plain = quantize.dequantized_weight
    layers: list[Any] = []

    def counted(layer: Any) -> torch.Tensor:
        layers.append(layer)
        return plain(layer)

    monkeypatch.setattr(quantize, "dequantized_weight", counted)
    return layers


def quantised_linears(layer: nn.Module) -> list[Any]:
    return [module for module in layer.modules() if type(module).__name__ == "Linear4bit"]


@pytest.mark.parametrize("policy", ["none", "attention", "every-2", "layers"])
def test_recomputation_and_backward_share_one_dequantisation(
    bases: Callable[[str], Path], dequantised: list[Any], policy: str
) -> None:
    bench = Bench(bases("even-llama"), "nf4")
    first, last = (quantised_linears(layer) for layer in decoder_layers(bench.model))
    assert len(first) == len(last) == LINEARS
    dequantised.clear()
    bench.update(policy)
    rows = len(bench.batch.rows)
    assert [dequantised.count(linear) for linear in last] == [2 * rows] * LINEARS
    # The first layer's q, k and v have no gradient to hand on, so they ask for their weights in the forwards alone.
    assert all(dequantised.count(linear) <= 2 * rows for linear in first)


def test_without_sharing_there_are_three_dequantisations(
    bases: Callable[[str], Path], dequantised: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(bases("even-llama"), "nf4")
    shared = bench.update("layers")
    dequantised.clear()
    monkeypatch.setattr(recompute.SharedWeights, "weight", dequantised_anew)
    assert_equal(bench.update("layers"), shared, bound=0)
    for linear in quantised_linears(decoder_layers(bench.model)[-1]):
        assert dequantised.count(linear) == 3 * len(bench.batch.rows)


def dequantised_anew(_: recompute.SharedWeights, layer: Any, dtype: torch.dtype) -> torch.Tensor:
    return quantize.dequantized_weight(layer).to(dtype)


def test_shared_weights_are_those_of_one_layer(bases: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(bases("even-llama"), "nf4")
    most = 0
    weight = recompute.SharedWeights.weight

    def watched(self: recompute.SharedWeights, *args: Any) -> torch.Tensor:
        nonlocal most
        found = weight(self, *args)
        most = max(most, len(self._kept))
        return found

    monkeypatch.setattr(recompute.SharedWeights, "weight", watched)
    bench.update("layers")
    assert most == LINEARS


def state(model: nn.Module) -> list[tuple[Any, ...]]:
    """What a policy could leave behind on any module."""
    return [
        (name, type(m), sorted(vars(m)), len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks))
        for name, m in model.named_modules()
    ]


@pytest.mark.parametrize("policy", POLICIES)
def test_the_model_is_as_before(llama: Path, policy: str) -> None:
    bench = Bench(llama, "nf4")
    before = state(bench.model)
    with pytest.raises(KeyboardInterrupt), recomputing(bench.model, policy):
        assert state(bench.model) != before
        raise KeyboardInterrupt
    assert state(bench.model) == before


def test_a_forward_of_the_layer_itself_is_called_and_comes_back(llama: Path) -> None:
    bench = Bench(llama)
    layer = decoder_layers(bench.model)[0]
    plain, calls = layer.forward, []

    def own(*args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        return plain(*args, **kwargs)

    layer.forward = own
    bench.update("layers")
    assert layer.forward is own
    assert len(calls) == 2 * len(bench.batch.rows)  # forward and recomputation


def test_without_a_gradient_nothing_is_recomputed(llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(llama)

    def called(*_: Any, **__: Any) -> None:
        raise AssertionError("recomputation was prepared")

    monkeypatch.setattr(recompute, "checkpoint", called)
    with recomputing(bench.model, "layers"), bench.forward.running():
        with torch.no_grad():
            bench.forward(bench.batch.rows[0])
        with pytest.raises(AssertionError, match="was prepared"):
            bench.forward(bench.batch.rows[0])


@pytest.mark.parametrize("policy", ["every-1", "every-0", "every-02", "every-", "each-2", "Layers", "mlp", ""])
def test_an_unknown_policy_is_one_clear_fault(policy: str) -> None:
    with pytest.raises(RecipeError) as caught:
        parse_recipe({"model": {"name": "m"}, "data": {"train": "d"}, "train": {"recompute": policy}})
    said = "none, attention, every-2 (or every-3, and so on), layers or offload"
    assert caught.value.faults == (f"train.recompute: found {policy!r}; input should be auto, {said}",)
    with pytest.raises(TrainingError, match=f"found '{policy}'"):
        check_recompute(policy, "cuda")


@pytest.mark.parametrize("policy", ["none", "attention", "every-2", "every-10", "layers", "offload"])
def test_policies_that_there_are(policy: str) -> None:
    recipe = parse_recipe({"model": {"name": "m"}, "data": {"train": "d"}, "train": {"recompute": policy}})
    assert recipe.train.recompute == policy
    check_recompute(policy, "cuda")


@pytest.mark.parametrize("device", ["cpu", "mps"])
def test_offload_is_refused_without_cuda(llama: Path, device: str) -> None:
    with pytest.raises(TrainingError, match=f"this run is on {device}. Use layers") as caught:
        check_recompute("offload", device)
    assert caught.value.exit_code == 2
    with pytest.raises(TrainingError, match="this run is on cpu"), recomputing(Bench(llama).model, "offload"):
        pass


def test_offload_takes_the_input_of_each_layer_away(llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its hooks, on the CPU: a copy of each layer's input is kept in place of the input, and serves as well."""
    bench = Bench(llama)
    kept = bench.update()
    copied: list[tuple[int, ...]] = []

    def watched(values: tuple[Any, ...]) -> Any:
        hooks = kept_on_host(values)
        pack = hooks.pack_hook

        def watching(tensor: torch.Tensor) -> Any:
            packed = pack(tensor)
            if packed is not tensor:
                assert packed[1].data_ptr() != tensor.data_ptr() and torch.equal(packed[1], tensor)
                copied.append(tuple(tensor.shape))
            return packed

        hooks.pack_hook = watching
        return hooks

    monkeypatch.setattr(recompute, "kept_on_host", watched)
    with recompute._recomputed(bench.model, decoder_layers(bench.model), offload=True):
        assert_equal(bench.step(), kept)
    assert copied == [(1, len(row.token_ids), 32) for row in bench.batch.rows for _ in range(2)]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_offload_on_cuda(llama: Path) -> None:
    bench = Bench(llama, device="cuda", dropout=0.1)
    kept = bench.update()
    before = torch.cuda.memory_allocated()
    with recomputing(bench.model, "layers"), bench.forward.running():
        loss = bench.forward(bench.batch.rows[0])
        layers = torch.cuda.memory_allocated() - before
        del loss
    with recomputing(bench.model, "offload"), bench.forward.running():
        loss = bench.forward(bench.batch.rows[0])
        offload = torch.cuda.memory_allocated() - before
        del loss
    assert offload < layers
    assert_equal(bench.update("offload"), kept)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_layers_are_found_in_plain_and_adapted_models(bases: Callable[[str], Path], family: str) -> None:
    plain = load_base(bases(family), CPU).model
    wanted = [type(layer).__name__ for layer in decoder_layers(plain)]
    assert wanted == {"llama": ["LlamaDecoderLayer"], "gpt2": ["GPT2Block"]}[family] * 2
    adapted = inject(load_base(bases(family), CPU), AdapterSettings(rank=4), seed=1).model
    assert [type(layer).__name__ for layer in decoder_layers(adapted)] == wanted


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.experts = nn.ModuleList(nn.Linear(2, 2) for _ in range(8))


def test_layers_of_a_model_with_code_of_its_own() -> None:
    """Not transformers' class: the longest list of like modules, but not the experts within a layer."""
    model = nn.Module()
    model.odds = nn.ModuleList([nn.Linear(2, 2), nn.LayerNorm(2), nn.Linear(2, 2), nn.LayerNorm(2), nn.ReLU()])
    model.blocks = nn.ModuleList(Layer() for _ in range(3))
    assert decoder_layers(model) == list(model.blocks)


def test_nothing_to_recompute_is_said() -> None:
    with pytest.raises(TrainingError, match="no layers were found in Linear"), recomputing(nn.Linear(2, 2), "layers"):
        pass
    model = nn.ModuleList()
    model.blocks = nn.ModuleList(Layer() for _ in range(3))
    with pytest.raises(TrainingError, match="Layer has no attention of its own"), recomputing(model, "attention"):
        pass
