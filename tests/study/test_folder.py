from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from lorafit import Recipe, load_recipe
from lorafit.errors import RunError
from lorafit.study.folder import expand, open_study, study_of, write

RANKS = {"adapter.rank": [2, 4]}


def made(path: Path, recipe: Recipe, axes: dict[str, list[object]], seeds: range) -> None:
    study = study_of(path, recipe, axes, seeds)
    write(study, expand(study, recipe))


def test_a_study_holds_the_recipes_of_its_runs(recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    path = tmp_path / "studies" / "秩"
    made(path, recipe(), RANKS, range(1))
    assert sorted(p.name for p in path.iterdir()) == ["logs", "recipes", "runs", "study.json"]
    one = load_recipe(path / "recipes" / "rank-4-seed-0.yaml")
    assert one.adapter.rank == 4 and one.output == str(path / "runs")
    assert [entry.state for entry in open_study(path).entries] == ["queued", "queued"]


def test_more_values_and_seeds_may_come(recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    path = tmp_path / "s"
    made(path, recipe(), RANKS, range(1))
    study = open_study(path)
    study.entries[1].state = "finished"
    study.save()
    made(path, recipe(), {"adapter.rank": [3]}, range(2))
    entries = open_study(path).entries
    assert [(e.settings["adapter.rank"], e.seed) for e in entries] == [(2, 0), (2, 1), (3, 0), (3, 1), (4, 0), (4, 1)]
    assert [e.name for e in entries if e.state == "finished"] == ["rank-4-seed-0"]


def test_another_study_is_refused_with_what_differs(
    recipe: Callable[..., Recipe], data_file: Path, tmp_path: Path
) -> None:
    path = tmp_path / "s"
    made(path, recipe(), RANKS, range(1))
    study_of(path, recipe(observe={"print_every": 1}), RANKS, range(1))  # decides nothing
    with pytest.raises(RunError, match=r"train.epochs: 2.0 in the study, 3.0 now"):
        study_of(path, recipe(train={"epochs": 3}), RANKS, range(1))
    with pytest.raises(RunError, match=r"it varies adapter\.rank, asked is method"):
        study_of(path, recipe(), {"method": ["lora"]}, range(1))
    data_file.write_text(data_file.read_text() + " ")
    with pytest.raises(RunError, match="has changed"):
        study_of(path, recipe(), RANKS, range(1))


def test_a_folder_of_something_else_is_refused(recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    with pytest.raises(RunError, match="no study"):
        study_of(tmp_path / "notes", recipe(), RANKS, range(1))
    (tmp_path / "notes" / "study.json").write_text(json.dumps({"recipe": {}}))
    with pytest.raises(RunError, match="of this version"):
        study_of(tmp_path / "notes", recipe(), RANKS, range(1))


def test_a_study_that_cannot_be_made_leaves_nothing(
    recipe: Callable[..., Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = study_of(tmp_path / "s", recipe(), RANKS, range(1))
    planned = expand(study, recipe())

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("lorafit.study.folder.write_text", full)
    with pytest.raises(RunError, match="No space left"):
        write(study, planned)
    assert not (tmp_path / "s").exists() and not list(tmp_path.glob(".s*"))
