from __future__ import annotations

from collections.abc import Callable

import pytest

from lorafit import Recipe
from lorafit.errors import RecipeError
from lorafit.study.axes import label, merged, method_axis, runs_of, value_axes


def test_values_are_yaml_and_each_is_there_once() -> None:
    axes = value_axes(
        ["adapter.rank=1,2,2", "adapter.targets=attention,[q_proj, v_proj]", "train.learning_rate=1e-3,2.5e-4"]
    )
    assert axes == {
        "adapter.rank": [1, 2],
        "adapter.targets": ["attention", ["q_proj", "v_proj"]],
        "train.learning_rate": [1e-3, 2.5e-4],
    }


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["adapter.rank"], "key=value"),
        (["adapter.rank="], "no values"),
        (["adapter.rank=[1"], "not YAML"),
        (["adapter.rank=1", "adapter.rank=2"], "twice"),
        (["train.seed=1,2"], "use --seeds"),
        (["name=a"], "names its runs"),
    ],
)
def test_what_is_no_list_of_values_is_refused(texts: list[str], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        value_axes(texts)


def test_an_unknown_method_is_named_with_the_nearest() -> None:
    assert method_axis("full, lora,full") == {"method": ["full", "lora"]}
    with pytest.raises(RecipeError, match=r"no method .qlroa.\. Did you mean qlora\?"):
        method_axis("lora,qlroa")


def test_every_combination_with_every_seed(recipe: Callable[..., Recipe]) -> None:
    axes = {"method": ["lora", "qlora"], "adapter.rank": [2, 4]}
    runs = runs_of(recipe(), axes, [0, 1], "studies/s/runs")
    assert [run.name for run in runs[:3]] == ["lora-rank-2-seed-0", "lora-rank-2-seed-1", "lora-rank-4-seed-0"]
    assert len({run.name for run in runs}) == 8
    last = runs[-1].recipe
    assert (last.model.quantization, last.adapter.rank, last.train.seed) == ("nf4", 4, 1)
    assert (last.name, last.output) == (runs[-1].name, "studies/s/runs")
    assert label(runs[-1].settings) == "qlora, rank 4"
    # Nothing else differs from what the user wrote, and what was left open stays so.
    assert last.model_dump(exclude_unset=True)["data"] == recipe().model_dump(exclude_unset=True)["data"]


def test_every_fault_is_told_at_once(recipe: Callable[..., Recipe]) -> None:
    with pytest.raises(RecipeError) as caught:
        runs_of(recipe(), {"adapter.rnak": [1, 2], "train.epochs": [-1]}, [0], "runs")
    assert "Did you mean adapter.rank?" in str(caught.value)
    assert "train.epochs: found -1" in str(caught.value)


def test_names_that_would_be_alike_are_told_apart(recipe: Callable[..., Recipe]) -> None:
    axes = {"adapter.targets": [["q_proj", "v_proj"], "q_proj|v_proj", "层/q"]}
    names = [run.name for run in runs_of(recipe(), axes, [0], "runs")]
    assert len(set(names)) == 3 and not any("/" in name or "|" in name for name in names)
    again = [run.name for run in runs_of(recipe(), {"adapter.targets": axes["adapter.targets"][::-1]}, [0], "runs")]
    assert again[::-1] == names, "a name does not depend on the others"


def test_a_study_grows_in_order() -> None:
    assert merged({"adapter.rank": [1, 8]}, {"adapter.rank": [4, 8]}) == {"adapter.rank": [1, 4, 8]}
    assert merged({"method": ["qlora", "lora"]}, {"method": ["full"]}) == {"method": ["qlora", "lora", "full"]}
