"""lorafit export on runs: folders that are whole or not there, with figures and a card; what is refused, and how."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import transformers
import yaml

from lorafit import Recipe, finetune
from lorafit.cli.main import main
from lorafit.errors import ExportError, SelfCheckFailed
from lorafit.export import check
from lorafit.export.merge import EOS
from lorafit.export.worker import answered
from lorafit.exporting import Options, export, settled
from lorafit.observe.console import Console
from lorafit.opened import locate_run
from tests.conftest import alpaca_rows

QUIET = Console(quiet=True)
SHORT = {"evaluate": {"prompts": 2, "max_new_tokens": 4}, "train": {"max_updates": 2}}


@pytest.fixture(autouse=True)
def _same_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fresh processes have their own test (tests/export/test_check.py)."""
    monkeypatch.setattr(check, "ask_fresh_process", answered)


@pytest.fixture(scope="module")
def finished(llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short run on a base of its own."""
    folder = tmp_path_factory.mktemp("finished")
    shutil.copytree(llama, folder / "base")
    (folder / "rows.json").write_text(json.dumps(alpaca_rows(40), ensure_ascii=False), encoding="utf-8")
    content = {
        "name": "run",
        "output": str(folder),
        "model": {"name": str(folder / "base"), "device": "cpu", "dtype": "float32"},
        "data": {"train": str(folder / "rows.json"), "held_out": 0.2},
        "adapter": {"rank": 4, "alpha": 8},
        "observe": {"console": False},
        **SHORT,
    }
    return finetune(Recipe.model_validate(content)).folder


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


def header(folder: Path) -> dict[str, Any]:
    text = (folder / "README.md").read_text(encoding="utf-8")
    content: dict[str, Any] = yaml.safe_load(text.split("---")[1])
    return content


def test_merged_by_the_command_line(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    uploads: list[Any] = []
    stand_in = SimpleNamespace(
        create_repo=lambda repo, **how: uploads.append((repo, how)) or SimpleNamespace(repo_id=f"me/{repo}"),
        upload_folder=lambda **what: uploads.append(what),
    )
    monkeypatch.setattr("huggingface_hub.HfApi", lambda: stand_in)
    words = ["export", str(run), "--to", "merged", "--max-shard-size", "40KB", "--license", "mit"]
    assert main(words) == 0 and not uploads, "nothing is uploaded that was not asked for"
    folder = run / "export" / "merged"
    assert f"merged, float32: {folder}" in capsys.readouterr().out
    figures = json.loads((folder / "self_check.json").read_text())
    assert figures["within_tolerance"] and figures["prompts"] == 16 and figures["broken"] == 0
    assert len(list(folder.glob("model-*.safetensors"))) > 1
    assert header(folder) == {
        "base_model": "base",
        "library_name": "transformers",
        "license": "mit",
        "pipeline_tag": "text-generation",
        "tags": ["lorafit", "lora", "merged", "float32"],
    }
    card = (folder / "README.md").read_text(encoding="utf-8")
    for fact in ("rank 4", "Scores on 2 held-out prompts", "exact_match", "greedy tokens on 16 prompts", "torch"):
        assert fact in card
    assert str(run.parent) not in card, "no path of this machine"
    assert main(words) == 2, "never overwritten"
    assert main([*words, "--output", str(run / "again"), "--push", "mine"]) == 0
    assert uploads[0] == ("mine", {"private": True, "exist_ok": True})
    assert uploads[1]["repo_id"] == "me/mine" and uploads[1]["folder_path"] == run / "again"


def test_a_failed_check_leaves_nothing(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def another_end(request: dict[str, Any]) -> dict[str, Any]:
        return answered(request) | {"eos": [99]}

    monkeypatch.setattr(check, "ask_fresh_process", another_end)
    with pytest.raises(SelfCheckFailed, match="Likely cause: special tokens"):
        export(locate_run(run), Options(), run / "export" / "merged", QUIET)
    assert main(["export", str(run), "--to", "merged"]) == 4
    assert list((run / "export").iterdir()) == []


def test_another_base_than_the_run_was_trained_on(run: Path, finished: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(finished.parent / "base", tmp_path / "other"))
    recipe = run / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace(str(finished.parent / "base"), str(other)))
    assert export(locate_run(run), Options(), run / "same", QUIET).figures["within_tolerance"]
    (other / "config.json").write_text((other / "config.json").read_text() + "\n")
    with pytest.raises(ExportError, match=r"config\.json is another one when .* was trained"):
        export(locate_run(run), Options(), run / "merged", QUIET)


def test_a_qlora_run(recipe: Callable[..., Recipe], bases: Callable[[str], Path]) -> None:
    base = str(bases("even-llama"))
    run = locate_run(finetune(recipe(model={"name": base, "quantization": "nf4"}, **SHORT)).folder)
    where = run.run.path / "export"
    merged = export(run, Options(), where / "merged", QUIET)
    original = export(run, Options(onto="original"), where / "original", QUIET)
    assert [what for what, _ in original.checks] == [
        "folded into the nf4 base that was trained",
        "folded into the original weights, another function than was trained",
    ]
    assert original.checks[0][1] == merged.checks[0][1]
    assert original.figures["difference"] > 10 * merged.figures["difference"]
    kept = export(run, Options("quantized", "nf4"), where / "nf4", QUIET)
    assert "quantised anew" in kept.remarks[0] and "quantised anew" in (where / "nf4" / "README.md").read_text()
    opened = transformers.AutoModelForCausalLM.from_pretrained(where / "nf4")
    assert opened.config.quantization_config.bnb_4bit_quant_type == "nf4"
    assert type(opened.model.layers[0].mlp.up_proj).__name__ == "Linear4bit"
    assert header(where / "nf4")["tags"][1] == "qlora"


def test_eight_bits(run: Path) -> None:
    located = locate_run(run)
    eight = export(located, Options("quantized", "int8"), run / "int8", QUIET)
    assert eight.remarks == () and eight.figures["difference"] > 0
    opened = transformers.AutoModelForCausalLM.from_pretrained(run / "int8")
    assert opened.model.layers[0].mlp.up_proj.weight.dtype == torch.int8
    with pytest.raises(ExportError, match="No layer of this model can be kept in 4 bits"):
        export(located, Options("quantized", "nf4"), run / "nf4", QUIET)
    assert not (run / "nf4").exists()


def test_gguf_is_compared_with_the_merged_model_and_that_with_the_run(run: Path) -> None:
    pytest.importorskip("gguf", reason="GGUF export needs the gguf package")
    pytest.importorskip("xllamacpp", reason="the check runs llama.cpp, which comes in the xllamacpp wheel")
    done = export(locate_run(run), Options("gguf", "f16"), run / "gguf", QUIET)
    assert [what for what, _ in done.checks] == ["merged, transformers", "llama.cpp"]
    assert done.figures["broken"] == 0 and header(run / "gguf")["library_name"] == "gguf"
    assert (run / "gguf" / "run-f16.gguf").is_file() and not list(run.glob(".merged-*"))


def test_the_answers_of_a_finished_run_are_kept(run: Path) -> None:
    kept = run / "self_check" / "reference.json"
    kept.unlink(missing_ok=True)
    export(locate_run(run), Options(), run / "one", QUIET)
    before = kept.read_bytes()
    export(locate_run(run), Options(), run / "two", QUIET)
    assert kept.read_bytes() == before
    status = json.loads((run / "status.json").read_text())
    (run / "status.json").write_text(json.dumps({**status, "state": "interrupted"}))
    kept.write_text("{}")
    assert export(locate_run(run), Options(), run / "three", QUIET).figures["within_tolerance"]


def test_full_fine_tuning_and_a_checkpoint(recipe: Callable[..., Recipe]) -> None:
    train = {"max_updates": 2, "checkpoint_every": 1, "keep_last": 9}
    run = finetune(recipe(adapter={"method": "none"}, evaluate={"prompts": 0}, train=train)).folder
    done = export(locate_run(run, 1), Options(dtype="bfloat16"), run / "out-1", QUIET)
    assert done.form == "bfloat16" and done.figures["within_tolerance"]
    opened = transformers.AutoModelForCausalLM.from_pretrained(run / "out-1", dtype="auto")
    assert opened.dtype == torch.bfloat16 and opened.generation_config.to_dict()[EOS] is not None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (Options("mergd"), "--to 'mergd' is not known. Did you mean merged"),
        (Options("quantized", "nf"), "Did you mean nf4"),
        (Options("onnx", "float16"), "Did you mean float32"),
        (Options("gguf", "q9"), "GGUF has no format 'q9'"),
        (Options("merged", "nf4"), "--format belongs to"),
        (Options("merged", dtype="bf16"), "Did you mean bfloat16"),
        (Options("merged", shard_size="large"), "is no size"),
    ],
)
def test_unknown_names_are_answered_with_near_ones(options: Options, message: str) -> None:
    with pytest.raises(ExportError, match=message):
        settled(options)
