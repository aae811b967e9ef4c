"""Runs beside one another: which columns there are and which of a column is the best."""

from __future__ import annotations

from pathlib import Path

from lorafit.studio.comparing import Column, columns_of, compared, is_measured_on
from lorafit.studio.runs import Runs
from lorafit.studio.workspace import Workspace
from tests.studio.outcomes import add_outcome


def test_the_best_is_marked_and_what_its_interval_does_not_tell_apart() -> None:
    ends = ((0.1, 0.3), (0.25, 0.5), (0.4, 0.6), None)
    column = Column("a", (0.2, 0.4, 0.5, 0.45), str, "high", ends)
    assert column.marks() == ["", "near", "best", ""]
    assert Column("a", (0.2, 0.4, None), str, "low").marks() == ["best", "", ""]


def test_nothing_is_the_best_where_all_are_alike_or_no_end_is_better() -> None:
    assert Column("a", (1.0, 1.0, None), str, "low").marks() == ["", "", ""]
    assert Column("a", (1.0, 2.0), str).marks() == ["", ""]
    assert Column("a", (None, 2.0), str, "low").marks() == ["", ""]


def test_columns_are_those_that_some_run_has(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    runs = Runs(workspace)
    one, other = add_outcome(workspace, "one", {0: 2.0, 3: 1.0}), add_outcome(workspace, "other", {}, tuned=0.6, rank=4)
    (other.evaluation / "scores.json").unlink()
    found = {column.title: column for column in columns_of([compared(run, runs) for run in (one, other)])}
    assert list(found) == ["held-out loss", "token F1", "training time", "tokens per second", "peak memory"]
    assert found["held-out loss"].values == (1.0, None)
    score = found["token F1"]
    assert score.values == (0.75, None) and score.better == "high" and score.text(0.75) == "75.0%"
    assert score.intervals[1] is None and score.intervals[0] is not None


def test_only_what_changes_the_rows_or_the_scoring_is_warned_of() -> None:
    names = ("data.train", "evaluate.prompts", "evaluate.while_training", "train.epochs")
    assert [name for name in names if is_measured_on(name)] == ["data.train", "evaluate.prompts"]
