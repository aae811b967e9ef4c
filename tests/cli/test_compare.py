from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import pytest

from lorafit import Recipe
from lorafit.cli import compare, sweep
from lorafit.errors import RecipeError, RunError


def run(*words: str) -> int:
    parser = argparse.ArgumentParser()
    verbs = parser.add_subparsers(dest="verb")
    compare.add_parser(verbs)
    sweep.add_parser(verbs)
    args = parser.parse_args(words)
    code: int = args.run(args)
    return code


@pytest.fixture
def file(recipe: Callable[..., Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(recipe().to_yaml(), encoding="utf-8")
    return "mine.yaml"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["compare", "--methods", "lora,qlroa"], "Did you mean qlora"),
        (["compare", "--seeds", "0"], "at least one"),
        (["compare", "train.epochs=0"], "train.epochs: found 0"),
        (["compare", "--set", "adapter.rnak=1"], "Did you mean adapter.rank"),
        (["sweep"], "Nothing to vary"),
        (["sweep", "--set", "adapter.rank=0,1"], "adapter.rank: found 0"),
        (["sweep", "--set", "adapter.method=none", "--set", "model.quantization=nf4"], "cannot train a base in nf4"),
    ],
)
def test_bad_input_is_told_before_anything_is_made(file: str, words: list[str], said: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=said):
        run(words[0], file, *words[1:])
    assert not list((tmp_path / "studies").glob("*"))


def test_a_folder_of_something_else_is_left_alone(file: str, tmp_path: Path) -> None:
    (tmp_path / "studies" / "mine-compare").mkdir(parents=True)
    with pytest.raises(RunError, match="no study"):
        run("compare", file)
    assert not list((tmp_path / "studies" / "mine-compare").iterdir())
