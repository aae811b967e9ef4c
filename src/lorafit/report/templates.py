"""The Jinja environment of the pages: everything escaped, filters for figures, nothing missing is an error."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

from jinja2 import ChainableUndefined, Environment, FileSystemLoader, Undefined

from lorafit.report import words

HERE = Path(__file__).parent


def environment(*folders: Path, undefined: type[Undefined] = ChainableUndefined) -> Environment:
    """folders: those of templates besides this one's."""
    made = Environment(
        loader=FileSystemLoader((*folders, HERE)),
        autoescape=True,
        undefined=undefined,
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


def script() -> tuple[str, str]:
    """What shows the figures of a plot under the pointer, and its SHA-256 for the page's Content-Security-Policy."""
    text = (HERE / "hover.js").read_text(encoding="utf-8")
    return text, base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
