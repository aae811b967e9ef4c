"""The README's commands, recipe and script are real, and the Chinese README shows the same ones."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml

from lorafit.cli.main import build_parser
from lorafit.recipe import load_recipe, parse_recipe

ROOT = Path(__file__).parents[1]


def blocks(language: str, file: str = "README.md") -> list[str]:
    text = (ROOT / file).read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def commands(file: str) -> list[str]:
    lines = "".join(blocks("bash", file)).splitlines()
    return [line.split("#")[0].strip() for line in lines if line.strip()]


def test_the_commands_are_understood() -> None:
    found = [line for line in commands("README.md") if line.startswith("lorafit ")]
    assert len(found) >= 4
    for line in found:
        build_parser().parse_args(shlex.split(line)[1:])
    targets = (ROOT / "Makefile").read_text()
    for line in commands("README.md"):
        if line.startswith("make "):
            assert f"\n{line.removeprefix('make ')}:" in targets


def test_the_recipe_parses() -> None:
    (text,) = blocks("yaml")
    parse_recipe(yaml.safe_load(text))


def test_both_languages_show_the_same_commands_and_code() -> None:
    assert commands("README.md") == commands("README.zh.md")
    assert blocks("python") == blocks("python", "README.zh.md")
    for ours, theirs in zip(blocks("yaml"), blocks("yaml", "README.zh.md"), strict=True):
        assert yaml.safe_load(ours) == yaml.safe_load(theirs)


def test_the_script_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    (script,) = blocks("python")
    exec(compile(script, "README.md", "exec"), {})
    assert "runs/builtin-builtin-qlora-" in capsys.readouterr().out


@pytest.mark.parametrize("file", sorted((ROOT / "recipes").glob("*.yaml")), ids=lambda f: f.name)
def test_every_recipe_parses(file: Path) -> None:
    load_recipe(file)
