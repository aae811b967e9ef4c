"""Figures as a person reads them; what is no figure becomes a dash."""

from __future__ import annotations

import math
import re
from datetime import datetime
from typing import Any, TypeGuard

NONE = "–"
_HAN, _KANA, _HANGUL = re.compile("[\u3400-\u9fff]"), re.compile("[\u3040-\u30ff]"), re.compile("[\uac00-\ud7af]")


def is_number(value: Any) -> TypeGuard[int | float]:
    """JSON holds no NaN that lorafit wrote, but another's file may."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def count(value: Any) -> str:
    return f"{value:,.0f}" if is_number(value) else NONE


def figure(value: Any) -> str:
    """Four significant digits, three of what is very small or large."""
    if not is_number(value):
        return NONE
    if value and not 1e-3 <= abs(value) < 1e9:
        return f"{value:.3g}"
    digits = 3 - math.floor(math.log10(abs(value))) if value else 0
    return f"{value:,.{max(0, digits)}f}"


def ratio(part: Any, whole: Any) -> float | None:
    return part / whole if is_number(part) and is_number(whole) and whole else None


def share(value: Any) -> str:
    return f"{value:.1%}" if is_number(value) else NONE


def size(value: Any) -> str:
    """Bytes in GB (10^9), MB or kB."""
    if not is_number(value):
        return NONE
    for unit, bytes_ in (("GB", 1e9), ("MB", 1e6)):
        if abs(value) >= bytes_:
            scaled = value / bytes_
            return f"{scaled:,.{2 if abs(scaled) < 10 else 1 if abs(scaled) < 100 else 0}f} {unit}"
    return f"{value / 1e3:,.0f} kB"


def duration(seconds: Any) -> str:
    if not is_number(seconds):
        return NONE
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600:,} h {whole % 3600 // 60} min"


def moment(seconds: Any) -> str:
    """A Unix time, in the time zone of the machine that makes the page."""
    if not is_number(seconds):
        return NONE
    try:
        return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M %Z").strip()
    except (OverflowError, OSError, ValueError):  # no time that a calendar has
        return NONE


def clip(text: Any, characters: int = 1200) -> str:
    words = "" if text is None else str(text)
    return words if len(words) <= characters else f"{words[:characters]}… ({len(words) - characters:,} more characters)"


def language(text: Any) -> str:
    """The `lang` of a text by its script, for the right glyphs; empty where the script says nothing."""
    words = str(text)
    for code, script in (("ja", _KANA), ("ko", _HANGUL), ("zh", _HAN)):
        if script.search(words):
            return code
    return ""
