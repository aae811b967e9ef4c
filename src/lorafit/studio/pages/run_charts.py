"""The curves of a run on its screen: five charts with one zoom."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass, replace

from nicegui import ui

from lorafit.studio.curves import Curves, Points
from lorafit.studio.frame import card, heading
from lorafit.studio.pages.charts import Chart, Style, View, connect
from lorafit.studio.words import t

NARROWEST = 4.0  # updates


@dataclass(frozen=True, slots=True)
class Drawing:
    """What there is to draw of a view, and the `version` of the curves that it is of. points: of each chart."""

    version: int
    view: View
    points: list[list[Points]]


def drawing(curves: Curves, view: View | None = None) -> Drawing:
    """view: its ends are those of the curves now, its cut stays. Slow for a long run: not for the event loop."""
    version, (first, last) = curves.version, curves.span()
    view = replace(view or View(), first=first, last=last)

    def of(name: str, smooth: bool = False) -> Points:
        return curves.points(name, view.low, view.high, smooth=smooth)

    memory = [[(at, value / 1e9) for at, value in of(name)] for name in ("memory_bytes", "peak_memory_bytes")]
    points = [
        [of("loss"), of("loss", smooth=True), of("held_out_loss")],
        [of("learning_rate")],
        [of("gradient_norm"), of("gradient_norm", smooth=True)],
        [of("tokens_per_second"), of("tokens_per_second", smooth=True)],
        memory,
    ]
    return Drawing(version, view, points)


class RunCharts:
    """Built where it is made, and drawn; `draw` sends what there is now."""

    def __init__(self, curves: Curves, first: Drawing) -> None:
        self._curves, self._view = curves, first.view
        with card():
            with ui.element("div").classes("between"):
                heading(t("Loss"))
                self._zoom_buttons()
            loss = (
                Style(t("loss"), "one", "pale"),
                Style(t("smoothed"), "one"),
                Style(t("held-out loss"), "two", "dots"),
            )
            self._loss = Chart(t("Loss"), loss, self._zoomed, height=340, slider=True, from_zero=False, may_be_log=True)
        with ui.element("div").classes("grid2"):
            self._rate = self._small(t("Learning rate"), Style(t("learning rate"), "one"))
            norm = Style(t("norm"), "one", "pale"), Style(t("smoothed"), "one")
            self._norm = self._small(t("Gradient norm"), *norm, note=t("before clipping"), may_be_log=True)
            speed = Style(t("tokens a second"), "one", "pale"), Style(t("smoothed"), "one")
            self._speed = self._small(t("Tokens a second"), *speed)
            used = Style(t("in use"), "one"), Style(t("peak so far"), "two", "dashed")
            self._memory = self._small(t("Memory"), *used, note="GB")
        self._charts = (self._loss, self._rate, self._norm, self._speed, self._memory)
        connect(self._charts)
        self._lay(first)

    def _small(self, title: str, *styles: Style, note: str = "", may_be_log: bool = False) -> Chart:
        with card(title, note):
            return Chart(title, styles, self._zoomed, may_be_log=may_be_log)

    def _zoom_buttons(self) -> None:
        ways = (
            ("zoom_in", t("Zoom in"), lambda: self._show_between(0.25, 0.75)),
            ("zoom_out", t("Zoom out"), lambda: self._show_between(-0.5, 1.5)),
            ("chevron_left", t("Earlier updates"), lambda: self._show_between(-0.5, 0.5)),
            ("chevron_right", t("Later updates"), lambda: self._show_between(0.5, 1.5)),
            ("fit_screen", t("The whole run"), lambda: self._show(-math.inf, math.inf)),
        )
        with ui.element("div").classes("inline zoom-buttons"):
            self._shown = ui.label("").classes("dim small").props("role=status")
            for icon, name, act in ways:
                button = ui.button(icon=icon, on_click=act).props("flat round dense").classes("quiet").tooltip(name)
                button.props["aria-label"] = name

    async def draw(self) -> None:
        """Send the points when there are other ones than before."""
        if self._curves.version != self._seen:
            await self._send()

    async def _send(self) -> None:
        asked = self._view
        drawn = await asyncio.to_thread(drawing, self._curves, asked)
        if (asked.low, asked.high) == (self._view.low, self._view.high):  # else the reader has moved on meanwhile
            self._lay(drawn)

    def _lay(self, drawn: Drawing) -> None:
        self._seen, self._view = drawn.version, drawn.view
        for chart, curves in zip(self._charts, drawn.points, strict=True):
            chart.draw(curves, drawn.view)
        view = drawn.view
        low, high = max(view.low, view.first), min(view.high, view.last)
        self._shown.set_text(t("updates {first} to {last}", first=f"{low:,.0f}", last=f"{high:,.0f}"))

    async def _zoomed(self, start: float, end: float) -> None:
        """The reader has moved the ends of the axis, as shares of it. An end at its end goes with the run."""
        first, length = self._view.first, self._view.last - self._view.first
        low = -math.inf if start < 0.001 else math.floor(first + start * length)
        high = math.inf if end > 0.999 else math.ceil(first + end * length)
        await self._show(low, high)

    async def _show_between(self, start: float, end: float) -> None:
        """Shares of what is shown now; what is beyond the run is cut off."""
        view = self._view
        low, high = max(view.low, view.first), min(view.high, view.last)
        middle, half = low + (start + end) / 2 * (high - low), max(NARROWEST, (end - start) * (high - low)) / 2
        middle = min(max(middle, view.first + half), max(view.last - half, view.first + half))
        low, high = math.floor(middle - half), math.ceil(middle + half)
        await self._show(low if low > view.first else -math.inf, high if high < view.last else math.inf)

    async def _show(self, low: float, high: float) -> None:
        if (low, high) != (self._view.low, self._view.high):  # every chart tells of a zoom that they share
            self._view = replace(self._view, low=low, high=high)
            await self._send()
