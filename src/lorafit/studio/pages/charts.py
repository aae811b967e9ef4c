"""Charts that follow the theme, take new points without being drawn anew, and ask for detail when they are zoomed.

They are drawn as SVG, where colours are the variables of style.css themselves: what is chosen or changes in the browser
needs no word from here.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from nicegui import ui
from nicegui.events import GenericEventArguments

from lorafit.studio.curves import Points
from lorafit.studio.words import t

COLOURS = ("page", "card", "ink", "dim", "rule", "grid", "one", "two", "three", "four", "good", "warn", "bad", "tint")
# From how many decades on a logarithmic axis is the better one, as in report.html.
LOG_DECADES = 2.0
MOST_DOTS, PALE = 100, 0.35
# The wheel alone and a finger scroll the page.
INSIDE = {"type": "inside", "filterMode": "none", "zoomOnMouseWheel": "ctrl", "preventDefaultMouseMove": False}
NUMBER = """value => typeof value !== 'number' ? '–'
  : value !== 0 && (Math.abs(value) < 0.001 || Math.abs(value) >= 1e7)
  ? value.toExponential(2).replace(/\\.?0*e/, 'e') : value.toLocaleString('en', {maximumSignificantDigits: 4})"""
# Zoom and pointer of one chart are those of all: `connect` of ECharts. A chart is there a moment after its element.
CONNECT = """import('nicegui-echart').then(({echarts}) => {
  const join = (id, tries) => {
    const chart = getElement(id)?.chart;
    if (chart) chart.group = GROUP; else if (tries) setTimeout(() => join(id, tries - 1), 50);
  };
  IDS.forEach(id => join(id, 100));
  echarts.connect(GROUP);
})"""
ui.echart.default_props("renderer=svg")


def chart_colours() -> dict[str, str]:
    """The colours of style.css by name, for the options of a chart."""
    return {name: f"var(--{name})" for name in COLOURS}


@dataclass(frozen=True, slots=True)
class Style:
    """How a curve looks. name: in the reader's language; colour: of `COLOURS`; kind `pale`: drawn so
    once the next curve, a calmer one, lies over it."""

    name: str
    colour: str
    kind: Literal["line", "pale", "dashed", "dots"] = "line"


@dataclass(frozen=True, slots=True)
class View:
    """What all charts of a page show: updates from `low` to `high` of those from `first` to `last`."""

    first: float = 0.0
    last: float = 1.0
    low: float = -math.inf
    high: float = math.inf

    @property
    def is_whole(self) -> bool:
        return self.low <= self.first and self.high >= self.last

    def zoom(self) -> dict[str, float]:
        """For the `dataZoom` of ECharts."""
        if self.is_whole:
            return {"start": 0, "end": 100}
        return {"startValue": max(self.low, self.first), "endValue": min(self.high, self.last)}


class Chart:
    """Curves over the number of the update. title: in the reader's language, said to who cannot see it, too.

    on_zoom: told the shares (0 to 1) of the axis between which the reader wants to look. slider: whether it has one.
    """

    def __init__(
        self,
        title: str,
        styles: Sequence[Style],
        on_zoom: Callable[[float, float], Awaitable[None]],
        height: int = 230,
        slider: bool = False,
        from_zero: bool = True,
        may_be_log: bool = False,
    ) -> None:
        self._styles, self._may_be_log, self._on_zoom = styles, may_be_log, on_zoom
        self._zooms = [INSIDE, _slider(chart_colours())] if slider else [INSIDE]
        self.element = (
            ui.echart(_options(styles, slider, from_zero, self._zooms)).classes("w-full").style(f"height: {height}px")
        )
        self.element.props["role"], self.element.props["aria-label"] = "img", title
        self.element.on("chart:datazoom", self._zoomed, ["start", "end", "batch"], throttle=0.15)

    def draw(self, curves: Sequence[Points], view: View) -> None:
        """Send the points of every curve, in the order of the styles. Called in the step in which the chart is made, it
        is drawn but once.

        The options are sent whole: what a script lays over them is lost where the page draws the element once more.
        """
        values = [value for points in curves for _, value in points]
        is_log = self._may_be_log and spans_decades(values)
        calm = [bool(points) for points in [*curves[1:], []]]
        options = self.element.options
        options["xAxis"] |= {"min": view.first, "max": max(view.last, view.first + 1)}
        options["yAxis"] |= {"type": "log" if is_log else "value"}
        options["dataZoom"] = [zoom | view.zoom() for zoom in self._zooms]
        for series, points, style, has_calm in zip(options["series"], curves, self._styles, calm, strict=True):
            series |= _data(points, style, has_calm, is_log)
        self.element.update()

    async def _zoomed(self, event: GenericEventArguments) -> None:
        told = event.args.get("batch") or [event.args]
        start, end = told[0].get("start"), told[0].get("end")
        if isinstance(start, int | float) and isinstance(end, int | float):
            await self._on_zoom(start / 100, end / 100)


def connect(charts: Sequence[Chart]) -> None:
    """Let charts share their zoom and their pointer."""
    ids = [chart.element.id for chart in charts]
    ui.run_javascript(CONNECT.replace("GROUP", repr(f"charts-{ids[0]}")).replace("IDS", str(ids)))


def spans_decades(values: Sequence[float]) -> bool:
    positive = [value for value in values if value > 0]
    return bool(positive) and math.log10(max(positive) / min(positive)) > LOG_DECADES


def _data(points: Points, style: Style, has_calm: bool, is_log: bool) -> dict[str, Any]:
    """has_calm: whether a calmer line, the next one, lies over it."""
    # Five digits are more than a pixel tells; a logarithm has no place for what is not above 0.
    data = [[at, float(f"{value:.5g}")] for at, value in points if value > 0 or not is_log]
    is_pale = style.kind == "pale" and has_calm
    return {
        "data": data,
        "showSymbol": (style.kind == "dots" and len(data) <= MOST_DOTS) or len(data) == 1,
        "lineStyle": {
            "type": "dashed" if style.kind == "dashed" else "solid",
            "width": 1 if is_pale else 2,
            "opacity": PALE if is_pale else 1,
        },
        "itemStyle": {"opacity": PALE if is_pale else 1},
    }


def _options(styles: Sequence[Style], slider: bool, from_zero: bool, zooms: Sequence[dict[str, Any]]) -> dict[str, Any]:
    colours = chart_colours()
    text, rule = {"color": colours["dim"]}, {"lineStyle": {"color": colours["rule"]}}
    legend = len(styles) > 1
    return {
        "animation": False,
        "grid": {"left": 8, "right": 16, "top": 32 if legend else 12, "bottom": 42 if slider else 6,
                 "containLabel": True},
        "legend": {"show": legend, "top": 0, "left": 0, "icon": "roundRect", "itemHeight": 4, "itemWidth": 18,
                   "textStyle": {"color": colours["ink"]}, "inactiveColor": colours["rule"]},
        "tooltip": {
            "trigger": "axis", "confine": True, ":valueFormatter": NUMBER,
            "backgroundColor": colours["card"], "borderColor": colours["rule"], "textStyle": {"color": colours["ink"]},
            "axisPointer": {
                "lineStyle": {"color": colours["dim"]},
                "label": {"precision": 0, "formatter": t("update {number}", number="{value}")},
            },
        },
        "xAxis": {"type": "value", "min": 0, "max": 1, "minInterval": 1, "axisLine": rule, "axisTick": rule,
                  "splitLine": {"show": False},
                  "axisLabel": {**text, "hideOverlap": True, "alignMinLabel": "left", "alignMaxLabel": "right"}},
        "yAxis": {"type": "value", "scale": not from_zero, "axisLabel": {**text, ":formatter": NUMBER},
                  "splitLine": {"lineStyle": {"color": colours["grid"]}}},
        "dataZoom": list(zooms),
        "series": [_series(number, style, colours) for number, style in enumerate(styles)],
    }  # fmt: skip


def _slider(colours: dict[str, str]) -> dict[str, Any]:
    handle = {"color": colours["card"], "borderColor": colours["dim"]}
    return {
        "type": "slider", "filterMode": "none", "bottom": 6, "height": 18,
        "showDataShadow": False, "brushSelect": False,
        "borderColor": colours["rule"], "fillerColor": colours["tint"], "backgroundColor": "transparent",
        "handleStyle": handle, "moveHandleStyle": {"color": colours["rule"]},
        "emphasis": {"handleStyle": handle, "moveHandleStyle": {"color": colours["dim"]}},
        "textStyle": {"color": colours["dim"]}, "labelPrecision": 0,
    }  # fmt: skip


def _series(number: int, style: Style, colours: dict[str, str]) -> dict[str, Any]:
    return {
        "id": str(number), "type": "line", "name": style.name, "data": [], "color": colours[style.colour],
        "symbol": "circle", "symbolSize": 8 if style.kind == "dots" else 5, "showSymbol": False,
        "emphasis": {"disabled": True}, "z": 3 if style.kind == "dots" else 2,
    }  # fmt: skip
