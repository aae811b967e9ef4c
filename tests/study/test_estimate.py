from __future__ import annotations

from collections.abc import Callable

from lorafit import Recipe
from lorafit.study.estimate import planned_seconds


def test_the_plan_says_how_long_before_anything_ran(recipe: Callable[..., Recipe]) -> None:
    short = planned_seconds(recipe(model={"dtype": "auto"}, train={"epochs": 2}))
    long = planned_seconds(recipe(model={"dtype": "auto"}, train={"epochs": 200}))
    assert short is not None and long is not None
    assert long > 20 * short > 0  # the processor's speed is measured each time


def test_nothing_is_said_of_a_recipe_that_cannot_run(recipe: Callable[..., Recipe]) -> None:
    assert planned_seconds(recipe(data={"train": "nothing.json"})) is None
