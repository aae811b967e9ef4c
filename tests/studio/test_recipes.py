"""A run folder that somebody else has written runs no code of theirs, whatever is done with it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from lorafit.errors import RecipeError
from lorafit.studio.evaluating import Wanted
from lorafit.studio.recipes import recipe_of
from lorafit.studio.refusal import StudioError
from lorafit.studio.speakers import Speakers
from lorafit.studio.workspace import Workspace
from tests.studio.chat_runs import make_run


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """With the run `theirs`, whose metric writes the file `ran` as soon as it is imported."""
    (tmp_path / "theirs.py").write_text(
        "from pathlib import Path\nPath('ran').touch()\ndef score(answer, references): 1"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    workspace = Workspace(tmp_path)
    make_run(workspace, "theirs", evaluate={"metrics": [str(tmp_path / "theirs.py:score")]})
    make_run(workspace, "mine")
    return workspace


@pytest.mark.parametrize("named", ["{folder}/theirs.py:score", "theirs:score"])
def test_code_is_refused_and_not_run(workspace: Workspace, named: str) -> None:
    named = named.format(folder=workspace.root)
    recipe = workspace.runs / "theirs" / "recipe.yaml"
    recipe.write_text(f"model: {{name: builtin}}\ndata: {{train: builtin}}\nevaluate: {{metrics: ['{named}']}}\n")
    with pytest.raises(StudioError, match="would run code of its own"):
        recipe_of(recipe)
    assert not (workspace.root / "ran").exists()


def test_nobody_speaks_for_it_and_nothing_evaluates_it(workspace: Workspace) -> None:
    assert [speaker.name for speaker in Speakers(workspace).all()] == ["mine", "base:builtin"]
    with pytest.raises(StudioError, match="would run code of its own"):
        Wanted().arguments(workspace, "theirs")
    assert not (workspace.root / "ran").exists()


def test_paths_outside_are_let_be(workspace: Workspace) -> None:
    run = make_run(workspace, "far", base="/elsewhere/model")
    assert recipe_of(run / "recipe.yaml").model.name == "/elsewhere/model"


@pytest.mark.parametrize("content", ["[" * 5000, "- 1", "a: [", None])
def test_what_is_no_recipe_is_said(workspace: Workspace, content: str | None) -> None:
    file = workspace.root / "recipe.yaml"
    if content is not None:
        file.write_text(content)
    with pytest.raises(RecipeError):
        recipe_of(file)
