"""Fused norms, gated MLPs and rotary embeddings: equal to the model's own, refused when they are not, and undone."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from transformers.models.llama import modeling_llama

from lorafit.adapters.inject import inject
from lorafit.adapters.settings import AdapterSettings
from lorafit.hardware import Hardware
from lorafit.model import fused
from lorafit.model.fused import Fused, fuse, unfuse
from lorafit.model.load import load_base
from lorafit.ops import elementwise, lora_linear

CPU = Hardware(torch.device("cpu"), torch.float32, "a test")
IDS = torch.tensor([[5, 9, 200, 7, 31, 8, 90, 4, 4, 61]])
# Two layers each: norms (with those of queries and keys, or after the blocks), gated MLPs, rotary embeddings.
COUNTS = {
    "llama": Fused(5, 2, 2),
    "qwen2": Fused(5, 2, 2),
    "qwen3": Fused(9, 2, 2),
    "mistral": Fused(5, 2, 2),
    "gemma2": Fused(9, 2, 2),
    "gpt2": Fused(0, 0, 0),
}


def adapted(folder: Path) -> Any:
    model = inject(load_base(folder, CPU), AdapterSettings(rank=4, alpha=8), seed=1).model
    with torch.no_grad():  # B starts at zero, which would make every gradient of A zero
        for number, parameter in enumerate(p for p in model.parameters() if p.requires_grad):
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(number)))
    return model


def phi3(**settings: Any) -> nn.Module:
    torch.manual_seed(3)
    config = transformers.Phi3Config(
        vocab_size=512,
        hidden_size=32,
        intermediate_size=44,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        pad_token_id=0,
        **settings,
    )
    return transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32).requires_grad_(False)


def outcome(model: Any) -> list[Tensor]:
    """Logits, then every gradient of a loss that uses them all."""
    model.zero_grad()
    logits = model(input_ids=IDS, use_cache=False).logits
    logits.logsumexp(-1).sum().backward()
    return [logits.detach(), *(p.grad.clone() for p in model.parameters() if p.grad is not None)]


def assert_equal(found: list[Tensor], wanted: list[Tensor]) -> None:
    assert len(found) == len(wanted) > 1
    for one, other in zip(found, wanted, strict=True):
        assert (one - other).abs().max() <= 1e-5 * other.abs().max() > 0


def classes(model: nn.Module) -> list[type]:
    return [type(m) for m in model.modules()]


@pytest.mark.parametrize("family", COUNTS)
def test_logits_and_gradients_stay_and_unfuse_gives_the_classes_back(bases: Callable[[str], Path], family: str) -> None:
    model = adapted(bases(family))
    before, wanted, state = classes(model), outcome(model), set(model.state_dict())
    assert fuse(model, compile=False) == COUNTS[family]
    assert_equal(outcome(model), wanted)
    assert set(model.state_dict()) == state
    unfuse(model)
    assert classes(model) == before
    assert all(torch.equal(a, b) for a, b in zip(outcome(model), wanted, strict=True))


def test_a_joined_projection_is_found_and_a_partial_rotary_left_alone() -> None:
    model = phi3()
    embeddings = model.get_input_embeddings().weight.requires_grad_()  # type: ignore[operator]
    wanted = outcome(model)
    embeddings.requires_grad_(False)
    assert fuse(model, compile=False) == Fused(5, 2, 2)
    embeddings.requires_grad_()
    assert_equal(outcome(model), wanted)
    partial = phi3(rope_parameters={"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.5})
    assert fuse(partial, compile=False) == Fused(5, 2, 0)


BUGS: dict[str, Callable[..., Any]] = {
    "norm": lambda x, w, eps, offset, late: elementwise.norm(x, w, 2 * eps + 1e-3, offset, late),
    "norm_back": lambda g, x, r, w, offset, late: (g * w * r).to(x.dtype),
    "gated": lambda gate, up, act: elementwise.gated(up, gate, act),
    "gated_back": lambda g, gate, up, act: elementwise.gated_back(g, gate, up, act)[::-1],
    "rotate": lambda x, cos, sin: elementwise.rotate_back(x, cos, sin),
    "rotate_back": lambda g, cos, sin: elementwise.rotate(g, cos, sin),
}


@pytest.mark.parametrize("name", BUGS)
def test_a_wrong_function_is_refused(llama: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(elementwise, "PLAIN", dataclasses.replace(elementwise.PLAIN, **{name: BUGS[name]}))
    model = adapted(llama)
    before = classes(model)
    part = {"norm": "norms", "gated": "gated", "rotate": "rotary"}[name.removesuffix("_back")]
    assert fuse(model, compile=False) == dataclasses.replace(COUNTS["llama"], **{part: 0})
    changed = {a.__name__ for a, b in zip(before, classes(model), strict=True) if a is not b}
    refused = {"norms": "LlamaRMSNorm", "gated": "LlamaMLP", "rotary": "LlamaAttention"}[part]
    assert refused not in changed and len(changed) == 2


def test_what_it_is_not_made_for_is_the_originals(llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Used(Exception):
        pass

    def used(*args: Any) -> None:
        raise Used

    model = adapted(llama)
    fuse(model, compile=False)
    norm = next(m for m in model.modules() if type(m).__name__ == "FusedLlamaRMSNorm")
    x = torch.randn(3, 32)
    monkeypatch.setattr(fused.RmsNorm, "apply", used)
    with pytest.raises(Used):
        norm(x)
    norm(x.bfloat16())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        norm(x)
    norm.weight.requires_grad_(True)
    norm(x)
    norm.weight.requires_grad_(False)
    hook = norm.register_forward_hook(lambda *_: None)
    norm(x)
    hook.remove()
    with pytest.raises(Used):
        norm(x)


def test_trained_and_observed_modules_are_left_alone(llama: Path) -> None:
    model = adapted(llama)
    norms = [m for m in model.modules() if type(m).__name__ == "LlamaRMSNorm"]
    norms[0].weight.requires_grad_(True)
    norms[1].register_forward_hook(lambda *_: None)
    assert fuse(model, compile=False) == Fused(3, 2, 2)


def test_the_library_is_left_as_it_is(llama: Path) -> None:
    names = dict(vars(modeling_llama))
    forward = modeling_llama.LlamaAttention.forward
    fuse(adapted(llama), compile=False)
    assert vars(modeling_llama) == names
    assert modeling_llama.LlamaAttention.forward is forward


def test_where_nothing_can_be_compiled_the_plain_functions_run(llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elementwise, "why_not_compiled", lambda *_: "no C++ compiler")
    model = adapted(llama)
    wanted = outcome(model)
    assert fuse(model, compile=True) == dataclasses.replace(COUNTS["llama"], reason="no C++ compiler")
    assert_equal(outcome(model), wanted)


def kept_a_token(run: Callable[[Tensor], Any]) -> int:
    """Bytes saved for the backward, each storage once: what a token more of the ids adds to them."""

    def kept(length: int) -> int:
        storages: dict[int, torch.UntypedStorage] = {}

        def pack(tensor: Tensor) -> Tensor:
            storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
            return tensor

        with saved_tensors_hooks(pack, lambda tensor: tensor):
            output = run(torch.arange(3, 3 + length)[None])
        del output
        return sum(storage.nbytes() for storage in storages.values())

    assert (kept(24) - kept(8)) % 16 == 0
    return (kept(24) - kept(8)) // 16


# Of the bases of the tests: width, width of the MLP, rank, bytes a number.
WIDTH, INNER, RANK, SIZE = 32, 44, 4, 4


def test_the_mlp_keeps_no_input_of_a_projection(llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = adapted(llama)
    fuse(model, compile=False)
    layer = model.get_base_model().model.layers[1]

    def block(ids: Tensor) -> Tensor:
        x = torch.ones(1, ids.shape[1], WIDTH, requires_grad=True)
        return layer.mlp(layer.post_attention_layernorm(x))  # type: ignore[no-any-return]

    # The norm's input and reciprocal root, gate and up, and of each of three projections U.
    assert kept_a_token(block) == SIZE * (WIDTH + 1 + 2 * INNER + 3 * RANK)
    monkeypatch.setattr(lora_linear, "origin_of", lambda _: None)
    assert kept_a_token(block) == SIZE * (2 * WIDTH + 1 + 3 * INNER + 3 * RANK)


def test_all_layers_keep_that_much_less(llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = adapted(llama)
    fuse(model, compile=False)

    def run(ids: Tensor) -> Tensor:
        return model(input_ids=ids, use_cache=False).logits.sum()  # type: ignore[no-any-return]

    less = kept_a_token(run)
    monkeypatch.setattr(lora_linear, "origin_of", lambda _: None)
    # Two norms and a gated product in each of two layers, but for the very first norm: its input has no gradient.
    assert kept_a_token(run) - less == SIZE * (2 * (2 * WIDTH + INNER) - WIDTH)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("family", ["llama", "qwen3", "gemma2", "phi3"])
def test_what_is_made_again_gives_the_same_bits_once_each(
    bases: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, family: str, dtype: torch.dtype
) -> None:
    model = adapted(bases(family)).to(dtype)
    fuse(model, compile=False)
    made: list[Any] = []
    of = elementwise.Remade.of

    def counted(self: elementwise.Remade, *parts: Tensor) -> Tensor:
        fresh, output = self._made is None, of(self, *parts)
        made.extend([self] * fresh)
        return output

    monkeypatch.setattr(elementwise.Remade, "of", counted)
    found = outcome(model)
    # Each layer's norms before attention and MLP and its product, but for the very first norm.
    assert len(made) == len(set(made)) == 5 and all(remade._made is None for remade in made)
    monkeypatch.setattr(lora_linear, "origin_of", lambda _: None)
    wanted = outcome(model)
    assert len(made) == 5 and len(found) == len(wanted) > 1
    assert all(torch.equal(one, other) for one, other in zip(found, wanted, strict=True))
