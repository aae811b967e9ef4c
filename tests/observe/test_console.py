"""What a run shows: plain lines in a pipe, a live line on a terminal."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console as Terminal
from rich.table import Table

from lorafit.observe.console import BLOCKS, Console, sparkline
from lorafit.records import Event, note, warning


def update(number: int, loss: float = 1.25) -> Event:
    values = {"update": number, "loss": loss, "tokens_per_second": 12345.6, "learning_rate": 2e-4}
    return Event("update", values)


def held_out(number: int, loss: float) -> Event:
    return Event("held_out", {"update": number, "held_out_loss": loss})


def console(terminal: bool = False, quiet: bool = False, print_every: int = 10) -> tuple[Console, io.StringIO]:
    stream = io.StringIO()
    colours: Literal["standard", "auto"] = "standard" if terminal else "auto"
    made = Terminal(file=stream, force_terminal=terminal, width=120, highlight=False, color_system=colours)
    return Console(print_every, quiet, made), stream


@pytest.fixture(autouse=True)
def usual_terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    yield


def test_in_a_pipe_there_are_plain_lines_now_and_then() -> None:
    shown, stream = console(print_every=2)
    with shown.training(5):
        shown(held_out(0, 2.5))
        for number in range(1, 6):
            shown(update(number))
        shown(held_out(5, 2.25))
    text = stream.getvalue()
    assert "\x1b" not in text
    assert "\r" not in text
    assert text.splitlines() == [
        "held-out loss after update 0: 2.5000",
        "update 2/5  loss 1.250  12,346 tokens/s  learning rate 2.00e-04",
        "update 4/5  loss 1.250  12,346 tokens/s  learning rate 2.00e-04",
        "update 5/5  loss 1.250  12,346 tokens/s  learning rate 2.00e-04",
        "held-out loss after update 5: 2.2500",
    ]


def test_on_a_terminal_there_is_one_live_line() -> None:
    shown, stream = console(terminal=True)
    with shown.training(3):
        for number in range(1, 4):
            shown(update(number))
        shown(held_out(3, 2.5))
        shown(warning("the disk is nearly full"))
    text = stream.getvalue()
    assert "3/3" in text
    assert "loss 1.250  held-out 2.500  12,346 tokens/s" in text
    assert "update 3/3" not in text  # the plain line
    assert "\x1b[33mwarning: the disk is nearly full" in text
    shown(update(4))
    assert "update 4" not in stream.getvalue()  # the line ended with the loop, and 4 is not among the printed ones


@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.parametrize("total", [None, 4])
def test_long_work_is_shown_and_may_fail(terminal: bool, total: int | None) -> None:
    shown, stream = console(terminal)
    with pytest.raises(ZeroDivisionError), shown.working("reading [/] the data", total) as advance:
        advance(2)
        raise ZeroDivisionError
    assert "reading [/] the data" in stream.getvalue()
    assert ("\x1b" in stream.getvalue()) == terminal


def test_quiet_shows_only_warnings() -> None:
    shown, stream = console(terminal=True, quiet=True)
    with shown.working("reading", 3) as advance, shown.training(1):
        advance(1)
        shown(update(1))
        shown(note("a note"))
        shown.show(Table("a table"))
        shown(warning("too long"))
    assert stream.getvalue() == "\x1b[33mwarning: too long\x1b[0m\n"


@pytest.mark.parametrize("text", ["a [red]word[/red]", "rows:smile:.json", "[/]", "word " * 60])
def test_a_line_stands_as_it_is(text: str) -> None:
    # File names and messages hold brackets and colons, which rich would read as markup and emoji; and a line that is
    # wrapped in a pipe could not be searched.
    shown, stream = console()
    shown.say(text)
    shown.warn(text)
    assert stream.getvalue() == f"{text}\nwarning: {text}\n"


def test_the_curve_shows_first_and_last_loss() -> None:
    shown, _ = console(quiet=True)
    shown(update(1, 3.0))
    assert shown.curve() == ""
    shown(update(2, 1.0))
    assert shown.curve() == "loss 3.000 █▁ 1.000"


def test_a_sparkline_by_hand() -> None:
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7]) == BLOCKS
    assert sparkline([0, 0, 7, 7], width=2) == "▁█"
    assert sparkline([1, float("nan"), 2, float("inf")]) == "▁█"
    assert sparkline([5, 5]) == "▁▁"
    assert sparkline([]) == sparkline([float("nan")]) == ""


@settings(deadline=None)
@given(st.lists(st.floats(-1e300, 1e300), min_size=1), st.integers(1, 50))
def test_a_sparkline_is_never_too_wide(values: list[float], width: int) -> None:
    assert len(sparkline(values, width)) == min(width, len(values))
