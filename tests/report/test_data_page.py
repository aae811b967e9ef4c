"""data.json as a page: what is whole, what is of another version, and what the doctor says already."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lorafit.data.inspect import data_report
from lorafit.data.prepare import prepare
from lorafit.data.template import Renderer, choose_template
from lorafit.report.data_page import data_view, histogram, write_data_page


@pytest.fixture
def report(tokenizer: Any, data_file: Path) -> dict[str, Any]:
    renderer = Renderer(tokenizer, choose_template(tokenizer))
    prepared = prepare(renderer, str(data_file), 0.25, 40, cut_answers=1.0)
    return data_report(prepared, renderer, prepared.problems)


def test_a_whole_report(report: dict[str, Any], tmp_path: Path) -> None:
    page = write_data_page(report, "tiny", tmp_path / "data.html").read_text(encoding="utf-8")
    view = data_view(report)
    assert view.whole and view.warnings >= 1 and len(view.histograms) == 3
    assert page.count('<rect class="bar"') == sum(len(plot.bars) for plot in view.histograms)
    assert "lose the end of their answer" in page and "<mark>" in page
    (source,) = view.sources
    assert source[1:3] == ("Alpaca (40)", report["training"]["samples"]) and source[4] == 1.0


def test_what_the_doctor_says_is_not_said_again(report: dict[str, Any]) -> None:
    everything, rest = data_view(report), data_view(report, ["answers-cut"])
    assert len(rest.problems) == len(everything.problems) - 1
    assert all(problem["symptom"] != "answers-cut" for problem in rest.problems)


@pytest.mark.parametrize(
    "data", [None, {}, {"warnings": ["short"]}, {"problems": 5, "sources": []}, {"lengths": 3, "rows": "x", "kept": []}]
)
def test_data_of_another_version(data: dict[str, Any] | None, tmp_path: Path) -> None:
    view = data_view(data)
    assert not view.whole
    assert [problem["text"] for problem in view.problems] == (data or {}).get("warnings", [])


def test_bars_are_as_high_as_their_counts() -> None:
    figures = {"count": 7, "p50": 1, "p95": 9, "max": 9, "histogram": {"edges": [0, 2, 4], "rows": [4, 3]}}
    plot = histogram("Prompts", figures)
    assert plot is not None
    assert [bar.height for bar in plot.bars] == [400, 300]
    assert [bar.words for bar in plot.bars] == ["0 to 1 tokens: 4 samples", "2 and more tokens: 3 samples"]
    assert histogram("Prompts", {"count": 0}) is None
