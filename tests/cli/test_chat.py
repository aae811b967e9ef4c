"""`lorafit chat`: commands, several adapters, two answers at once."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console as Terminal

from lorafit import Recipe, finetune
from lorafit.cli.chat import columns
from lorafit.cli.main import main


@pytest.fixture
def runs(recipe: Callable[..., Recipe]) -> tuple[Path, Path]:
    """Two runs on one base that answer otherwise."""
    made = [
        recipe(name=name, train={"max_updates": 4, "learning_rate": rate}, evaluate={"prompts": 1})
        for name, rate in (("one", 5e-2), ("other", 2e-1))
    ]
    first, second = (Path(finetune(each).folder) for each in made)
    return first, second


def answers(shown: str) -> list[tuple[str, str]]:
    lines = [line.partition(":") for line in shown.splitlines()]
    return [(name, text.strip()) for name, found, text in lines if found and name in ("base", "tuned", "b")]


def test_adapters_are_switched_and_heard_together(
    runs: tuple[Path, Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def talk(*lines: str) -> str:
        monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(lines)))
        assert main(["chat", str(runs[0]), "--adapter", f"b={runs[1]}", "--max-new-tokens", "6"]) == 0
        return capsys.readouterr().out

    question = "Where does 1 live?"
    alone = talk(question, "/new", "/use b", question, "/new", "/base", question, "/new", "/use one", question)
    tuned, other, base, again = answers(alone)
    assert [name for name, _ in (tuned, other, base)] == ["tuned", "b", "base"]
    assert again == tuned and len({tuned[1], other[1], base[1]}) == 3
    assert alone.count("tokens/s") == 4
    assert answers(talk("/both", question)) == [base, tuned]
    assert answers(talk("/use b", "/both", question)) == [base, other]
    assert len(answers(talk("Where does \\", "1 live?"))) == 1, "two lines are one question"
    told = talk("/system Be brief.", question, "/new", "/system", question)
    assert answers(told)[0] != tuned and answers(told)[1] == tuned
    drawn = talk(
        "/set temperature 2", "/set seed 3", question, "/new", question, "/set temperature 0", "/new", question
    )
    first, second, greedy = answers(drawn)
    assert first == second != tuned and greedy == tuned
    shown = talk("/set", "/set top_p 7", "/set colour red", "/use nobody", "/what")
    for text in (
        "temperature 0.0",
        "top_p 7.0",
        "no setting colour",
        "there is no 'nobody'",
        "/both  ",
        "tuned, base, b",
    ):
        assert text in shown, text


def test_adapters_that_do_not_fit(
    runs: tuple[Path, Path],
    recipe: Callable[..., Recipe],
    bases: Callable[[str], Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    wide = finetune(recipe(name="wide", model={"name": str(bases("even-llama"))}, train={"max_updates": 1})).folder
    for adapter, message in ((f"tuned={runs[1]}", "there is a tuned already"), (f"b={wide}", "is of another base")):
        assert main(["chat", str(runs[0]), "--adapter", adapter]) == 2
        assert message in capsys.readouterr().err


def test_columns_know_how_wide_characters_are() -> None:
    file = io.StringIO()
    Terminal(file=file, width=40).print(columns({"base": "小镇的早晨很安静,渔船出海。" * 2, "tuned": "short"}))
    lines = file.getvalue().splitlines()
    assert lines[0].split() == ["base:", "tuned:"] and "short" in lines[1]
    assert len(lines) == 5 and all(len(line.encode("gb18030")) <= 40 for line in lines)
