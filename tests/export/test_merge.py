"""Merged tensor by tensor: bit by bit PEFT's merge of the whole model, whatever was trained on whatever base."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from peft import PeftModel, get_peft_model_state_dict
from safetensors.torch import load_file
from tests.conftest import LLAMA_LIKE

from lorafit.adapters.inject import inject
from lorafit.adapters.save import load_trained, save_trained
from lorafit.adapters.settings import AdapterSettings
from lorafit.errors import AdapterError, ExportError
from lorafit.export import merge
from lorafit.export.answers import next_token_logits
from lorafit.export.fold import adapter_of, read_adapter
from lorafit.export.merge import Shards, Trained, check_empty, generation_config, write_merged, write_surroundings
from lorafit.export.whole import merged_model, write_whole
from lorafit.hardware import DTYPES, Hardware
from lorafit.model.load import load_base

PROMPT = [5, 6, 200, 9, 77, 12, 31, 4]
CASES = [
    ("llama", "none", "plain", "float32"),
    ("llama", "none", "dora", "float32"),
    ("llama", "none", "pissa", "float32"),
    ("gpt2", "none", "rslora", "float32"),
    ("gpt2", "none", "dora", "float32"),
    ("phi3", "none", "plain", "float32"),
    ("gpt2", "nf4", "plain", "float32"),
    ("llama", "nf4", "plain", "float32"),
    ("llama", "nf4", "pissa", "float32"),
    ("llama", "int8", "plain", "float32"),
    ("qwen2", "none", "plain", "bfloat16"),
    ("even-llama", "nf4", "dora", "bfloat16"),
]


def trained(
    folder: Path, base: Path, tokenizer: Any, quantization: Any = "none", dtype: str = "float32", **settings: Any
) -> tuple[Any, Trained]:
    """A tuned model, saved to `folder` and opened again, and what its merge is made of."""
    chosen = AdapterSettings(rank=4, alpha=8, **settings)
    hardware = Hardware(torch.device("cpu"), DTYPES[dtype], "a test")
    model = inject(load_base(base, hardware, quantization), chosen, seed=3).model.eval()
    with torch.no_grad():
        for number, parameter in enumerate(p for p in model.parameters() if p.requires_grad):
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(number)))
    save_trained(model, tokenizer, chosen, folder)
    tuned = load_trained(load_base(base, hardware, quantization), chosen, folder)
    if quantization == "none":
        return tuned, Trained(base, DTYPES[dtype], read_adapter(folder))
    adapter = adapter_of(tuned.peft_config["default"], get_peft_model_state_dict(tuned), str(folder))
    return tuned, Trained(base, DTYPES[dtype], adapter, tuned)


def written(parts: Trained, tokenizer: Any, folder: Path, shard_bytes: int = 10**9, dtype: str = "float32") -> Any:
    """The merged folder as transformers opens it."""
    folder.mkdir()
    write_merged(Shards(parts), folder, DTYPES[dtype], shard_bytes)
    write_surroundings(parts, tokenizer, [0], folder, dtype)
    model, report = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype="auto", output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"]
    assert model.dtype == DTYPES[dtype]
    return model.eval()


@pytest.mark.parametrize(("family", "quantization", "variant", "dtype"), CASES)
def test_tensor_by_tensor_is_the_merge_of_the_whole_model(
    bases: Callable[[str], Path],
    tokenizer: Any,
    tmp_path: Path,
    family: str,
    quantization: str,
    variant: str,
    dtype: str,
) -> None:
    tuned, parts = trained(tmp_path / "adapter", bases(family), tokenizer, quantization, dtype, variant=variant)
    assert Shards(parts).obstacle() is None
    opened = written(parts, tokenizer, tmp_path / "merged")
    whole = merged_model(parts).state_dict()
    for name, weight in opened.state_dict().items():
        assert torch.equal(weight, whole[name]), name
    found, wanted = (next_token_logits(model, PROMPT, 1) for model in (opened, tuned))
    # The run's own arithmetic rounds in 16 bits.
    assert (found - wanted).abs().max() < (1e-4 if dtype == "float32" else 0.1)
    plain = load_base(bases(family), Hardware(torch.device("cpu"), torch.float32, "a test")).model.eval()
    assert (next_token_logits(plain, PROMPT, 1) - wanted).abs().max() > 0.1, "the adapter changed nothing"


def test_the_whole_merge_is_pefts(llama: Path, tokenizer: Any, tmp_path: Path) -> None:
    _, parts = trained(tmp_path / "adapter", llama, tokenizer)
    plain = transformers.AutoModelForCausalLM.from_pretrained(llama, dtype=torch.float32)
    wanted = PeftModel.from_pretrained(plain, tmp_path / "adapter").merge_and_unload().state_dict()
    for name, weight in merged_model(parts).state_dict().items():
        assert torch.equal(weight, wanted[name]), name


def test_a_model_merged_as_one_is_written_alike(llama: Path, tokenizer: Any, tmp_path: Path) -> None:
    _, parts = trained(tmp_path / "adapter", llama, tokenizer)
    by_tensor = written(parts, tokenizer, tmp_path / "merged").state_dict()
    write_whole(parts, tmp_path / "whole", torch.float32, 20_000)
    assert len(list((tmp_path / "whole").glob("*.safetensors"))) > 1
    opened = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "whole", dtype="auto")
    assert all(torch.equal(weight, by_tensor[name]) for name, weight in opened.state_dict().items())


def test_experts_that_get_no_adapter_stay(tokenizer: Any, tmp_path: Path) -> None:
    """transformers keeps them stacked, the files one by one."""
    torch.manual_seed(5)
    config = transformers.Qwen3MoeConfig(
        **LLAMA_LIKE, head_dim=8, moe_intermediate_size=12, num_experts=4, num_experts_per_tok=2, decoder_sparse_step=1
    )
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.save_pretrained(tmp_path / "base")
    tuned, parts = trained(tmp_path / "adapter", tmp_path / "base", tokenizer, targets="attention")
    assert Shards(parts).obstacle() is None
    opened = written(parts, tokenizer, tmp_path / "merged")
    assert torch.allclose(next_token_logits(opened, PROMPT, 1), next_token_logits(tuned, PROMPT, 1), atol=1e-4)


def test_trained_biases_and_norms_are_in_it(bases: Callable[[str], Path], tokenizer: Any, tmp_path: Path) -> None:
    tuned, parts = trained(tmp_path / "adapter", bases("qwen2"), tokenizer, train_bias=True, train_norms=True)
    assert parts.adapter is not None and {"model.norm.weight", "model.layers.0.self_attn.q_proj.bias"} <= set(
        parts.adapter.replaced
    )
    opened = written(parts, tokenizer, tmp_path / "merged")
    difference = next_token_logits(opened, PROMPT, 1) - next_token_logits(tuned, PROMPT, 1)
    assert difference.abs().max() < 1e-4


def test_many_shards_and_tied_embeddings(llama: Path, tokenizer: Any, tmp_path: Path) -> None:
    tuned, parts = trained(tmp_path / "adapter", llama, tokenizer)
    opened = written(parts, tokenizer, tmp_path / "merged", shard_bytes=20_000)
    shards = sorted(path.name for path in (tmp_path / "merged").glob("*.safetensors"))
    assert len(shards) > 3 and shards[0] == f"model-00001-of-{len(shards):05d}.safetensors"
    index = json.loads((tmp_path / "merged" / "model.safetensors.index.json").read_text())
    assert set(index["weight_map"].values()) == set(shards) and "lm_head.weight" not in index["weight_map"]
    assert opened.get_output_embeddings().weight is opened.get_input_embeddings().weight
    assert torch.allclose(next_token_logits(opened, PROMPT, 1), next_token_logits(tuned, PROMPT, 1), atol=1e-4)


def test_rows_of_added_tokens_stay(llama: Path, tokenizer: Any, tmp_path: Path) -> None:
    model = transformers.AutoModelForCausalLM.from_pretrained(llama, dtype=torch.float32)
    model.resize_token_embeddings(520, mean_resizing=False)
    model.save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    tuned, parts = trained(tmp_path / "adapter", tmp_path / "base", tokenizer)
    opened = written(parts, tokenizer, tmp_path / "merged")
    assert opened.config.vocab_size == opened.get_input_embeddings().weight.shape[0] == 520
    assert torch.allclose(next_token_logits(opened, PROMPT, 1), next_token_logits(tuned, PROMPT, 1), atol=1e-4)


def test_names_without_the_inner_models_are_kept(bases: Callable[[str], Path], tokenizer: Any, tmp_path: Path) -> None:
    """As GPT-2's own checkpoint has them: h.0... where the model says transformer.h.0..."""
    from safetensors.torch import save_file

    state = load_file(bases("gpt2") / "model.safetensors")
    base = tmp_path / "base"
    base.mkdir()
    save_file(
        {name.removeprefix("transformer."): one for name, one in state.items()},
        base / "model.safetensors",
        {"format": "pt"},
    )
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (base / name).write_bytes((bases("gpt2") / name).read_bytes())
    tuned, parts = trained(tmp_path / "adapter", base, tokenizer)
    opened = written(parts, tokenizer, tmp_path / "merged")
    assert "h.0.attn.c_attn.weight" in load_file(tmp_path / "merged" / "model.safetensors")
    assert torch.allclose(next_token_logits(opened, PROMPT, 1), next_token_logits(tuned, PROMPT, 1), atol=1e-4)


