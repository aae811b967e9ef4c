"""The Jinja environment of the pages: everything escaped, filters for figures, nothing missing is an error."""

from __future__ import annotations

from pathlib import Path

from jinja2 import ChainableUndefined, Environment, FileSystemLoader

from lorafit.report import words

HERE = Path(__file__).parent


def environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=ChainableUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for name in ("count", "figure", "share", "size", "duration", "moment", "clip", "language", "ratio"):
        made.filters[name] = getattr(words, name)
    made.filters["listed"] = lambda value: value if isinstance(value, list) else []
    made.filters["pairs"] = lambda value: list(value.items()) if isinstance(value, dict) else []
    return made


def style() -> str:
    return (HERE / "page.css").read_text(encoding="utf-8")
