"""The plots of a run: what the reader looks at stays."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest
from nicegui import ui
from nicegui.testing import user_simulation

from lorafit.run import RunFolder
from lorafit.studio.curves import Curves
from lorafit.studio.frame import STYLE
from lorafit.studio.pages import run_charts
from lorafit.studio.pages.run_charts import RunCharts, View, drawing


def test_a_drawing_that_comes_late_does_not_undo_a_zoom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = RunFolder.create(tmp_path / "run")
    run.metrics.write_text("".join(f'{{"update": {n}, "loss": {n}}}\n' for n in range(1, 101)))
    curves = Curves(run)
    curves.refresh()
    may_end = threading.Event()

    def slow_for_the_whole(curves: Curves, view: View) -> Any:
        if view.is_whole:
            may_end.wait(20)
        return drawing(curves, view)

    async def visit() -> None:
        made: list[RunCharts] = []

        def root() -> None:
            ui.add_css(STYLE)
            made.append(RunCharts(curves, drawing(curves)))

        async with user_simulation(root) as user:
            await user.open("/")
            (charts,) = made
            monkeypatch.setattr(run_charts, "drawing", slow_for_the_whole)
            with user:
                late = asyncio.create_task(charts._send())
                await asyncio.sleep(0)
                await charts._show(20, 40)
                may_end.set()
                await late
                assert (charts._view.low, charts._view.high) == (20, 40)
                await user.should_see("updates 20 to 40")
                zoom = charts._loss.element.options["dataZoom"][0]
                assert (zoom["startValue"], zoom["endValue"]) == (20, 40)

    asyncio.run(visit())
