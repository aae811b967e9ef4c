"""A study's figures as tables for a terminal, however narrow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from lorafit.study.folder import Study
from lorafit.study.table import Group, Measure, cell, groups_of, measures_of

GAP = 2  # columns between two columns
PARTS = {
    "quality": "on held-out data",
    "training": "in training (memory planned and measured: tensors of one update)",
    "inference": "afterwards (a token: seconds from one to the next)",
}


def tables(study: Study, width: int) -> Iterator[Table]:
    """One table with a column for each combination of values where the terminal has room for it; else a row for each,
    in as many tables as that takes."""
    groups, measures = groups_of(study), measures_of(study)
    if not measures:
        return
    rows = [[m.title, *(cell(group, m) for group in groups)] for m in measures]
    head = ["", *(_titled(group) for group in groups)]
    if _widths([head, *rows]) <= width:
        yield _upright(head, rows, measures)
        return
    for part, title in PARTS.items():
        chosen = [m for m in measures if m.part == part]
        while chosen:
            table, shown = _across(groups, chosen, width, title)
            chosen = chosen[shown:]
            yield table


def _upright(head: Sequence[str], rows: Sequence[Sequence[str]], measures: Sequence[Measure]) -> Table:
    table = _table("")
    for number, title in enumerate(head):
        table.add_column(Text(title), justify="right" if number else "left", no_wrap=True)
    for number, row in enumerate(rows):
        last = number + 1 == len(rows) or measures[number].part != measures[number + 1].part
        table.add_row(*map(Text, row), end_section=last)
    return table


def _across(groups: Sequence[Group], measures: Sequence[Measure], width: int, title: str) -> tuple[Table, int]:
    """A table with the first of the measures, and how many of them it has."""
    labels = [_titled(group) for group in groups]
    table = _table(title)
    left = width - min(max(map(cell_len, labels)), width // 2) - GAP
    table.add_column("", overflow="fold", max_width=width // 2)
    columns: list[list[str]] = []
    for measure in measures:
        cells = [cell(group, measure) for group in groups]
        needed = max(*map(cell_len, cells), *map(cell_len, measure.title.split()))
        if columns and needed + GAP > left:
            break
        left -= needed + GAP
        table.add_column(Text(measure.title), justify="right", width=needed)
        columns.append(cells)
    for name, *cells in zip(labels, *columns, strict=True):
        table.add_row(Text(name), *map(Text, cells))
    return table, len(columns)


def _table(title: str) -> Table:
    return Table(
        title=title or None,
        title_justify="left",
        title_style="bold",
        box=SIMPLE_HEAD,
        padding=(0, GAP, 0, 0),
        pad_edge=False,
        show_edge=False,
    )


def _titled(group: Group) -> str:
    finished, all_ = len(group.finished), len(group.entries)
    if finished == all_:
        return group.label
    if finished:
        return f"{group.label} ({finished} of {all_})"
    return f"{group.label} ({group.entries[0].state})"


def _widths(rows: Sequence[Sequence[str]]) -> int:
    return sum(max(map(cell_len, column)) + GAP for column in zip(*rows, strict=True))