def test_a_layer_that_is_no_tensor_of_its_own_is_said(llama: Path, tokenizer: Any, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    _, parts = trained(tmp_path / "adapter", llama, tokenizer)
    base = tmp_path / "base"
    base.mkdir()
    state = load_file(llama / "model.safetensors")
    state["joined"] = state.pop("model.layers.1.self_attn.q_proj.weight")
    save_file(state, base / "model.safetensors", {"format": "pt"})
    (base / "config.json").write_bytes((llama / "config.json").read_bytes())
    obstacle = Shards(Trained(base, torch.float32, parts.adapter)).obstacle()
    assert obstacle is not None and "model.layers.1.self_attn.q_proj.weight is no tensor of its own" in obstacle


def test_an_adapter_of_another_base_is_refused(
    bases: Callable[[str], Path], llama: Path, tokenizer: Any, tmp_path: Path
) -> None:
    _, parts = trained(tmp_path / "adapter", llama, tokenizer)
    with pytest.raises(AdapterError, match=r"not of the base .*down_proj is \[64, 128\] there, and \[32, 44\]"):
        Shards(Trained(bases("even-llama"), torch.float32, parts.adapter))
    with pytest.raises(AdapterError, match="is no layer of that model"):
        Shards(Trained(bases("gpt2"), torch.float32, parts.adapter))


def test_what_is_not_finite_is_not_written(
    llama: Path, tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, parts = trained(tmp_path / "adapter", llama, tokenizer)
    assert parts.adapter is not None
    parts.adapter.layers["model.layers.0.mlp.up_proj"]["lora_B.weight"][0] = float("nan")
    with pytest.raises(ExportError, match=r"model.layers.0.mlp.up_proj cannot be folded"):
        list(Shards(parts).tensors())


def test_answers_end_where_they_ended_in_training(tmp_path: Path) -> None:
    assert generation_config(tmp_path, {"eos_token_id": 7, "pad_token_id": 3}, [2]) == {
        "eos_token_id": [2, 7],
        "pad_token_id": 3,
    }
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": [2], "temperature": 0.6}')
    assert generation_config(tmp_path, {}, [2]) == {"eos_token_id": 2, "temperature": 0.6}


def test_a_folder_with_something_in_it_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ExportError, match="exists already and is not empty"):
        check_empty(tmp_path)


def test_memory_is_about_a_shard(llama: Path, tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two writes no more than a shard and two tensors of what was made are alive."""
    import weakref

    _, parts = trained(tmp_path / "adapter", llama, tokenizer)
    alive: list[weakref.ref[torch.Tensor]] = []
    peak = 0
    real = merge.folded

    def counted(*args: Any) -> torch.Tensor:
        nonlocal peak
        made = real(*args)
        alive.append(weakref.ref(made))
        peak = max(peak, sum(one.nbytes for ref in alive if (one := ref()) is not None))
        return made

    monkeypatch.setattr(merge, "folded", counted)
    (tmp_path / "merged").mkdir()
    write_merged(Shards(parts), tmp_path / "merged", torch.float32, shard_bytes=12_000)
    assert len(alive) == 14 and peak <= 12_000 + 2 * 44 * 32 * 4
