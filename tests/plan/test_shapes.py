"""Names to configs: built-in shapes against published counts, folders, files, hubs, and what is wrong with a config."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from huggingface_hub import errors
from transformers import AutoConfig, AutoModelForCausalLM

from lorafit import builtin
from lorafit.errors import PlanError
from lorafit.plan.known_shapes import FULL_NAMES, SHAPES, SPELLINGS, expand
from lorafit.plan.shapes import UnknownArchitecture, config_of, count_parameters_of, formula_estimate, pretty

# The `total` of the hub's safetensors metadata, or what parameters() counts on the loaded model where the checkpoint
# stores tied or extra tensors twice. Gemma 3 from 4b on: n_params of the language part as llama.cpp reports it.
PUBLISHED = {
    "huggyllama/llama-7b": 6_738_415_616,
    "huggyllama/llama-13b": 13_015_864_320,
    "huggyllama/llama-30b": 32_528_943_616,
    "huggyllama/llama-65b": 65_285_660_672,
    "meta-llama/Llama-2-7b": 6_738_415_616,
    "meta-llama/Llama-2-13b": 13_015_864_320,
    "meta-llama/Llama-2-70b": 68_976_648_192,
    "TinyLlama/TinyLlama-1.1B": 1_100_048_384,
    "meta-llama/Meta-Llama-3-8B": 8_030_261_248,
    "meta-llama/Llama-3.1-70B": 70_553_706_496,
    "meta-llama/Llama-3.2-1B": 1_235_814_400,
    "meta-llama/Llama-3.2-3B": 3_212_749_824,
    "mistralai/Mistral-7B-v0.1": 7_241_732_096,
    "mistralai/Mistral-7B-Instruct-v0.2": 7_241_732_096,
    "mistralai/Mistral-7B-v0.3": 7_248_023_552,
    "mistralai/Mistral-Nemo-Base-2407": 12_247_782_400,
    "Qwen/Qwen2.5-0.5B": 494_032_768,
    "Qwen/Qwen2.5-1.5B": 1_543_714_304,
    "Qwen/Qwen2.5-3B": 3_085_938_688,
    "Qwen/Qwen2.5-7B": 7_615_616_512,
    "Qwen/Qwen2.5-14B": 14_770_033_664,
    "Qwen/Qwen2.5-32B": 32_763_876_352,
    "Qwen/Qwen2.5-72B": 72_706_203_648,
    "Qwen/Qwen3-0.6B": 596_049_920,
    "Qwen/Qwen3-1.7B": 1_720_574_976,
    "Qwen/Qwen3-4B": 4_022_468_096,
    "Qwen/Qwen3-8B": 8_190_735_360,
    "Qwen/Qwen3-14B": 14_768_307_200,
    "Qwen/Qwen3-32B": 32_762_123_264,
    "google/gemma-2-2b": 2_614_341_888,
    "google/gemma-2-9b": 9_241_705_984,
    "google/gemma-2-27b": 27_227_128_320,
    "google/gemma-3-270m": 268_098_176,
    "google/gemma-3-1b-it": 999_885_952,
    "google/gemma-3-4b-it": 3_880_263_168,
    "google/gemma-3-12b-it": 11_766_034_176,
    "google/gemma-3-27b-it": 27_009_346_304,
    "HuggingFaceTB/SmolLM2-135M": 134_515_008,
    "HuggingFaceTB/SmolLM2-360M": 361_821_120,
    "HuggingFaceTB/SmolLM2-1.7B": 1_711_376_384,
    "microsoft/Phi-3-mini-4k-instruct": 3_821_079_552,
    "microsoft/Phi-3.5-mini-instruct": 3_821_079_552,
}
LLAMA = {"model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}


def config_file(folder: Path, content: str | dict[str, Any]) -> Path:
    folder.mkdir(exist_ok=True)
    file = folder / "config.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return file


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """A hub that cannot be reached; what was asked of it."""
    asked: list[dict[str, Any]] = []

    def snapshot_download(name: str, **asked_for: Any) -> str:
        asked.append({"name": name, **asked_for})
        raise errors.LocalEntryNotFoundError("no network")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    return asked


def message_of(name: str) -> str:
    with pytest.raises(PlanError) as caught:
        config_of(name)
    return str(caught.value)


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_known_shape_has_the_published_count_and_the_formula_is_near(name: str) -> None:
    shape, context = FULL_NAMES[name]
    assert count_parameters_of(config_of(name).config) == PUBLISHED[name]
    assert formula_estimate(shape.config(context)).parameters == pytest.approx(PUBLISHED[name], rel=0.01)


def test_every_shape_is_counted() -> None:
    assert {id(FULL_NAMES[name][0]) for name in PUBLISHED} == {id(shape) for shape in SHAPES}


def test_no_two_shapes_share_a_name() -> None:
    names = [name for shape in SHAPES for pattern in shape.names for name in expand(pattern)]
    assert len(names) == len({name.lower() for name in names})
    assert len(names) == len({name.rpartition("/")[2].lower() for name in names})
    assert set(SPELLINGS.values()) == set(names)


@pytest.mark.parametrize(
    ("spelling", "name", "context"),
    [
        ("llama-3.1-8b", "meta-llama/Llama-3.1-8B", 131_072),
        ("META-LLAMA/meta-llama-3-8b-instruct", "meta-llama/Meta-Llama-3-8B-Instruct", 8192),
        ("llama-33b", "llama-33b", 2048),
        ("Qwen/Qwen2.5-7B-Instruct", "Qwen/Qwen2.5-7B-Instruct", 32_768),
        ("qwen2.5-7b", "Qwen/Qwen2.5-7B", 131_072),
        ("Qwen/Qwen3-8B", "Qwen/Qwen3-8B", 40_960),
    ],
)
def test_a_known_name_needs_no_network(spelling: str, name: str, context: int, no_hub: list[dict[str, Any]]) -> None:
    found = config_of(spelling)
    assert (found.origin, found.name, found.note) == ("known shape", name, "")
    assert found.config.max_position_embeddings == context
    assert not no_hub


def test_what_attention_sees_is_kept() -> None:
    gemma = config_of("google/gemma-3-4b-it")
    assert gemma.config.layer_types[:7] == ["sliding_attention"] * 5 + ["full_attention", "sliding_attention"]
    assert gemma.config.sliding_window == 1024
    assert "image encoder" in gemma.note
    assert config_of("google/gemma-2-2b").config.layer_types[:2] == ["sliding_attention", "full_attention"]
    assert config_of("mistralai/Mistral-7B-v0.1").config.sliding_window == 4096
    assert config_of("mistralai/Mistral-7B-v0.3").config.sliding_window is None


def test_a_folder_a_file_and_the_builtin_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = config_file(tmp_path / "some", LLAMA)
    for name, origin in ((str(file.parent), "folder"), (str(file), "file")):
        found = config_of(name)
        assert (found.origin, found.name, found.config.hidden_size) == (origin, name, 64)
    assert (
        config_of("builtin").config.hidden_size
        == json.loads((builtin.MODEL / "config.json").read_text())["hidden_size"]
    )
    config_file(tmp_path / "llama-3.1-8b", LLAMA)
    monkeypatch.chdir(tmp_path)
    assert config_of("llama-3.1-8b").config.hidden_size == 64  # a folder goes before a known shape of its name


def test_of_a_hub_only_the_config_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, asked = config_file(tmp_path / "snapshot", LLAMA), []

    def snapshot_download(name: str, **asked_for: Any) -> str:
        asked.append((name, asked_for["revision"], asked_for["allow_patterns"]))
        return str(file.parent)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    assert config_of("someone/some-model", revision="v2").origin == "hub"
    assert asked == [("someone/some-model", "v2", ["config.json"])]
    file.unlink()
    assert "someone/some-model has no config.json" in message_of("someone/some-model")


def test_an_unknown_name_without_network(no_hub: list[dict[str, Any]], tmp_path: Path) -> None:
    message = message_of("someone/Llama-3.1-8B-Instruct-fine")
    assert "cannot be reached (no network)" in message
    assert "near: meta-llama/Llama-3.1-8B-Instruct" in message
    assert "A folder with a config.json will do too" in message
    assert no_hub
    assert "near:" not in message_of("zzz")
    (tmp_path / "empty").mkdir()
    assert "has no config.json" in message_of(str(tmp_path / "empty"))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{\n  "model_type": "llama",\n  "hidden_size": 64,,\n}', "config.json, line 3, column 2"),
        ("[1]", "should hold a JSON object, found list"),
        ({"hidden_size": 64}, "has no model_type"),
        ({**LLAMA, "quantization_config": {"load_in_4bit": True}}, "quantised already"),
        ({**LLAMA, "num_hidden_layers": "two"}, "holds what transformers cannot use"),
    ],
)
def test_a_config_that_cannot_be_used_is_said(tmp_path: Path, content: str | dict[str, Any], said: str) -> None:
    assert said in message_of(str(config_file(tmp_path / "some", content)))


def test_an_unknown_architecture_keeps_the_raw_config(tmp_path: Path) -> None:
    raw = {**LLAMA, "model_type": "qwen33", "auto_map": {"AutoConfig": "own.Own"}}
    with pytest.raises(UnknownArchitecture) as caught:
        config_of(str(config_file(tmp_path / "new", raw)))
    assert caught.value.raw == raw
    for said in (
        "no causal language model of model_type 'qwen33'",
        "Near: qwen3",
        "gemma3_text",
        "--trust-remote-code",
    ):
        assert said in str(caught.value)


def test_own_code_is_run_only_when_it_is_trusted(tmp_path: Path) -> None:
    raw = {**LLAMA, "model_type": "own", "auto_map": {"AutoConfig": "own.OwnConfig"}}
    folder = config_file(tmp_path / "own", raw).parent
    (folder / "own.py").write_text(
        "from transformers import PretrainedConfig\nclass OwnConfig(PretrainedConfig):\n    model_type = 'own'\n"
    )
    with pytest.raises(UnknownArchitecture):
        config_of(str(folder))
    assert type(config_of(str(folder), remote_code=True).config).__name__ == "OwnConfig"


@pytest.mark.parametrize(
    ("raw", "published"),
    [
        # GPT-2, 124,439,808; Mixtral-8x7B, 46,702,792,704; Qwen3-30B-A3B, 30,532,122,624: counts of their checkpoints.
        ({"n_embd": 768, "n_layer": 12, "n_head": 12, "vocab_size": 50257, "n_positions": 1024}, 124_439_808),
        (
            {
                "hidden_size": 4096,
                "num_hidden_layers": 32,
                "num_attention_heads": 32,
                "num_key_value_heads": 8,
                "intermediate_size": 14336,
                "vocab_size": 32000,
                "num_local_experts": 8,
            },
            46_702_792_704,
        ),
        (
            {
                "hidden_size": 2048,
                "num_hidden_layers": 48,
                "num_attention_heads": 32,
                "num_key_value_heads": 4,
                "head_dim": 128,
                "intermediate_size": 6144,
                "moe_intermediate_size": 768,
                "num_experts": 128,
                "vocab_size": 151936,
                "hidden_act": "silu",
            },
            30_532_122_624,
        ),
    ],
)
def test_the_formula_knows_gpt2_and_experts(raw: dict[str, Any], published: int) -> None:
    assert formula_estimate(raw).parameters == pytest.approx(published, rel=0.01)
    assert formula_estimate({"text_config": raw}) == formula_estimate(raw)


def test_the_formula_counts_two_matrices_where_nothing_is_gated() -> None:
    neox = AutoConfig.for_model(
        "gpt_neox",
        hidden_size=512,
        num_hidden_layers=6,
        num_attention_heads=8,
        intermediate_size=2048,
        vocab_size=50304,
    )
    estimate = formula_estimate(neox.to_dict())
    assert not estimate.gated
    assert estimate.parameters == pytest.approx(count_parameters_of(neox), rel=0.01)


def test_the_formula_names_the_keys_it_lacks() -> None:
    with pytest.raises(PlanError, match=r"no number for num_hidden_layers \(or n_layer\), vocab_size\.$"):
        formula_estimate({"hidden_size": 64, "num_attention_heads": 4, "intermediate_size": 128, "vocab_size": "many"})


def test_the_count_is_that_of_the_real_model() -> None:
    config = AutoConfig.for_model(
        "gemma3_text",
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=7,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        vocab_size=96,
    )
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    assert count_parameters_of(config) == sum(p.numel() for p in model.parameters())
    assert model.device.type == "cpu"


def test_a_config_that_cannot_be_built_is_said() -> None:
    config = AutoConfig.for_model("llama", **{key: LLAMA[key] for key in LLAMA if key != "model_type"})
    config.hidden_act = "no such activation"
    with pytest.raises(PlanError, match="cannot be built"):
        count_parameters_of(config)


def test_the_head_of_a_plan(tmp_path: Path) -> None:
    assert pretty(config_of("qwen/qwen3-8b")) == (
        "Qwen3-8B: 36 layers, width 4096, 8.2 B parameters, vocabulary 151,936"
    )
    assert "1.0 B parameters" in pretty(config_of("gemma-3-1b-it"))
    assert "135 M parameters" in pretty(config_of("SmolLM2-135M"))
    tiny = config_file(tmp_path / "tiny", {**LLAMA, "intermediate_size": 128, "vocab_size": 1000})
    assert pretty(config_of(str(tiny.parent))) == "tiny: 2 layers, width 64, 0.2 M parameters, vocabulary 1,000"
