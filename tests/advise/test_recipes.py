"""The ready recipes: each parses, and the commands in its comments name verbs and flags that exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from lorafit.cli.main import build_parser
from lorafit.recipe import load_recipe

FILES = sorted((Path(__file__).parents[2] / "recipes").glob("*.yaml"))
JOBS = ("assistant", "domain", "code", "style", "json", "classification")
COMMAND = re.compile(r"^#\s+(lorafit .*?)(?:\s{2,}#.*|\s+# .*)?$", re.MULTILINE)


def test_every_job_has_one() -> None:
    assert set(JOBS) <= {file.stem for file in FILES}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_the_commands_in_its_comments_are_understood(file: Path) -> None:
    commands = COMMAND.findall(file.read_text(encoding="utf-8"))
    assert commands
    for command in commands:
        args = build_parser().parse_args(shlex.split(command)[1:])
        # Settings on the line are of the recipe, too.
        if args.verb == "train":
            named = Path(__file__).parents[2] / args.recipe
            load_recipe(named, args.overrides)


@pytest.mark.parametrize("job", JOBS)
def test_it_says_what_to_change_first(job: str) -> None:
    file = next(file for file in FILES if file.stem == job)
    assert "# Change first:" in file.read_text(encoding="utf-8")
