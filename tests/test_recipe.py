"""Recipes: what is read, in which order it counts, and that every fault is said at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from lorafit.errors import RecipeError
from lorafit.recipe import FOREIGN_NAMES, METHODS, Recipe, load_recipe, parse_recipe, settings_table

LEAST: dict[str, Any] = {"model": {"name": "some/model"}, "data": {"train": "rows.json"}}
BOTH = ["model.name=some/model", "data.train=rows.json"]


def recipe_file(folder: Path, text: str) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def faults_of(*overrides: str, **flags: Any) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        load_recipe(overrides=[*BOTH, *overrides], flags=flags)
    head, *faults = str(caught.value).splitlines()
    assert head == ("One fault" if len(faults) == 1 else f"{len(faults)} faults") + " in the command line:"
    return [fault.strip() for fault in faults]


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("ouput", "Did you mean output?"),
        ("evalute", "Did you mean evaluate?"),
        ("modle.name", "Did you mean model?"),
        ("rank", "Did you mean adapter.rank?"),
        ("train.name", "Did you mean name or model.name?"),
        ("model.nmae", "Did you mean model.name?"),
        ("data.max_lenght", "Did you mean data.max_length?"),
        ("adapter.epochs", "Did you mean train.epochs?"),
        ("adapter.lora_r", "lorafit calls it adapter.rank."),
        ("train.lr", "lorafit calls it train.learning_rate."),
        ("per_device_train_batch_size", "lorafit calls it train.batch_size."),
        (
            "evaluate.zzz",
            "Valid keys: evaluate.prompts, evaluate.while_training, evaluate.shots, "
            "evaluate.max_new_tokens, evaluate.metrics.",
        ),
        ("zzz", "Valid keys: name, output, model, data, adapter, train, evaluate, observe."),
    ],
)
def test_an_unknown_key_is_answered_with_the_nearest(key: str, said: str) -> None:
    (fault,) = faults_of(f"{key}=7")
    assert fault.startswith(f"{key.split('.')[0]}")
    assert "unknown key (value " in fault
    assert fault.endswith(said)


def test_all_faults_come_together_each_with_path_and_value() -> None:
    faults = faults_of(
        "adapter.rank=0",
        "train.learning_rate=fast",
        "data.held_out=0.7",
        "model.dtype=int4",
        "observe.colour=red",
        "train.epochs",
        "name.first=x",
        name="a run",
    )
    assert [fault.split(": ")[0] for fault in faults] == [
        "'train.epochs'",
        "'name.first=x'",
        "model.dtype",
        "data.held_out",
        "adapter.rank",
        "train.learning_rate",
        "observe.colour",
    ]
    assert faults[0].endswith("an override is written key=value, for instance train.epochs=2")
    assert faults[1].endswith("name is a single value and has no part 'first'")
    assert faults[2].endswith("found 'int4'; input should be 'auto', 'float32', 'bfloat16' or 'float16'")
    assert "found 0.7; input should be less than or equal to 0.5, or" in faults[3]
    assert faults[4].endswith("found 0; input should be greater than or equal to 1")
    assert "found 'fast'; input should be a valid number" in faults[5]
    assert faults[5].endswith(", or input should be 'auto'")


def test_what_is_missing_is_named_and_described() -> None:
    with pytest.raises(RecipeError) as caught:
        parse_recipe({"data": {}})
    faults = str(caught.value).splitlines()[1:]
    assert [fault.split(". ")[0] for fault in faults] == ["  model.name: missing", "  data.train: missing"]
    assert "The training file" in faults[1]


def test_file_then_flags_then_overrides(tmp_path: Path) -> None:
    path = recipe_file(tmp_path, "{model: {name: of-the-file}, data: {train: rows.json}, train: {epochs: 1, seed: 1}}")
    recipe = load_recipe(path, ["train.epochs=3"], {"train.epochs": 2, "model.name": "of-the-flag"})
    assert (recipe.train.epochs, recipe.train.seed, recipe.model.name) == (3, 1, "of-the-flag")


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("train.learning_rate=5e-3", 0.005),  # to YAML 1.1, 5e-3 is a text
        ("train.learning_rate=auto", "auto"),
        ("data.held_out=0.1", 0.1),
        ("data.held_out=1e-1", 0.1),
        ("data.held_out=held.json", "held.json"),
        ("data.held_out=0", 0.0),
        ("adapter.targets=[q_proj, v_proj]", ["q_proj", "v_proj"]),
        (r"adapter.targets=.*\.[qv]_proj", r".*\.[qv]_proj"),
        ("train.max_updates=", None),
        ("train.max_updates=null", None),
        ("output=a=b", "a=b"),
        ("model.name={broken", "{broken"),
    ],
)
def test_overrides_are_read_as_yaml(override: str, value: Any) -> None:
    found: Any = load_recipe(overrides=[*BOTH, override])
    for part in override.partition("=")[0].split("."):
        found = getattr(found, part)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("model: {name: x", "is not YAML: while parsing a flow mapping"),
        ("", "should hold `key: value` pairs, found nothing"),
        ("- model", "should hold `key: value` pairs, found a list"),
        ("model: x\ndata: {train: y}", "model: found 'x'; input should be a mapping of its keys"),
        ("1: 2\n" + "model: {name: x}\ndata: {train: y}", "1: unknown key"),
    ],
)
def test_a_broken_recipe_is_named(tmp_path: Path, text: str, said: str) -> None:
    path = recipe_file(tmp_path, text)
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    assert said in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_missing_recipe_lists_those_there(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="holds no recipe"):
        load_recipe(tmp_path / "mine.yaml")
    recipe_file(tmp_path, "")
    with pytest.raises(RecipeError, match=r"recipes in .*: recipe\.yaml\."):
        load_recipe(tmp_path / "mine.yaml")
    with pytest.raises(RecipeError, match="cannot be read"):
        load_recipe(tmp_path)


def test_a_recipe_is_frozen() -> None:
    recipe = Recipe(**LEAST)
    with pytest.raises(ValidationError, match="frozen"):
        recipe.train.epochs = 2  # type: ignore[misc]


@pytest.mark.parametrize("name", ["a/b", "a\\b", "", "a\nb"])
def test_a_run_name_is_one_folder(name: str) -> None:
    with pytest.raises(RecipeError, match="name: found"):
        parse_recipe({**LEAST, "name": name})


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_is_finite(value: float) -> None:
    with pytest.raises(RecipeError, match=r"train\.weight_decay"):
        parse_recipe({**LEAST, "train": {"weight_decay": value}})


# Texts that YAML would rather read as something else: numbers, dates, null, comments, line breaks.
texts = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
    st.sampled_from(
        ["5e-3", "0x1f", "null", "yes", "~", "1:30", "2026-11-21", "a: b", "# a", " a ", "[a]", "'", "a\n", "小\x85镇"]
    ),
)


@settings(deadline=None)
@given(
    model=texts,
    output=texts,
    held_out=st.one_of(st.sampled_from(["null", "yes", "1:30", "held.json"]), st.floats(0, 0.5)),
    rate=st.one_of(st.just("auto"), st.floats(1e-12, 1)),
    targets=st.one_of(texts, st.lists(texts)),
    patience=st.one_of(st.none(), st.integers(1)),
)
def test_what_is_written_is_what_is_read(
    tmp_path_factory: pytest.TempPathFactory,
    model: str,
    output: str,
    held_out: str | float,
    rate: str | float,
    targets: str | list[str],
    patience: int | None,
) -> None:
    recipe = parse_recipe(
        {
            "output": output,
            "model": {"name": model},
            "data": {"train": "rows.json", "held_out": held_out},
            "adapter": {"targets": targets},
            "train": {"learning_rate": rate, "patience": patience},
        }
    )
    assert load_recipe(recipe_file(tmp_path_factory.mktemp("recipes"), recipe.to_yaml())) == recipe


def test_what_is_written_can_be_read_by_people() -> None:
    text = Recipe(**{**LEAST, "name": "小镇"}).to_yaml()
    assert text.startswith("name: 小镇\noutput: runs\nmodel:\n  name: some/model\n")


def test_every_setting_has_a_description_and_a_default() -> None:
    for name, default, description in settings_table():
        assert description.endswith("."), name
        assert (default == "required") == (name in ("model.name", "data.train"))
        assert "Undefined" not in default, name


def test_the_names_of_other_tools_lead_to_settings() -> None:
    known = {name for name, _, _ in settings_table()}
    assert set(FOREIGN_NAMES.values()) <= known
    assert {name for method in METHODS.values() for name in method} <= known


@pytest.mark.parametrize("method", METHODS)
def test_every_method_is_shorthand_for_valid_settings(method: str) -> None:
    recipe = load_recipe(overrides=BOTH, flags=METHODS[method])
    assert (recipe.adapter.method == "none") == (method == "full")
    assert (recipe.model.quantization == "none") == (method in ("lora", "full"))
