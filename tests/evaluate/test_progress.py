"""Answers while training: they are there, go on after a stop, and change nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.conftest import metrics

from lorafit import Recipe, finetune, resume
from lorafit.evaluate import progress
from lorafit.run import RunFolder
from lorafit.train import updates

TRAIN = {"validate_every": 2, "checkpoint_every": 2, "max_updates": 6}


def answered(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in RunFolder(folder).progress.read_text(encoding="utf-8").splitlines()]


def weights(folder: Path) -> bytes:
    return (folder / "adapter" / "adapter_model.safetensors").read_bytes()


@pytest.fixture
def make(recipe: Callable[..., Recipe]) -> Callable[..., Recipe]:
    def build(name: str, prompts: int, **model: Any) -> Recipe:
        return recipe(
            name=name,
            model=model,
            train=TRAIN,
            adapter={"dropout": 0.1},
            evaluate={"prompts": 0, "while_training": prompts, "max_new_tokens": 6},
        )

    return build


@pytest.mark.parametrize("quantization", ["none", "nf4"])
def test_the_answers_change_nothing(make: Callable[..., Recipe], quantization: str) -> None:
    """Bit-identical weights and losses with and without, dropout and quantised bases included."""
    without = finetune(make("without", 0, quantization=quantization)).folder
    watched = finetune(make("watched", 2, quantization=quantization)).folder
    assert weights(watched) == weights(without)
    assert [line.get("loss") for line in metrics(watched)] == [line.get("loss") for line in metrics(without)]
    assert not RunFolder(without).progress.exists()
    measured = [line["update"] for line in metrics(watched) if "held_out_loss" in line]
    lines = answered(watched)
    assert [line["update"] for line in lines] == [update for update in measured for _ in range(2)]
    assert all(line["reference"] and line["prompt"][-1]["role"] == "user" for line in lines)
    assert lines[0]["prompt"] == lines[2]["prompt"] != lines[1]["prompt"]


def test_a_run_that_was_stopped_has_each_answer_once(
    make: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = finetune(make("whole", 1)).folder
    real = updates.train_step

    def stopped(*args: Any, **kwargs: Any) -> Any:
        if args[5] == 4:
            raise KeyboardInterrupt
        return real(*args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(updates, "train_step", stopped)
        with pytest.raises(KeyboardInterrupt):
            finetune(make("half", 1))
    half = Path(make("half", 1).output) / "half"
    file = RunFolder(half).progress
    file.write_text(file.read_text() + '{"update": 99, "half-writ')
    resume(half)
    assert answered(half) == answered(whole)


def test_memory_that_runs_out_ends_the_answers_and_not_the_run(
    make: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*args: Any, **kwargs: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(progress, "tuned_answers", full)
    result = finetune(make("full", 2))
    assert result.outcome.update == 6 and answered(result.folder) == []
    assert capsys.readouterr().out.count("held-out prompts were answered (evaluate.while_training)") == 1
