"""What a check of the machine says: one line, with its remedy; never a secret, never the path of a home folder."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

# From good to bad; a note is neither: something that is absent and may be missed, or not.
Level = Literal["ok", "note", "warning", "fault"]

_USER_OF_URL = re.compile(r"(?<=://)[^/@\s]+@")
_TOKEN = re.compile(r"\bhf_[A-Za-z0-9]{8,}\b")


@dataclass(frozen=True, slots=True)
class Line:
    """subject: what was looked at; found: what was found, in plain words; remedy: what to do, where something is."""

    level: Level
    subject: str
    found: str
    remedy: str = ""


def cleaned(line: Line) -> Line:
    """The line without passwords and tokens, and with `~` for the home folder."""
    return replace(line, found=_clean(line.found), remedy=_clean(line.remedy))


def _clean(text: str) -> str:
    text = _TOKEN.sub("hf_***", _USER_OF_URL.sub("***@", text))
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        if token := os.environ.get(name):
            text = text.replace(token, "***")
    home = str(Path.home())
    return text if home == Path.home().anchor else re.sub(re.escape(home) + r"(?![\w.-])", "~", text)


def first_line(error: BaseException) -> str:
    """Type and first line of an exception."""
    said = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def gib(count: float) -> str:
    """Bytes in GiB, as the tools of the operating system count."""
    return f"{count / 2**30:.1f} GiB" if count < 100 * 2**30 else f"{count / 2**30:,.0f} GiB"
