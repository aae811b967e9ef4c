"""What the export screen reads, without a browser."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lorafit.recipe import Recipe
from lorafit.studio.exports import KINDS, Kind
from lorafit.studio.jobs import Job
from lorafit.studio.pages import export
from lorafit.studio.workspace import Workspace


@pytest.fixture(autouse=True)
def _english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "t", lambda english, **values: english.format(**values))


def test_every_kind_and_form_has_plain_words() -> None:
    for kind in KINDS:
        about = export._about(kind.name)
        assert about.title and about.purpose and about.opened_by
        assert all(export._form(form).startswith(form) for form in kind.forms)
        assert not kind.forms or export._form(kind.forms[0]) != kind.forms[0]


def test_the_reason_against_a_kind_is_named() -> None:
    recipe = Recipe(model={"name": "builtin"}, data={"train": "builtin"})
    full = Recipe(model={"name": "builtin"}, data={"train": "builtin"}, adapter={"method": "none"})
    adapter = Kind("gguf-adapter")
    assert export._obstacle(adapter, recipe) == ""
    assert "there is no adapter" in export._obstacle(adapter, full)
    missing = Kind("onnx", packages=("no_such_package_here",), extra="onnx")
    assert export._obstacle(missing, recipe).endswith("pip install 'lorafit[onnx]'")
    assert export._obstacle(replace(missing, extra=""), recipe).endswith("pip install no_such_package_here")


def test_what_is_shown_changes_with_the_disk(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    log = tmp_path / "log.txt"
    log.write_text("\n".join(f"line {number}" for number in range(5000)) + "\n\n")
    job = Job("1", "export", ("export",), "", "a", "running", None, 0.0, None, None, None, log, tmp_path)
    jobs = [job, replace(job, state="done"), replace(job, kind="train")]
    studio: Any = SimpleNamespace(workspace=workspace, queue=SimpleNamespace(of_run=lambda name: jobs))
    first = export._look(studio, "a")
    assert first.jobs == (job,) and first.tails[0].splitlines()[-1] == "line 4999"
    assert len(first.tails[0].splitlines()) < 7 and first == export._look(studio, "a")
    (workspace.exports / "a" / "merged").mkdir(parents=True)
    (workspace.exports / "a" / "merged" / "self_check.json").write_text(json.dumps({"equal": 1}))
    assert [one.kind for one in export._look(studio, "a").exports] == ["merged"]
