"""llama.cpp answers from the file as transformers does from the folder; what is planted wrong is found and named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.export.gguf.shapes import PROMPTS, SHAPES, opened

from lorafit.export.gguf import check_gguf, reference_of
from lorafit.export.gguf.write import convert

pytest.importorskip("gguf", reason="GGUF export needs the gguf package")
pytest.importorskip("xllamacpp", reason="the check runs llama.cpp, which comes in the xllamacpp wheel")

TEXTS = ("The harbour town wakes, 123 boats!", "小镇的早晨很安静")


def compared(folder: Path, tokenizer: Any, target: Path, form: str = "f32", **more: Any) -> Any:
    texts = [(text, tokenizer(text, add_special_tokens=False).input_ids) for text in TEXTS]
    reference = reference_of(opened(folder), PROMPTS, [0], 12, texts=texts, **more)
    convert(folder, target, form, tokenizer)
    return check_gguf(target, form, reference, tokenizer)


@pytest.mark.parametrize("shape", SHAPES)
def test_llama_cpp_answers_like_transformers(
    shapes: Callable[[str], Path], tokenizer: Any, tmp_path: Path, shape: str
) -> None:
    found = compared(shapes(shape), tokenizer, tmp_path / "model.gguf")
    assert found.prompts == len(PROMPTS) and found.tokens > 20
    assert found.broken == 0 and found.difference < 1e-3
