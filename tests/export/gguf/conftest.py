"""Tiny models of the families that GGUF knows, made once a session."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.export.gguf.shapes import SHAPES, made


@pytest.fixture(scope="session")
def shapes(tmp_path_factory: pytest.TempPathFactory, tokenizer: Any) -> Callable[[str], Path]:
    """shapes("gemma2") is the folder of a tiny float32 model of that shape, with the tokenizer."""
    folders: dict[str, Path] = {}

    def make(shape: str) -> Path:
        if shape not in folders:
            folders[shape] = made(tmp_path_factory.mktemp("shapes") / shape, SHAPES[shape](), tokenizer)
        return folders[shape]

    return make
