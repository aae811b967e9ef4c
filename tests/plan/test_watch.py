"""Predicted against measured in real runs of a tiny base: plan.json says both, and a run warns where they part."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console as Terminal

from lorafit import Recipe, finetune
from lorafit.observe.console import Console
from lorafit.plan.watch import FIRST_WATCHED
from lorafit.train import updates


@pytest.fixture
def recipe(bases: Callable[[str], Path], data_file: Path, tmp_path: Path) -> Callable[..., Recipe]:
    def make(quantization: str = "none", **train: Any) -> Recipe:
        content: dict[str, Any] = {
            "name": "run",
            "output": str(tmp_path / "runs"),
            "model": {
                "name": str(bases("even-llama")),
                "device": "cpu",
                "dtype": "float32",
                "quantization": quantization,
            },
            "data": {"train": str(data_file), "held_out": 0},
            "adapter": {"rank": 4, "alpha": 8},
            "train": {"batch_size": 8, "max_updates": 3, "tokens_per_pass": 256, "self_check": False, **train},
            "evaluate": {"prompts": 0},
            "observe": {"console": False},
        }
        return Recipe.model_validate(content)

    return make


def run(recipe: Recipe) -> tuple[dict[str, Any], str]:
    """plan.json, and what the run said."""
    told = io.StringIO()
    folder = finetune(recipe, console=Console(quiet=True, terminal=Terminal(file=told, width=200))).folder
    plan: dict[str, Any] = json.loads((folder / "plan.json").read_text())
    return plan, told.getvalue()


@pytest.mark.parametrize("quantization", ["none", "nf4", "int8"])
def test_what_is_predicted_is_measured(recipe: Callable[..., Recipe], quantization: str) -> None:
    plan, told = run(recipe(quantization))
    measured = plan["measured"]
    assert measured["update"] == FIRST_WATCHED + 1 == 2
    assert measured["difference"] == measured["predicted"] / measured["measured"] - 1
    assert abs(measured["difference"]) < 0.005
    assert "the plan says" not in told


def test_a_step_that_keeps_its_logits_is_told_of(
    recipe: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the run is changed: a change of the step itself would be in the plan too (test_simulate.py)."""
    step = updates.train_step

    def keeping(forward: Any, batch: Any, *rest: Any, **named: Any) -> Any:
        with contextlib.ExitStack() as stack:
            logits = [torch.ones(batch.tokens, forward.model.config.vocab_size)]
            stack.callback(logits.clear)
            return step(forward, batch, *rest, **named)

    monkeypatch.setattr(updates, "train_step", keeping)
    plan, told = run(recipe())
    assert plan["measured"]["difference"] < -0.05
    assert f"({plan['measured']['difference']:+.1%})" in told and "update 2 peaked at" in told


def test_one_update_is_not_measured(recipe: Callable[..., Recipe]) -> None:
    plan, _ = run(recipe(max_updates=1))
    assert "measured" not in plan and plan["updates"] == 1
