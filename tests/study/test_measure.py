from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from lorafit import Recipe, finetune
from lorafit.opened import open_run
from lorafit.run import read_json
from lorafit.study import measure

SHORT = {"max_updates": 1, "self_check": False}


def trained(recipe: Callable[..., Recipe], **parts: Any) -> Path:
    parts.setdefault("model", {})
    return finetune(
        recipe(train=SHORT, evaluate={"prompts": 0}, observe={"console": False, "tensorboard": "never"}, **parts)
    ).folder


def test_an_adapter_apart_and_merged(recipe: Callable[..., Recipe]) -> None:
    run = trained(recipe, model={"quantization": "nf4"})
    found = measure.measure_inference(run)
    written = read_json(run / "inference.json")
    assert written.pop("schema") == 1 and written == found
    assert found["prompts"] == measure.PROMPTS and found["tokens"] == measure.TOKENS
    for way in ("unmerged", "merged"):
        assert 0 < found[way]["median"] <= found[way]["p95"]
    weights = sum(p.untyped_storage().nbytes() for p in open_run(run).model.parameters())
    assert weights < found["memory"] < weights + 2**22


def test_a_fully_tuned_model_is_merged_as_it_is(recipe: Callable[..., Recipe]) -> None:
    found = measure.measure_inference(trained(recipe, adapter={"method": "none"}))
    assert "unmerged" not in found and found["merged"]["median"] > 0


def test_every_token_but_the_first_is_timed(recipe: Callable[..., Recipe]) -> None:
    opened = open_run(trained(recipe))
    # Also where the model would stop at once: every answer has the same number of tokens.
    with torch.no_grad():
        opened.model.get_output_embeddings().weight[opened.renderer.stop_ids[0]] += 9.0
    assert len(measure.token_seconds(opened.model, [[5, 6, 7], [8, 9]], 6)) == 2 * 5


def test_an_error_is_told_with_its_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["measure", str(tmp_path / "none")])
    assert measure.main() == 2
    assert capsys.readouterr().err.startswith("error: No run folder")
