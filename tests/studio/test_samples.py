"""The index of samples.jsonl: what is chosen, in which order, and what of the file is read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lorafit.report.evaluation_view import Metric
from lorafit.run import RunFolder
from lorafit.studio.samples import Samples, asked, samples_of
from lorafit.studio.workspace import Workspace
from tests.studio.outcomes import ROWS, add_outcome

F1 = Metric("token_f1", "higher", True, 1.0, {}, {})


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return add_outcome(Workspace(tmp_path), "one", {0: 2.0, 3: 1.0})


@pytest.fixture
def samples(run: RunFolder) -> Samples:
    return samples_of(run, ["token_f1"])


@pytest.mark.parametrize(
    ("show", "numbers"), [("all", [0, 1, 2, 3]), ("better", [0, 2]), ("worse", [1]), ("same", [3])]
)
def test_a_filter_compares_with_the_base(samples: Samples, show: str, numbers: list[int]) -> None:
    assert samples.chosen(F1, "tuned", show) == numbers  # type: ignore[arg-type]


def test_a_metric_that_should_be_low_turns_better_and_worse_around(samples: Samples) -> None:
    low = Metric("token_f1", "lower", True, 1.0, {}, {})
    assert samples.chosen(low, "tuned", "better") == [1]
    assert samples.chosen(low, "tuned", order="worst")[:2] == [0, 2]


def test_regressions_or_improvements_come_first(samples: Samples) -> None:
    assert samples.chosen(F1, "tuned", order="worst") == [1, 3, 0, 2]
    assert samples.chosen(F1, "tuned", order="best") == [0, 2, 3, 1]


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("PARIS", [0]),  # in any case
        ("颜色", [2]),
        ("红", [2]),  # in an answer
        ('"hi"', [3]),  # with signs that JSON escapes
        ("token_f1", []),  # in the file, but not in what is shown
        ("Be brief", []),
        (" ", [0, 1, 2, 3]),
    ],
)
def test_a_search_looks_at_what_is_shown(samples: Samples, text: str, numbers: list[int]) -> None:
    assert samples.chosen(F1, "tuned", text=text) == numbers


def test_rows_are_read_from_their_places(samples: Samples) -> None:
    third, first = samples.rows([2, 0])
    assert asked(third) == ROWS[2][0] and third["base"]["text"] == "<b>红</b>"
    assert asked(first) == ROWS[0][0]
    assert samples.speakers == ("base", "tuned")


def test_a_changed_file_is_read_anew_and_half_lines_are_left_out(run: RunFolder, samples: Samples) -> None:
    file = run.evaluation / "samples.jsonl"
    line = file.read_text(encoding="utf-8").splitlines()[1]
    with file.open("a", encoding="utf-8") as appended:
        appended.write(f"[1]\n{line}\n{line[:30]}")
    found = samples_of(run, ["token_f1"])
    assert len(samples) == 4 and len(found) == 5
    assert found.chosen(F1, "tuned", "worse") == [1, 4]
    assert samples_of(run, ["token_f1"]) is found


def test_what_has_no_score_is_neither_better_nor_worse_and_comes_last(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path / "run")
    run.evaluation.mkdir()
    rows = [
        {"prompt": [], "reference": "", "base": {"text": "a"}, "tuned": {"text": "b"}},
        {"prompt": [], "base": {"text": "a", "token_f1": 1}, "tuned": {"text": "b", "token_f1": 0}},
        {"prompt": "no list", "base": None},
    ]
    (run.evaluation / "samples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    samples = samples_of(run, ["token_f1"])
    assert samples.chosen(F1, "tuned", "worse") == [1]
    assert samples.chosen(F1, "tuned", order="best") == [1, 0, 2]
    assert [asked(row) for row in samples.rows([0, 2])] == ["", ""]


def test_a_run_without_samples_has_an_empty_index(tmp_path: Path) -> None:
    samples = samples_of(RunFolder.create(tmp_path / "run"), ["token_f1"])
    assert len(samples) == 0 and samples.chosen(F1, "tuned", "better", "worst", "x") == []
