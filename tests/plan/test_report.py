"""The plan as it is read: bar, sizes, times, lines; every constant is told with --explain."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from lorafit.plan.answer import CONTEXT, Plan
from lorafit.plan.clock import Band
from lorafit.plan.fit import Candidate, Change, Choice
from lorafit.plan.report import (
    PARTS,
    WIDTH,
    bar,
    candidates_table,
    changes_table,
    duration,
    explanation,
    figure,
    headline,
    lines,
    operation_name,
    size,
)
from lorafit.plan.semantics import NOTES
from lorafit.plan.simulate import ACTIVATIONS, WEIGHTS


def plan(budget: int = 1000, parts: dict[str, int] | None = None, **given: Any) -> Plan:
    parts = parts or {WEIGHTS: 400, ACTIVATIONS: 200}
    settings = {"dtype": "bfloat16", "tokens_per_pass": 2048, "recompute": "none", "optimizer": "adamw"}
    content: dict[str, Any] = {
        "model": "tiny",
        "device": "a card",
        "method": "LoRA",
        "settings": settings,
        "verdict": "yes",
        "needed": sum(parts.values()),
        "budget": budget,
        "peak": 600,
        "phase": "backward",
        "operation": "_log_softmax",
        "parts": parts,
        "reserved": None,
        "retries": 0,
        "trained": 10,
        "parameters": 1000,
        "tokens": 32768,
        "updates": None,
        "update_seconds": None,
        "paged": 0,
        "host": 0,
        "assumptions": (),
        "versions": {"torch": "2.0"},
    }
    return Plan(**{**content, **given})


def shown(what: Any) -> str:
    terminal = Console(file=io.StringIO(), width=160)
    terminal.print(what)
    return str(terminal.file.getvalue())  # type: ignore[attr-defined]


def test_a_bar_is_to_scale_and_ends_at_the_budget() -> None:
    assert bar(plan()).plain == "[" + "W" * 24 + "a" * 12 + "·" * 24 + "]"
    assert bar(plan(600)).plain == "[" + "W" * 40 + "a" * 20 + "]", "exactly full"
    over = bar(plan(300)).plain
    assert over == "[" + "W" * 30 + "]" + "W" * 10 + "a" * 20, "the bracket stands where the memory ends"
    assert len(bar(plan(599)).plain) == WIDTH + 2


def test_parts_stand_in_the_order_of_their_letters() -> None:
    letters = [letter for letter, _ in PARTS.values()]
    assert len(set(letters)) == len(letters)
    every = plan(10_000, dict.fromkeys(reversed(PARTS), 800))
    drawn = bar(every).plain.strip("[]·")
    assert list(dict.fromkeys(drawn)) == letters


@pytest.mark.parametrize(
    ("low", "high", "told"),
    [
        (0.123, 0.5678, "0.123 to 0.568 s"),
        (1, 119, "1 to 119 s"),
        (60, 120, "1 to 2 min"),
        (3600, 7199, "60 to 120 min"),
        (3600, 7200, "1 to 2 h"),
        (86400, 172800, "1 to 2 days"),
        (86400 * 1000, 86400 * 2500, "1,000 to 2,500 days"),
    ],
)
def test_a_duration_is_in_the_unit_that_reads_best(low: float, high: float, told: str) -> None:
    assert duration(Band(low, high)) == told


@pytest.mark.parametrize(
    ("count", "told"),
    [
        (1_234_000_000, "1.23 GB"),
        (999_000_000, "999 MB"),
        (1_260_000, "1.3 MB"),
        (12_600_000, "13 MB"),
        (4_000, "4 kB"),
        (-2_000_000_000, "-2.00 GB"),
    ],
)
def test_sizes(count: int, told: str) -> None:
    assert size(count) == told


def test_operations_have_plain_names() -> None:
    assert operation_name("mm") == "a matrix product (mm)"
    assert operation_name("mul_") == "an elementwise product (mul_)"
    assert operation_name("_scaled_dot_product_flash_attention_backward").startswith("the gradient of attention (")
    assert operation_name("unheard_of") == "unheard_of"


def test_the_headline_says_what_is_left_or_missing() -> None:
    assert headline(plan()).plain == "LoRA of tiny fits on a card: 1 kB of 1 kB, 0 kB to spare"
    wide = plan(10**9, {WEIGHTS: 3 * 10**9}, verdict="no")
    assert headline(wide).plain == "LoRA of tiny does not fit on a card: 3.00 GB of 1.00 GB, 2.00 GB too much"


def test_lines_say_settings_peak_and_time() -> None:
    told = list(lines(plan()))
    assert told[0] == "planned in bfloat16 with 2,048 tokens a pass, recompute none, optimizer adamw"
    assert told[1].startswith("the peak is in the backward, at the softmax of the loss (_log_softmax)")
    assert any("no time is predicted" in line for line in told)
    timed = "\n".join(lines(plan(update_seconds=Band(2.0, 4.0), updates=100, retries=1, reserved=5, paged=10**9)))
    assert "an update of 32,768 tokens: 2 to 4 s (8,192 to 16,384 tokens/s); all 100 updates 3.33 to 6.67 min" in timed
    assert "ask again once" in timed and "1.00 GB of optimizer state is paged" in timed


def test_every_constant_is_told_with_its_source() -> None:
    told = "\n".join(explanation(plan(parts={WEIGHTS: 10, CONTEXT: 600_000_000}), "the datasheet"))
    for name, text in NOTES.items():
        assert f"{name}: {text}" in told
    assert "device: the datasheet" in told and "torch 2.0" in told and f"{CONTEXT}: 600 MB" in told


def test_changes_and_candidates_are_rows() -> None:
    changes = [
        Change("every layer again", ("train.recompute=layers",), 9_100_000_000, 1.28, True),
        Change("twice", ("train.tokens_per_pass=8",), -1_000_000_000, None, True),
    ]
    first, second = shown(changes_table(changes)).splitlines()
    assert "-9.10 GB" in first and "+28% time" in first and "train.recompute=layers" in first
    assert "+1.00 GB" in second and "time" not in second
    assert "what would change it" in shown(figure(plan(), changes))
    assert "assumed: so much" in shown(figure(plan(assumptions=("so much",))))
    choice = Choice("nf4", tokens_per_pass=4096)
    fits = Candidate(choice, 5 * 10**9, 10**10, 4 * 10**9, 0, Band(1.0, 2.0), 1.0, "yes", "")
    table = shown(candidates_table([fits], lambda _: 1000))
    assert "4 bits" in table and "500–1,000" in table and "the fastest that fit" in table
    no = Candidate(choice, 2 * 10**10, 10**10, 4 * 10**9, 0, None, 1.0, "no", "")
    table = shown(candidates_table([no], lambda _: 1000))
    assert "none fits" in table and "unknown" in table and "does not fit" in table
