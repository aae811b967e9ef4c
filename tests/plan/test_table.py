"""The table of methods and cards: a line for each method and length, and marks that turn at the memory's edges."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console
from tests.plan.test_settle import card, question, ways_known  # noqa: F401  a fixture

from lorafit.adapters.settings import AdapterSettings
from lorafit.plan.simulate import Job, simulate_deep
from lorafit.plan.table import MARKS, METHODS, SEGMENTS, Line, _fits, fits_table, table_lines
from lorafit.recipe import METHODS as RECIPE_METHODS


def job_of(method: str, length: int, recompute: str) -> Job:
    settings = RECIPE_METHODS[method]
    asked = question(card(1e12), length=length, adapter=AdapterSettings(rank=4, method=settings["adapter.method"]))
    choice = replace(asked.start(), quantization=settings["model.quantization"], recompute=recompute)
    return asked.job_of(replace(choice, tokens_per_pass=length))


def test_a_line_for_each_method_and_length() -> None:
    done = []
    lines = list(table_lines(job_of, 1000, (256, 1024), done.append))
    assert [(line.method, line.length) for line in lines] == [(m, n) for m in METHODS for n in (256, 1024)]
    assert sum(done) == 2 * len(lines)
    by_name = {(line.method, line.length): line for line in lines}
    assert by_name["full", 1024].kept > by_name["lora", 1024].kept > by_name["lora", 256].kept
    assert by_name["qlora", 256].recomputed < by_name["lora", 256].recomputed
    traced = simulate_deep(job_of("lora", 256, "none")).peak.bytes
    assert by_name["lora", 256].kept == traced + 1000 + SEGMENTS


@pytest.mark.parametrize(
    ("kept", "recomputed", "told"),
    [
        (920, 100, "fits"),
        (921, 920, "fits, computing again"),
        (2000, 921, "tight"),
        (2000, 1000, "tight"),
        (2000, 1001, "no"),
    ],
)
def test_marks_turn_at_the_edges(kept: int, recomputed: int, told: str) -> None:
    assert _fits(Line("lora", 512, kept, recomputed), 1000) == told


def test_it_fits_in_eighty_columns() -> None:
    lines = [Line(m, n, 900 * 10**9, 800 * 10**9) for m in METHODS for n in (512, 2048, 4096)]
    cards = [(f"{n}GB", card(n * 1e9)) for n in (8, 12, 16, 24, 40, 48, 80)]
    terminal = Console(file=io.StringIO(), width=80)
    terminal.print(fits_table(lines, cards, "a model"))
    text = terminal.file.getvalue()  # type: ignore[attr-defined]
    assert "…" not in text and all(name in text for name, _ in cards)
    assert text.count(MARKS["no"][0]) >= len(lines) * len(cards)
