"""The recipe's schema as a form: every kind of setting, what is written in a field, what the recipe says of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from lorafit.errors import RecipeError
from lorafit.recipe import Recipe, settings_table
from lorafit.studio.form import FormField, faults_of, fields_of, method_of, parse, recipe_fields, setting_of, written
from lorafit.studio.refusal import StudioError
from lorafit.train.settings import TrainSettings


class MoreTraining(TrainSettings):
    a_choice: Literal["fast", "slow"] = "slow"
    """How it is done,
    and why."""
    a_switch: bool = False
    a_whole_number: Annotated[int, Field(gt=2, lt=4096)] | None = None
    a_number: float = Field(0.5, ge=0.0, le=1.0)
    a_number_or_word: Annotated[float, Field(gt=0)] | Literal["auto", "never"] = "auto"
    a_text: str = "some"
    a_list: list[str] = Field(["a"], min_length=1)
    some_words: tuple[Literal["x", "y"], ...] = ("x",)
    a_mapping: dict[str, int] = Field(default_factory=dict)
    a_file_or_share: Annotated[float, Field(ge=0)] | str = 0.05
    words_or_texts: Literal["all", "few"] | list[str] | str = "all"
    no_default: int


class MoreRecipe(Recipe):
    train: MoreTraining = MoreTraining(no_default=1)


NEW = {field.name.removeprefix("train."): field for field in fields_of(MoreRecipe)}


def test_every_setting_of_the_recipe_is_a_field() -> None:
    assert [(field.name, field.description) for field in fields_of()] == [
        (name, " ".join(text.split())) for name, _, text in settings_table()
    ]
    assert recipe_fields()["data.clean.unicode"].part == "data.clean"
    assert recipe_fields()["name"].part == ""


@pytest.mark.parametrize(
    ("name", "kind", "choices", "bounds", "default"),
    [
        ("a_choice", "choice", ("fast", "slow"), ("", ""), "slow"),
        ("a_switch", "switch", (), ("", ""), False),
        ("a_whole_number", "whole", (), ("> 2", "< 4,096"), None),
        ("a_number", "number", (), (">= 0", "<= 1"), 0.5),
        ("a_number_or_word", "number", ("auto", "never"), ("> 0", ""), "auto"),
        ("a_text", "text", (), ("", ""), "some"),
        ("a_list", "list", (), ("", ""), ["a"]),
        ("some_words", "choices", ("x", "y"), ("", ""), ["x"]),
        ("a_mapping", "yaml", (), ("", ""), {}),
        ("a_file_or_share", "yaml", (), (">= 0", ""), 0.05),
        ("words_or_texts", "yaml", ("all", "few"), ("", ""), "all"),
    ],
)
def test_a_new_setting_appears_by_itself(
    name: str, kind: str, choices: tuple[str, ...], bounds: tuple[str, str], default: Any
) -> None:
    field = NEW[name]
    assert (field.kind, field.choices, (field.lowest, field.highest)) == (kind, choices, bounds)
    assert (field.default, field.required) == (default, False)


def test_a_field_has_its_description_on_one_line_and_says_when_it_has_no_default() -> None:
    assert NEW["a_choice"].description == "How it is done, and why."
    assert NEW["no_default"].required


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("train.epochs", " 2.5 ", 2.5),
        ("train.epochs", "2", 2),
        ("train.learning_rate", "2e-4", 2e-4),
        ("train.learning_rate", "auto", "auto"),
        ("train.learning_rate", "0,05", "0,05"),  # and not 5
        ("train.batch_size", "1,024", 1024),
        ("train.batch_size", "1.5", "1.5"),
        ("data.held_out", "0.1", 0.1),
        ("data.held_out", "uploads/test.jsonl", "uploads/test.jsonl"),
        ("data.held_out", "2024-01-01", "2024-01-01"),
        ("data.columns", "{prompt: Frage, answer: 回答}", {"prompt": "Frage", "answer": "回答"}),
        ("data.columns", "{prompt", "{prompt"),
        ("data.clean.languages", "en, zh", ["en", "zh"]),
        ("data.clean.languages", "[en, zh]", ["en", "zh"]),
        ("evaluate.metrics", "bleu\nrouge_l", ["bleu", "rouge_l"]),
        ("adapter.targets", "attention", "attention"),
        ("adapter.targets", "[q_proj, v_proj]", ["q_proj", "v_proj"]),
        ("adapter.targets", r"layers\.\d+\.mlp\..*", r"layers\.\d+\.mlp\..*"),
        ("train.self_check", "false", False),
        ("model.revision", "yes", "yes"),
        ("data.clean.mojibake", "off", "off"),
    ],
)
def test_what_is_written_becomes_a_value_and_back(name: str, text: str, value: Any) -> None:
    field = recipe_fields()[name]
    found = parse(field, text)
    assert found == value and type(found) is type(value)
    assert parse(field, written(field, found)) == value


def test_defaults_survive_being_written() -> None:
    for field in fields_of():
        if field.default is not None:
            assert parse(field, written(field, field.default)) == field.default, field.name


def test_a_text_that_yaml_would_read_as_a_number_stays_a_text() -> None:
    field = FormField("data.held_out", "yaml", (), "", "", 0.05, False, "")
    assert parse(field, written(field, "12")) == "12"


def allow(_: Mapping[str, Any]) -> None:
    """What checks nothing."""


def with_part(part: str, **values: Any) -> dict[str, Any]:
    return {"model": {"name": "builtin"}, "data": {"train": "builtin"}, part: values}


def test_the_recipe_says_what_is_wrong_with_which_field() -> None:
    assert faults_of(with_part("train", epochs=1), allow) == []
    ((name, text),) = faults_of(with_part("train", epochs=0), allow)
    assert name == "train.epochs" and text.startswith("found 0")
    assert [name for name, _ in faults_of({"data": {}}, allow)] == ["model.name", "data.train"]


def test_settings_that_do_not_agree_are_no_single_fields_fault() -> None:
    both = {**with_part("adapter", method="none"), "model": {"name": "x", "quantization": "nf4"}}
    ((name, text),) = faults_of(both, allow)
    assert name == "" and text.startswith("full fine-tuning")
    ((name, text),) = faults_of({"model": {"name": "x"}, "data": {"train": "x", "limit": 3, "streaming": True}}, allow)
    assert name == "" and text.startswith("limit draws from all rows")


def test_what_is_refused_is_not_parsed() -> None:
    def refuse(content: Mapping[str, Any]) -> None:
        raise StudioError("evaluate.metrics: 'mine.py:score' would run code of its own.")

    # The file is not there: parsing would complain of that.
    found = faults_of(with_part("evaluate", metrics=["mine.py:score"]), refuse)
    assert found == [("evaluate.metrics", "'mine.py:score' would run code of its own.")]
    with pytest.raises(RecipeError, match=r"mine\.py"):
        Recipe(**with_part("evaluate", metrics=["mine.py:score"]))


def test_a_method_is_known_by_its_two_settings() -> None:
    assert [method_of("nf4", "lora"), method_of("none", "none"), method_of("nf4", "none")] == ["qlora", "full", ""]


def test_an_override_becomes_a_value() -> None:
    found = [setting_of(text) for text in ("train.learning_rate=3e-2", "train.max_updates=null", "data.too_long=drop",
                                           "train.share_prefixes=false", "train.tokens_per_pass=512")]  # fmt: skip
    assert found == [("train.learning_rate", 0.03), ("train.max_updates", None), ("data.too_long", "drop"),
                     ("train.share_prefixes", False), ("train.tokens_per_pass", 512)]  # fmt: skip
    for foreign in ("evil=1", "", "train"):
        with pytest.raises(StudioError, match="no setting"):
            setting_of(foreign)
