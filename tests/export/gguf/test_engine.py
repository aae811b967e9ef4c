"""llama.cpp runs in a process of its own: what it cannot run is an error with its words, not a crash."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.export.gguf.shapes import PROMPTS, opened

from lorafit.errors import ExportError, SelfCheckFailed
from lorafit.export.gguf.engine import ask_llama_cpp, require_engine
from lorafit.export.gguf.write import convert

pytest.importorskip("gguf", reason="GGUF export needs the gguf package")


def test_a_file_that_is_no_gguf_is_said(tmp_path: Path) -> None:
    pytest.importorskip("xllamacpp", reason="llama.cpp comes in the xllamacpp wheel")
    (tmp_path / "m.gguf").write_bytes(b"nothing")
    with pytest.raises(SelfCheckFailed, match=r"llama\.cpp cannot run m\.gguf: .+"):
        ask_llama_cpp(tmp_path / "m.gguf", [])


def test_weights_that_are_no_numbers_are_infinitely_unlikely(
    shapes: Callable[[str], Path], tokenizer: Any, tmp_path: Path
) -> None:
    pytest.importorskip("xllamacpp", reason="llama.cpp comes in the xllamacpp wheel")
    model = opened(shapes("llama"))
    with torch.no_grad():
        model.model.norm.weight[:] = math.nan
    model.save_pretrained(tmp_path / "nan")
    convert(tmp_path / "nan", tmp_path / "m.gguf", "f32", tokenizer)
    heard = ask_llama_cpp(tmp_path / "m.gguf", [(PROMPTS[0], len(PROMPTS[0]) - 1)])
    assert {log for _, log in heard.steps[0][0]} == {-math.inf}


def test_without_llama_cpp_the_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ExportError, match="xllamacpp"):
        require_engine()
