"""Metrics of the user's own."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from lorafit.errors import DataError
from lorafit.evaluate.metrics import Texts, measure, named

FILE = """
import math
import numpy as np

def begins_alike(answer, references):
    return any(answer[:1] == wanted[:1] for wanted in references)

def length(answer, references):
    return np.float32(len(answer))

length.better = "lower"
length.high = 10

def careless(answer, references):
    return len(references[0])

def talkative(answer, references):
    return "very good"

def undecided(answer, references):
    return math.nan

def odd(answer, references):
    return 1

odd.better = "more"
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "mine.py"
    path.write_text(FILE, encoding="utf-8")
    return str(path)


def test_the_score_is_the_mean_over_samples(file: str) -> None:
    names = [f"{file}:begins_alike", f"{file}:length"]
    found = measure(names, Texts(["答案", "b", "cc"], [["答"], ["x", "bb"], ["d"]]))
    assert found[names[0]].score == pytest.approx(2 / 3)
    assert found[names[1]].samples.tolist() == [2, 1, 2]
    assert (named(names[0]).better, named(names[0]).high) == ("higher", math.inf)
    assert (named(names[1]).better, named(names[1]).high) == ("lower", 10)


def test_a_function_of_a_module() -> None:
    assert named("lorafit.evaluate.metrics.overlap:exact_match").name == "lorafit.evaluate.metrics.overlap:exact_match"


def test_a_changed_file_is_read_again(file: str) -> None:
    texts = Texts(["abc"])
    assert measure([f"{file}:length"], texts)[f"{file}:length"].score == 3
    Path(file).write_text("def length(answer, references):\n    return 7\n")
    assert measure([f"{file}:length"], texts)[f"{file}:length"].score == 7


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("careless", r"failed at sample 2: IndexError: list index out of range \(.*mine\.py, line 15\)"),
        ("talkative", "gave 'very good' for sample 1; it should give a number"),
        ("undecided", "gave 'nan' for sample 1"),
        ("begin_alike", "has no function 'begin_alike'; did you mean begins_alike"),
        ("odd", "`better` is"),
    ],
)
def test_what_is_wrong_is_told(file: str, name: str, problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        measure([f"{file}:{name}"], Texts(["a", "b"], [["x"], []]))


def test_files_and_modules_that_are_not_there(tmp_path: Path, file: str) -> None:
    with pytest.raises(DataError, match=r"no file .*mien\.py with a metric: did you mean .*mine\.py"):
        named(f"{tmp_path}/mien.py:length")
    with pytest.raises(DataError, match="module 'no_such_module' with a metric cannot be imported"):
        named("no_such_module:length")
    Path(file).write_text("def length(:")
    with pytest.raises(DataError, match=r"mine\.py with a metric failed: SyntaxError"):
        named(f"{file}:length")
