"""What a chart is drawn from, and what it tells of a zoom."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from nicegui import ui
from nicegui.testing import user_simulation

from lorafit.studio.frame import STYLE
from lorafit.studio.pages.charts import Chart, Style, View, chart_colours, connect, spans_decades

STYLES = (Style("loss", "one", "pale"), Style("smoothed", "one"), Style("held-out loss", "two", "dots"))


def drawn(curves: list[Any], view: View, **options: Any) -> dict[str, Any]:
    """The options that go to a chart, drawn once before."""
    made: list[Chart] = []
    zooms: list[tuple[float, float]] = []

    async def zoomed(start: float, end: float) -> None:
        zooms.append((start, end))

    async def draw() -> dict[str, Any]:
        def root() -> None:
            chart = Chart("Loss", STYLES, zoomed, slider=True, **options)
            made.append(chart)
            chart.draw([[(0.0, 1000.0)], [], []], View(0, 1, high=0.5))
            chart.draw(curves, view)
            connect([chart])
            for args in ({"start": 25, "end": 50}, {"batch": [{"start": 0, "end": 10}]}, {"start": None, "end": None}):
                event: Any = SimpleNamespace(args=args)
                asyncio.get_running_loop().create_task(chart._zoomed(event))

        async with user_simulation(root) as user:
            await user.open("/")
            await asyncio.sleep(0)
        assert zooms == [(0.25, 0.5), (0, 0.1)]
        return made[0].element.options

    return asyncio.run(draw())


def test_the_points_go_with_the_chart() -> None:
    curves = [[(1.0, 4.123456789), (2.0, 1.0)], [(1.0, 4.0), (2.0, 1.0)], [(0.0, 5.0)]]
    options = drawn(curves, View(0, 2))
    assert [series["data"] for series in options["series"]] == [[[1, 4.1235], [2, 1]], [[1, 4], [2, 1]], [[0, 5]]]
    assert (options["xAxis"]["min"], options["xAxis"]["max"]) == (0, 2) and options["yAxis"]["type"] == "value"
    for zoom in options["dataZoom"]:
        assert (zoom["start"], zoom["end"]) == (0, 100) and "endValue" not in zoom
    assert [series["lineStyle"]["width"] for series in options["series"]] == [1, 2, 2]
    assert options["series"][2]["showSymbol"]


def test_a_curve_without_a_calmer_one_is_not_pale() -> None:
    options = drawn([[(1.0, 4.0), (2.0, 3.0)], [], []], View(1, 2, low=1.5))
    assert options["series"][0]["lineStyle"]["opacity"] == 1
    zoom = options["dataZoom"][0]
    assert (zoom["startValue"], zoom["endValue"]) == (1.5, 2) and "start" not in zoom


def test_values_over_decades_get_a_logarithmic_axis() -> None:
    curves = [[(1.0, 400.0), (2.0, 0.0), (3.0, 0.5)], [], []]
    options = drawn(curves, View(0, 3), may_be_log=True)
    # ECharts forgets an axis's colours with its type.
    assert options["yAxis"]["type"] == "log" and options["yAxis"]["splitLine"] == {
        "lineStyle": {"color": "var(--grid)"}
    }
    assert options["series"][0]["data"] == [[1, 400], [3, 0.5]]
    assert drawn(curves, View(0, 3))["yAxis"]["type"] == "value"
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
