"""An advice as a recipe: YAML with a comment above each value that says why."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from lorafit.advise.advice import Advice
from lorafit.advise.sources import Source
from lorafit.errors import RecipeError
from lorafit.run import write_text

WIDTH = 110


def check_output(path: Path, force: bool, flag: str = "--output") -> None:
    """Raises RecipeError when the file is there already or has no folder."""
    if not path.parent.is_dir():
        raise RecipeError(f"{flag} {path}: there is no folder {path.parent}.")
    if path.exists() and not force:
        raise RecipeError(f"{flag} {path} is there already: name another file, or add --force to overwrite it.")


def write_recipe(advice: Advice, path: Path) -> None:
    write_text(path, "\n".join(recipe_lines(advice, path)) + "\n")


def cited_sources(advice: Advice) -> list[Source]:
    """Every source of the advice once, in the order of its settings."""
    return list(dict.fromkeys(setting.source for setting in advice.settings))


def recipe_lines(advice: Advice, path: Path) -> Iterator[str]:
    """The file, line by line."""
    yield from _comment(f"Advice of lorafit {version('lorafit')}, {time.strftime('%d %B %Y')}, for {advice.device}.")
    yield from _comment(f"Task: {advice.task.name} ({advice.why_task}).")
    yield from _comment(f"{advice.choice}")
    yield from _comment(f"The run: {advice.run}.")
    yield "#"
    yield f"#   lorafit train {path}"
    for warning in advice.warnings:
        yield "#"
        yield from _comment(f"Warning: {warning}")
    last = ""
    for setting in advice.settings:
        part, _, name = setting.key.partition(".")
        if part != last:
            yield ""
            yield f"{part}:"
            last = part
        reason = f"{setting.reason} ({setting.source.cited})" if setting.reason else f"({setting.source.cited})"
        yield from (f"  {line}" for line in _comment(reason))
        yield f"  {name}: {_scalar(setting.value)}"
    yield ""
    yield "# The sources, and what they say:"
    for source in cited_sources(advice):
        yield from _comment(f"{source.cited}: {source.says}.", hanging=True)


def _comment(text: str, hanging: bool = False) -> Iterator[str]:
    # A name of a file may hold what ends a line.
    clean = " ".join(text.split())
    for number, line in enumerate(textwrap.wrap(clean, WIDTH, break_long_words=False, break_on_hyphens=False)):
        yield f"#   {line}" if hanging and number else f"# {line}"


def _scalar(value: Any) -> str:
    """A value of one line, as YAML reads it back."""
    if isinstance(value, float) and 0 < value < 0.01:
        mantissa, power = f"{value:.1e}".split("e")
        return f"{mantissa}e{int(power)}"
    escaped = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10**6)
    return escaped.removesuffix("\n").removesuffix("\n...")
