"""lorafit export --to gguf: a run as a file that llama.cpp answers with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lorafit import Recipe, finetune
from lorafit.cli.main import main


def test_a_run_becomes_a_file_for_llama_cpp(recipe: Callable[..., Recipe], capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("xllamacpp")
    folder = finetune(recipe(train={"max_updates": 2}, evaluate={"prompts": 0})).folder
    assert main(["export", str(folder), "--to", "gguf", "--format", "f32"]) == 0
    said = capsys.readouterr().out
    assert "self-check, llama.cpp" in said
    (file,) = (folder / "export" / "gguf-f32").glob("*.gguf")
    assert file.read_bytes()[:4] == b"GGUF" and (file.parent / "README.md").is_file()


def test_the_adapter_alone_becomes_a_file_for_llama_cpp(
    recipe: Callable[..., Recipe], capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("xllamacpp")
    folder = finetune(recipe(train={"max_updates": 2}, evaluate={"prompts": 0})).folder
    assert main(["export", str(folder), "--to", "gguf-adapter"]) == 0
    assert "self-check, llama.cpp" in capsys.readouterr().out
    made = folder / "export" / "gguf-adapter"
    assert [path.name for path in made.glob("*.gguf")] == ["run.gguf"] and "--lora" in (made / "README.md").read_text()


def test_an_unknown_form_is_refused_before_anything_is_loaded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(tmp_path / "none"), "--to", "gguf", "--format", "q9"]) == 2
    assert "Known are f32, f16" in capsys.readouterr().err
