"""Drafts: only what was set, the same recipe from the file and from the page, and advice that keeps to what is open."""

from __future__ import annotations

import gc
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from lorafit.errors import RecipeError, RunError
from lorafit.recipe import Recipe, load_recipe
from lorafit.studio.drafts import Drafts, set_apart
from lorafit.studio.refusal import StudioError
from lorafit.studio.workspace import Workspace


@pytest.fixture
def drafts(tmp_path: Path) -> Drafts:
    return Drafts(Workspace(tmp_path))


def advice(**values: Any) -> dict[str, Any]:
    """As `Advice.to_json()` has it; `__` stands for the dot."""
    listed = {"model.name": "builtin", "data.train": "rows.json"} | {k.replace("__", "."): v for k, v in values.items()}
    return {"settings": [{"key": key, "value": value, "reason": "", "source": {}} for key, value in listed.items()]}


def test_only_what_differs_from_the_defaults_is_kept(drafts: Drafts) -> None:
    draft = drafts.new({"model.name": "builtin", "adapter.rank": 16})
    draft.set("train.epochs", 2)
    draft.set("data.clean.exact_duplicates", "drop")
    draft.set("data.clean.languages", [])
    assert draft.settings == {"model.name": "builtin", "train.epochs": 2, "data.clean.exact_duplicates": "drop"}
    draft.set("train.epochs", 3)
    draft.unset("data.clean.exact_duplicates")
    assert draft.settings == {"model.name": "builtin"} and draft.value("train.epochs") == 3.0
    assert draft.missing() == ["data.train"]
    with pytest.raises(StudioError, match=r"no setting 'train\.epoch'"):
        draft.set("train.epoch", 1)


def test_a_draft_is_the_same_after_it_was_written(drafts: Drafts) -> None:
    draft = drafts.new({"model.name": "builtin"})
    draft.set("name", "中文 名")
    draft.step, draft.gpu = "plan", "24GB"
    draft.save()
    identity, id = hash(draft), draft.id
    assert drafts.open(id) is draft, "two pages hold one object"
    del draft
    gc.collect()
    again = Drafts(drafts.workspace).open(id)
    assert (again.settings, again.step, again.gpu, again.advice) == (
        {"model.name": "builtin", "name": "中文 名"}, "plan", "24GB", None,
    )  # fmt: skip
    assert again.id == id and hash(again) != identity


def test_the_short_recipe_is_the_same_recipe(drafts: Drafts, tmp_path: Path) -> None:
    draft = drafts.new({"data.train": ["uploads/中文.jsonl", {"source": "b.json", "weight": 2.0}]})
    for key, value in {
        "train.learning_rate": 1e-5, "model.name": "Qwen/Qwen3-8B", "data.columns": {"prompt": "问", "answer": "no"},
        "data.clean.languages": ["zh"], "name": "a\u2028b", "adapter.rank": 32, "output": "elsewhere",
    }.items():  # fmt: skip
        draft.set(key, value)
    file = tmp_path / "recipe.yaml"
    file.write_text(draft.yaml(), encoding="utf-8")
    recipe = draft.recipe()
    assert recipe.output == "runs", "runs are in the workspace"
    assert recipe == load_recipe(file).model_copy(update={"output": "runs"})
    assert recipe.train.learning_rate == 1e-5 and recipe.name == "a\u2028b"
    draft.unset("name")
    draft.unset("output")
    assert draft.yaml().splitlines()[:4] == ["model:", "  name: Qwen/Qwen3-8B", "data:", "  train:"]
    assert "中文" in draft.yaml() and "runs" not in draft.yaml() and "epochs" not in draft.yaml()
    assert load_recipe(None, (), set_apart(recipe)) == recipe
    assert drafts.new().yaml() == ""


def test_what_the_workspace_refuses_is_refused_before_the_recipe_is_made(drafts: Drafts) -> None:
    draft = drafts.new({"model.name": "builtin", "data.train": "/etc/passwd"})
    with pytest.raises(StudioError, match="passwd"):
        draft.recipe()
    draft.set("data.train", "rows.json")
    draft.set("adapter.rank", 0)
    with pytest.raises(RecipeError, match=r"adapter\.rank"):
        draft.recipe()


def test_advice_is_followed_but_for_what_the_user_has_set(drafts: Drafts) -> None:
    draft = drafts.new({"model.name": "builtin", "data.train": "rows.json", "train.epochs": 7.0})
    draft.follow(advice(train__epochs=2.0, adapter__rank=64, train__batch_size=16))
    assert draft.settings["adapter.rank"] == 64 and draft.settings["train.epochs"] == 7.0
    assert "train.batch_size" not in draft.settings, "the default"
    draft.follow(advice(adapter__rank=8, train__batch_size=4))
    assert draft.settings["adapter.rank"] == 8 and draft.settings["train.batch_size"] == 4
    draft.set("train.batch_size", 32)
    draft.set("data.train", "rows.json")
    assert draft.advice is not None, "nothing has changed"
    draft.set("data.train", "others.json")
    assert draft.advice is None
    draft.follow(advice(adapter__rank=64))
    assert draft.advice is None, "that was for other data"
    assert draft.settings == {
        "model.name": "builtin", "data.train": "others.json", "train.epochs": 7.0, "train.batch_size": 32,
    }  # fmt: skip


@pytest.mark.parametrize("id", ["", "..", "../x", "0123456789ab", "0123456789AB", "%2e%2e", "0123456789ab\n"])
def test_what_is_no_draft_is_not_opened(drafts: Drafts, id: str) -> None:
    with pytest.raises(StudioError, match="no such draft"):
        drafts.open(id)


def test_spoilt_drafts_are_passed_over_and_named_when_opened(drafts: Drafts) -> None:
    kept, gone = drafts.new({"model.name": "builtin"}), drafts.new()
    (drafts.folder / "0123456789ab.json").write_text("{")
    (drafts.folder / "0123456789ac.json").write_text(json.dumps({"settings": {"model.nome": 1}}))
    drafts.remove(gone.id)
    assert {draft.id for draft in drafts.all()} == {kept.id, "0123456789ac"}
    assert drafts.open("0123456789ac").settings == {}, "a setting of another version"
    (drafts.folder / "0123456789ad.json").write_text(json.dumps({"settings": []}))
    with pytest.raises(StudioError, match="not a draft"):
        drafts.open("0123456789ad")
    (drafts.folder / "0123456789ae.json").write_text(json.dumps({"settings": {}, "advice": {"choice": "other"}}))
    assert drafts.open("0123456789ae").advice is None, "an advice of another version"
    (drafts.folder / "0123456789af.json").write_bytes(b"\xff")
    assert len(drafts.all()) == 3


def test_where_no_draft_can_be_written_it_is_said(drafts: Drafts) -> None:
    drafts.folder.parent.mkdir(exist_ok=True)
    drafts.folder.write_text("no folder")
    with pytest.raises(RunError, match="Could not write"):
        drafts.new()


def test_the_defaults_are_those_of_a_recipe() -> None:
    assert set_apart(Recipe(model={"name": "m"}, data={"train": "d"})) == {"model.name": "m", "data.train": "d"}


def test_drafts_that_were_left_empty_go_after_a_day(drafts: Drafts) -> None:
    left, begun, new = drafts.new(), drafts.new({"model.name": "builtin"}), drafts.new({"train.epochs": 2})
    for draft in (left, begun):
        os.utime(draft.file, (time.time() - 2 * 86400,) * 2)
    last = drafts.new()
    assert {draft.id for draft in drafts.all()} == {begun.id, new.id, last.id}
