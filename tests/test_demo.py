from __future__ import annotations

from pathlib import Path

import pytest

from lorafit import builtin, finetune
from lorafit.demo import demo_recipe, run_demo
from lorafit.evaluate.metrics import interval


def test_the_demo_runs_without_a_network_and_shows_three_speakers(tmp_path: Path) -> None:
    recipe = demo_recipe(str(tmp_path), "short")
    short = recipe.model_copy(
        update={
            "train": recipe.train.model_copy(update={"max_updates": 2}),
            "evaluate": recipe.evaluate.model_copy(update={"prompts": 2, "max_new_tokens": 4}),
            "observe": recipe.observe.model_copy(update={"console": False}),
        }
    )
    result = finetune(short)
    assert result.comparison is not None
    assert list(result.comparison.answers) == ["base", "base + 3 shots", "tuned"]


def test_the_built_in_base_is_small_enough_for_a_wheel() -> None:
    files = [p for p in builtin.MODEL.parent.rglob("*") if p.is_file() and "__pycache__" not in p.parts]
    assert sum(p.stat().st_size for p in files) < 8 * 2**20
    assert not (builtin.MODEL / "chat_template.jinja").exists(), "a base model has no chat template"


@pytest.mark.slow
def test_the_tuned_model_is_far_better_than_the_base_with_or_without_examples(tmp_path: Path) -> None:
    """The README's claim, with room for other processors: at least 85 % against at most 15 % exact match."""
    result = run_demo(str(tmp_path))
    assert result.comparison is not None
    scores = {speaker: interval(named["exact_match"]) for speaker, named in result.comparison.measured.items()}
    assert scores["tuned"].low > 0.8 and scores["tuned"].score >= 0.85
    assert scores["base"].score <= 0.15 and scores["base + 3 shots"].score <= 0.15
