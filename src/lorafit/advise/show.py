"""An advice in the terminal."""

from __future__ import annotations

from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from lorafit.advise.advice import Advice
from lorafit.advise.methods import Method
from lorafit.advise.write import cited_sources
from lorafit.plan.report import VERDICT, duration, size

VALUE = 23  # the longest key


def figure(advice: Advice) -> RenderableType:
    """All of it: the task, the methods as planned, the settings with reason and source, what the sources say."""
    shown: list[RenderableType] = [
        _line("task", f"{advice.task.name}: {advice.why_task}"),
        _line("device", advice.device),
        *(_line("note", note, "dim") for note in advice.notes),
        methods_table(advice),
        _line("choice", advice.choice),
        _line("run", advice.run),
        settings_table(advice),
        *(_line("warning", warning, "yellow") for warning in advice.warnings),
        Text("what the sources say", "bold"),
        *(Text(f"  {source.cited}: {source.says}", "dim") for source in cited_sources(advice)),
    ]
    return Group(*shown)


def _line(what: str, text: str, style: str = "") -> RenderableType:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(width=8, style=style or "bold")
    grid.add_column(style=style)
    grid.add_row(what, Text(text))
    return grid


def methods_table(advice: Advice) -> Table:
    """A line for each base and method."""
    several = len({method.model for method in advice.methods}) > 1
    timed = any(method.seconds for method in advice.methods)
    table = Table(title="as planned", title_justify="left", title_style="bold", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("", no_wrap=True)
    if several:
        table.add_column("base", overflow="fold", ratio=1)
    for column, justify in (("method", "left"), ("", "left"), ("needs", "right"), ("of", "right"), ("again", "left")):
        table.add_column(column, justify="right" if justify == "right" else "left", no_wrap=True)
    table.add_column("an update" if timed else "time", justify="right", no_wrap=True)
    fastest = min((m.pace for m in advice.methods if m.pace and m.verdict != "no"), default=None)
    for method in advice.methods:
        cells = [Text("→" if method.chosen else "", "bold green")]
        if several:
            cells.append(Text(Path(method.model).name))
        cells += [
            Text(method.shown),
            Text(*VERDICT[method.verdict]),
            Text(size(method.needed)),
            Text(size(method.budget)),
            Text(method.recompute),
            Text(_time(method, timed, fastest)),
        ]
        table.add_row(*cells)
    return table


def _time(method: Method, timed: bool, fastest: float | None) -> str:
    """Of an update; where the device's speed is unknown, in times the fastest's, at a usual speed."""
    if method.verdict == "no":
        return ""
    if timed:
        return duration(method.seconds) if method.seconds else "unknown"
    return f"× {method.pace / fastest:.2f}" if method.pace and fastest else "unknown"


def settings_table(advice: Advice) -> Table:
    """Value, reason, source."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), expand=True)
    table.add_column("value", overflow="fold", width=VALUE)
    table.add_column("reason", overflow="fold", ratio=5)
    table.add_column("source", overflow="fold", ratio=3, style="dim")
    for setting in advice.settings:
        value = Text(setting.key, "dim").append(f"\n{_shown(setting.value)}", "bold not dim")
        table.add_row(value, Text(setting.reason), Text(setting.source.cited))
    return table


def _shown(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, float):
        return f"{value:g}"
    return str(value)
