from __future__ import annotations

from pathlib import Path

import pytest

from lorafit.plan import report as terminal
from lorafit.report.memory import PARTS, plan_figure
from lorafit.report.read import read_metrics

PLAN = {
    "needed": 1000,
    "budget": 8000,
    "peak": 900,
    "reserved": None,
    "parts": {"heap and compiled products": 100, "activations": 600, "new one": 50, "base weights": 250},
}


def test_parts_are_those_of_the_terminal_in_its_order() -> None:
    assert list(PARTS) == list(terminal.PARTS)


def test_parts_add_up_and_an_unknown_one_stays() -> None:
    figure = plan_figure(PLAN, read_metrics(Path("none"))[0])
    assert figure
    names = ["base weights", "activations", "heap and compiled products", "new one"]
    assert [part.name for part in figure.parts] == names
    assert sum(part.share for part in figure.parts) == pytest.approx(1)
    assert figure.enlarged and figure.budget_at == 100 and figure.measured == ()


def test_a_plan_beyond_the_budget_ends_it_within_the_bar() -> None:
    figure = plan_figure({**PLAN, "budget": 500}, read_metrics(Path("none"))[0])
    assert figure and figure.scale == 1000 and figure.budget_at == 50 and not figure.enlarged


def test_the_whole_runs_peak_is_compared_only_where_the_same_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"update": 1, "peak_memory_bytes": 1000}\n{"update": 2, "peak_memory_bytes": 1200}\n')
    updates = read_metrics(path)[0]
    measured = {"update": 2, "predicted": 880, "measured": 800, "difference": 0.1}
    on_cpu, on_cuda = (
        plan_figure({**PLAN, "reserved": reserved, "measured": measured}, updates) for reserved in (None, 950)
    )
    assert on_cpu and on_cuda
    assert [(row.planned, row.measured) for row in on_cpu.measured] == [(880, 800), (None, 1200)]
    assert [(row.planned, row.measured) for row in on_cuda.measured] == [(880, 800), (900, 1200)]
    assert on_cpu.measured[0].difference == pytest.approx(0.1) and on_cpu.measured[1].difference is None


@pytest.mark.parametrize("plan", [None, {}, {"parts": [], "needed": 1, "budget": 1}, {**PLAN, "needed": 0}])
def test_no_plan_no_figure(plan: dict[str, object] | None) -> None:
    assert plan_figure(plan, read_metrics(Path("none"))[0]) is None
