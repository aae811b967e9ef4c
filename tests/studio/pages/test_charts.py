"""What is sent to a chart, and what it tells of a zoom."""

from __future__ import annotations

import asyncio
import json
import re
from types import SimpleNamespace
from typing import Any

import pytest
from nicegui import Client, ui
from nicegui.testing import user_simulation

from lorafit.studio.frame import STYLE
from lorafit.studio.pages.charts import Chart, Style, View, chart_colours, connect, spans_decades

STYLES = (Style("loss", "one", "pale"), Style("smoothed", "one"), Style("held-out loss", "two", "dots"))


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The patches that went to charts."""
    patches: list[dict[str, Any]] = []

    def run(self: Client, code: str, **_: Any) -> None:
        if found := re.search(r"\(\d+, (\{.*\})\)$", code, re.DOTALL):
            patches.append(json.loads(found[1]))

    monkeypatch.setattr(Client, "run_javascript", run)
    return patches


def drawn(sent: list[dict[str, Any]], curves: list[Any], view: View, **options: Any) -> dict[str, Any]:
    zooms: list[tuple[float, float]] = []

    async def zoomed(start: float, end: float) -> None:
        zooms.append((start, end))

    async def draw() -> dict[str, Any]:
        def root() -> None:
            chart = Chart("Loss", STYLES, zoomed, slider=True, **options)
            chart.draw(curves, view)
            connect([chart])
            for args in ({"start": 25, "end": 50}, {"batch": [{"start": 0, "end": 10}]}, {"start": None, "end": None}):
                event: Any = SimpleNamespace(args=args)
                asyncio.get_running_loop().create_task(chart._zoomed(event))

        async with user_simulation(root) as user:
            await user.open("/")
            await asyncio.sleep(0)
        assert zooms == [(0.25, 0.5), (0, 0.1)]
        return sent[-1]

    return asyncio.run(draw())


def test_only_points_are_sent(sent: list[dict[str, Any]]) -> None:
    curves = [[(1.0, 4.123456789), (2.0, 1.0)], [(1.0, 4.0), (2.0, 1.0)], [(0.0, 5.0)]]
    patch = drawn(sent, curves, View(0, 2))
    assert [series["data"] for series in patch["series"]] == [[[1, 4.1235], [2, 1]], [[1, 4], [2, 1]], [[0, 5]]]
    assert patch["xAxis"] == {"min": 0, "max": 2} and patch["yAxis"]["type"] == "value"
    assert patch["dataZoom"] == [{"start": 0, "end": 100}] * 2
    assert [series["lineStyle"]["width"] for series in patch["series"]] == [1, 2, 2]
    assert patch["series"][2]["showSymbol"] and set(patch) == {"xAxis", "yAxis", "dataZoom", "series"}


def test_a_curve_without_a_calmer_one_is_not_pale(sent: list[dict[str, Any]]) -> None:
    patch = drawn(sent, [[(1.0, 4.0), (2.0, 3.0)], [], []], View(1, 2, low=1.5))
    assert patch["series"][0]["lineStyle"]["opacity"] == 1
    assert patch["dataZoom"][0] == {"startValue": 1.5, "endValue": 2}


def test_values_over_decades_get_a_logarithmic_axis(sent: list[dict[str, Any]]) -> None:
    curves = [[(1.0, 400.0), (2.0, 0.0), (3.0, 0.5)], [], []]
    patch = drawn(sent, curves, View(0, 3), may_be_log=True)
    # ECharts forgets an axis's colours with its type.
    assert patch["yAxis"]["type"] == "log" and patch["yAxis"]["splitLine"] == {"lineStyle": {"color": "var(--grid)"}}
    assert patch["series"][0]["data"] == [[1, 400], [3, 0.5]]
    assert drawn(sent, curves, View(0, 3))["yAxis"]["type"] == "value"
    assert spans_decades([1, 101]) and not spans_decades([1, 99, 0, -5]) and not spans_decades([0])


def test_every_colour_is_one_of_the_theme() -> None:
    style = STYLE.read_text()
    for name, colour in chart_colours().items():
        assert colour == f"var(--{name})" and style.count(f"--{name}: ") == 2  # light and dark


def test_charts_are_drawn_so_that_the_theme_reaches_them() -> None:
    async def root_element() -> str:
        made: list[Any] = []
        async with user_simulation(lambda: made.append(ui.echart({"series": []}))) as user:
            await user.open("/")
        return str(made[0].props["renderer"])

    assert asyncio.run(root_element()) == "svg"
