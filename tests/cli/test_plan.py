"""`lorafit plan` as a user types it: exit codes, and one clear message for each wrong input."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import transformers

from lorafit.cli.main import main

CONFIG = transformers.LlamaConfig(
    hidden_size=64,
    intermediate_size=128,
    num_hidden_layers=2,
    num_attention_heads=4,
    vocab_size=512,
    max_position_embeddings=256,
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with `model`, which holds a config.json and no more."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    CONFIG.save_pretrained(tmp_path / "model")
    return tmp_path


def test_a_config_is_all_that_is_needed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["plan", "--model", "model", "--gpu", "8GB", "--rank", "4", "--json", "plan.json", "train.epochs=1"]
    assert main(command) == 0
    shown = capsys.readouterr().out
    assert "fits on 8GB card" in shown and "no time is predicted" in shown
    plan = json.loads((folder / "plan.json").read_text())
    assert plan["settings"]["rank"] == 4 and plan["verdict"] == "yes"


def test_method_and_overrides(folder: Path) -> None:
    command = ["plan", "model.name=model/config.json", "--gpu", "8GB", "--method", "qlora", "--json", "plan.json"]
    assert main([*command, "train.recompute=layers"]) == 0
    plan = json.loads((folder / "plan.json").read_text())
    assert plan["model"] == "model" and plan["method"] == "QLoRA (nf4)" and plan["settings"]["recompute"] == "layers"


WRONG = [
    (["--model", "model", "--gpu", "rtx4900"], "no such device is known", "RTX 4090"),
    (["--model", "model", "--gpu", "0GB"], "more than 0 GB", "24GB"),
    (["--model", "model", "--gpu", "24 parsecs"], "--gpu '24 parsecs'", "24GB"),
    (["--model", "model", "--gpu", "8GB", "--max-length", "300"], "data.max_length is 300 tokens", "256"),
    (["--gpu", "8GB"], "Nothing to plan", "--model"),
    (["--model", "model", "--gpu", "8GB", "train.batchsize=4"], "train.batchsize", "batch_size"),
    (["--model", "model", "--gpu", "8GB", "--rank", "0"], "adapter.rank", "0"),
    (["--model", "modle", "--gpu", "8GB"], "modle", "config.json"),
    (["missing.yaml", "--gpu", "8GB"], "missing.yaml", ""),
    (["--model", "model", "--gpu", "8GB", "--cards", "none.yaml"], "none.yaml", "cannot be read"),
    (["--model", "model", "--gpu", "8GB", "--json", "nowhere/plan.json"], "nowhere", ""),
    (["--model", "model", "--table"], "--table is of 512 tokens", "256"),
]


@pytest.mark.parametrize(("words", "said", "hint"), WRONG, ids=lambda v: v[:24] if isinstance(v, str) else None)
def test_wrong_input_is_exit_code_2(
    folder: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str, hint: str
) -> None:
    assert main(["plan", *words]) == 2
    error = capsys.readouterr().err
    assert said in error and hint in error and "Traceback" not in error


def test_a_broken_config_is_told_by_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "model" / "config.json").write_text('{\n "model_type": "llama",\n "hidden_size": 64,,\n}')
    assert main(["plan", "--model", "model", "--gpu", "8GB"]) == 2
    assert "config.json, line 3" in capsys.readouterr().err


@pytest.mark.parametrize(("gpu", "code"), [("24GB", 0), ("1GB", 3)])
def test_an_unknown_architecture_is_estimated(
    folder: Path, capsys: pytest.CaptureFixture[str], gpu: str, code: int
) -> None:
    raw = {"model_type": "lama", "hidden_size": 2048, "num_hidden_layers": 24, "num_attention_heads": 16}
    raw |= {"vocab_size": 32000, "intermediate_size": 5632}
    (folder / "model" / "config.json").write_text(json.dumps(raw))
    assert main(["plan", "--model", "model", "--gpu", gpu]) == code
    shown = capsys.readouterr().out
    assert "ESTIMATE by formula" in shown and "Supported are" in shown and "Near: llama" in shown


def test_a_search_is_no_table(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        main(["plan", "--model", "model", "--fit", "--table"])
    assert refused.value.code == 2
    assert "not allowed with argument" in capsys.readouterr().err
