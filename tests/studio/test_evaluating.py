"""What a page asks of `lorafit evaluate`, as arguments that the command takes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lorafit.cli.main import build_parser
from lorafit.studio.evaluating import Wanted
from lorafit.studio.refusal import StudioError
from lorafit.studio.workspace import Workspace
from tests.studio.outcomes import add_outcome


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    made = Workspace(tmp_path / "w")
    add_outcome(made, "one", {})
    (made.uploads / "--test 数据.jsonl").write_text("{}\n")
    (made.root / "mmlu").mkdir()
    (tmp_path / "secret.jsonl").write_text("{}\n")
    return made


def test_the_runs_own_rows_are_asked_without_any_option(workspace: Workspace) -> None:
    assert Wanted().arguments(workspace, "one") == ["evaluate", "runs/one"]


def test_the_command_line_takes_what_is_asked_of_a_file(workspace: Workspace) -> None:
    wanted = Wanted(
        "data", data="uploads/--test 数据.jsonl", category="a b", metrics=("bleu", "token_f1"), general="none",
        limit=5.0, max_new_tokens=64.0, name="my test",
    )  # fmt: skip
    args = build_parser().parse_args(wanted.arguments(workspace, "one"))
    assert (args.model, args.data, args.category) == ("runs/one", ["uploads/--test 数据.jsonl"], "a b")
    assert (args.metrics, args.forgetting, args.limit) == ("bleu,token_f1", "none", 5)
    assert (args.max_new_tokens, args.name, args.trust_remote_code) == (64, "my test", False)


def test_the_command_line_takes_what_is_asked_of_a_task(workspace: Workspace) -> None:
    wanted = Wanted("task", task="mmlu", records="mmlu", examples="mmlu", shots=0.0, data="ignored")
    args = build_parser().parse_args(wanted.arguments(workspace, "one"))
    assert (args.task, args.records, args.examples, args.shots, args.data) == (["mmlu"], "mmlu", "mmlu", 0, [])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"questions": "data"}, "Name a data file"),
        ({"questions": "data", "data": "../secret.jsonl"}, "stays in there"),
        ({"questions": "data", "data": "uploads/no.jsonl"}, "There is no"),
        ({"questions": "data", "data": "mmlu", "metrics": ("x.py:run",)}, "There is no metric"),
        ({"questions": "task", "task": "mine.yaml"}, "Choose a task"),
        ({"questions": "task", "task": "mmlu"}, "where the questions"),
        ({"questions": "task", "task": "mmlu", "records": "/etc"}, "stays in there"),
        ({"general": "../secret.jsonl"}, "stays in there"),
        ({"limit": 0.0}, "--limit: a whole number from 1"),
        ({"max_new_tokens": 1.5}, "not 1.5"),
        ({"limit": float("inf")}, "--limit"),
        ({"name": "../x"}, "name of a folder"),
        ({"name": ".hidden"}, "name of a folder"),
    ],
)
def test_what_is_missing_wrong_or_outside_is_refused(
    workspace: Workspace, change: dict[str, object], message: str
) -> None:
    with pytest.raises(StudioError, match=message):
        replace(Wanted(), **change).arguments(workspace, "one")  # type: ignore[arg-type]


def test_a_run_that_is_not_there_is_refused(workspace: Workspace) -> None:
    with pytest.raises(StudioError, match="no run"):
        Wanted().arguments(workspace, "other")
