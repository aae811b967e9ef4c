from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console
from tests.study.made import made_entry, made_study

from lorafit.study.folder import Study
from lorafit.study.table import LOSS, best_lines, cell, faults_of, groups_of, measures_of, spread
from lorafit.study.terminal import tables


@pytest.fixture
def ranks(tmp_path: Path) -> Study:
    """Three ranks with three seeds each; the last rank has failed."""
    entries = [made_entry({"adapter.rank": r}, s, 2.0 / r + 0.01 * s) for r in (1, 2) for s in range(3)]
    failed = [made_entry({"adapter.rank": 64}, s, 0, state="failed", message="too wide\nfor it") for s in range(3)]
    return made_study(tmp_path, {"adapter.rank": [1, 2, 64]}, entries + failed, 3)


def printed(study: Study, width: int) -> str:
    terminal = Console(file=io.StringIO(), width=width)
    for table in tables(study, width):
        terminal.print(table)
    assert isinstance(terminal.file, io.StringIO)
    return terminal.file.getvalue()


def test_seeds_become_mean_and_standard_deviation(ranks: Study) -> None:
    one, _, failed = groups_of(ranks)
    found = spread(one, LOSS)
    assert found is not None and found.seeds
    assert found.mean == pytest.approx(2.01) and found.high - found.mean == pytest.approx(0.01)
    assert cell(one, LOSS) == "2.010 ±0.010"
    assert cell(failed, LOSS) == "–"


def test_one_seed_has_the_interval_over_the_prompts(tmp_path: Path) -> None:
    study = made_study(tmp_path, {"method": ["lora"]}, [made_entry({"method": "lora"}, 0, 1.23456)])
    group, f1 = groups_of(study)[0], next(m for m in measures_of(study) if m.title == "token F1")
    assert cell(group, f1) == "0.50 (0.40–0.60)"
    assert cell(group, LOSS) == "1.235"


def test_the_best_is_named_with_what_cannot_be_told_from_it(tmp_path: Path) -> None:
    losses = {4: (1.00, 1.04), 8: (1.01, 1.05), 16: (2.0, 2.1)}
    entries = [made_entry({"adapter.rank": r}, s, v) for r, values in losses.items() for s, v in enumerate(values)]
    lines = list(best_lines(made_study(tmp_path, {"adapter.rank": list(losses)}, entries, 2)))
    assert lines[0].startswith("the base, before training: held-out loss 4.000, token F1 0.1000")
    assert "lowest held-out loss: rank 4, 1.020 ±0.028; not told apart from it: rank 8" in lines
    assert not any("one seed" in line for line in lines)


def test_failures_are_said_those_alike_together(ranks: Study) -> None:
    names = "rank 64, seed 0; rank 64, seed 1; rank 64, seed 2"
    assert faults_of(ranks) == [(names, "failed", "too wide\nfor it")]


def test_equal_scores_have_no_best(ranks: Study) -> None:
    assert "token F1: 0.5000 with all of them" in list(best_lines(ranks))


def test_columns_for_few_rows_for_many(ranks: Study) -> None:
    wide, narrow = printed(ranks, 100), printed(ranks, 60)
    assert "rank 1" in wide.splitlines()[0] and "rank 64 (failed)" in wide.splitlines()[0]
    assert "held-out loss" in wide and "1.15 M" in wide
    for text in (wide, narrow):
        assert "2.010 ±0.010" in text and "5.74 ms" in text and "…" not in text
    assert max(map(cell_len, narrow.splitlines())) <= 60
    assert any(line.startswith("rank 1 ") for line in narrow.splitlines())


def test_chinese_values_stay_in_their_columns(tmp_path: Path) -> None:
    values = [f"模板第{n}号" for n in range(6)]
    study = made_study(tmp_path, {"data.template": values}, [made_entry({"data.template": v}, 0, 1.5) for v in values])
    text = printed(study, 80)
    lines = [line for line in text.splitlines() if line.startswith("template")]
    assert max(map(cell_len, text.splitlines())) <= 80
    assert len(lines) % 6 == 0 and len({cell_len(line.rstrip()) for line in lines[:6]}) == 1
