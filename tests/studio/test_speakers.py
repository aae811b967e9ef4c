"""Who can be chatted with, as it is read from run folders."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lorafit.studio.refusal import StudioError
from lorafit.studio.speakers import Speakers, Weights
from lorafit.studio.workspace import Workspace
from tests.studio.chat_runs import PLAIN, make_run


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


def test_runs_with_weights_and_each_base_once(workspace: Workspace) -> None:
    old = make_run(workspace, "法律")
    make_run(workspace, "b", base="org/M")
    os.utime(old / "adapter" / "adapter_config.json", (1, 1))
    make_run(workspace, "still-training", weights="")
    (workspace.runs / "broken" / "adapter").mkdir(parents=True)
    (workspace.runs / "broken" / "adapter" / "adapter_config.json").touch()
    (workspace.runs / "file").touch()
    names = [speaker.name for speaker in Speakers(workspace).all()]
    assert names == ["b", "法律", "base:org/M", "base:builtin"], "the newest first"


def test_a_link_out_of_the_workspace_is_nobody(tmp_path: Path) -> None:
    workspace, elsewhere = Workspace(tmp_path / "w"), Workspace(tmp_path / "elsewhere")
    (workspace.runs / "outside").symlink_to(make_run(elsewhere, "outside"))
    assert [speaker.name for speaker in Speakers(workspace).all()] == ["base:builtin"]


def test_base_is_that_of_the_chosen_runs_with_their_weights(workspace: Workspace) -> None:
    make_run(workspace, "plain")
    make_run(workspace, "small", model={"quantization": "nf4"})
    speakers = Speakers(workspace)
    small, base = speakers.chosen(["small", "base", "small", "base:builtin"])
    assert (small.name, base.name) == ("small", "base:builtin")
    assert small.weights == base.weights == Weights("builtin", None, "nf4"), "one server for both"
    assert base.run == small.run and base.template_text() == "" and small.template_text() == PLAIN
    assert speakers.chosen(["base", "plain"])[0].weights.quantization == "none"
    with pytest.raises(StudioError, match="'nobody'"):
        speakers.chosen(["plain", "nobody"])


@pytest.mark.parametrize(
    ("settings", "alone"),
    [
        ({"adapter": {"method": "none"}}, True),
        ({"adapter": {"train_bias": True}}, True),
        ({"adapter": {"variant": "pissa"}}, False),
        ({"adapter": {"variant": "pissa"}, "model": {"quantization": "nf4"}}, True),
    ],
)
def test_a_run_that_changed_the_base_is_a_model_of_its_own(
    workspace: Workspace, settings: dict[str, dict[str, object]], alone: bool
) -> None:
    run = make_run(workspace, "a", weights="model", **settings)
    tuned, base = Speakers(workspace).chosen(["a", "base"])
    assert (tuned.weights.alone is not None, tuned.is_adapter) == (alone, not alone)
    assert base.weights.alone is None and base.weights.base == "builtin"
    assert base.run is (None if alone else base.run)
    if alone:
        assert tuned.weights.alone == (str(run.resolve()), tuned.stamp)


def test_a_run_that_trains_on_is_another_model(workspace: Workspace) -> None:
    run = make_run(workspace, "a")
    speakers = Speakers(workspace)
    before = speakers.chosen(["a"])[0]
    assert speakers.chosen(["a"])[0] is before, "not read again"
    os.utime(run / "adapter" / "adapter_config.json", (2, 2))
    after = speakers.chosen(["a"])[0]
    assert after.served != before.served and after.weights == before.weights
