"""The studio's sentences in the reader's language: English is the key, the tables beside this file have the others.

A sentence without an entry is shown in English; a test reads the source and names every one that has none.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from nicegui import context

from lorafit.report.words import NONE, is_number

LANGUAGES = {"en": "English", "zh": "中文"}
COOKIE = "lorafit-language"
_TABLES = ("frame", "home", "run", "new", "settings", "result", "chat", "export")


def _chinese() -> dict[str, str]:
    merged: dict[str, str] = {}
    for name in _TABLES:
        merged |= import_module(f"lorafit.studio.words.{name}").CHINESE
    return merged


CHINESE = _chinese()


def language() -> str:
    """Of the page that is being built or spoken to: `en` or `zh`."""
    found: str = context.client.storage.get("language", "en")
    return found


def t(english: str, **values: Any) -> str:
    """The sentence in the reader's language, with `{name}` filled from `values`."""
    return said_in(language(), english, **values)


def said_in(chosen: str, english: str, **values: Any) -> str:
    """The sentence in a language: where no page is at hand."""
    text = CHINESE.get(english, english) if chosen == "zh" else english
    return text.format(**values) if values else text


def t_core(sentence: str) -> str:
    """A sentence that another room of lorafit made, its figures and names within it, in the reader's language."""
    return core_in(language(), sentence)


def core_in(chosen: str, sentence: str) -> str:
    """The same in a language: where no page is at hand."""
    from lorafit.studio.words.sentences import in_chinese  # its tables are only read where they are needed

    return in_chinese(sentence) if chosen == "zh" else sentence


def t_duration(seconds: Any) -> str:
    """`report.words.duration` in the reader's language."""
    if not is_number(seconds):
        return NONE
    whole = round(seconds)
    if whole < 60:
        return t("{seconds} s", seconds=whole)
    if whole < 3600:
        return t("{minutes} min {seconds} s", minutes=whole // 60, seconds=whole % 60)
    return t("{hours} h {minutes} min", hours=f"{whole // 3600:,}", minutes=whole % 3600 // 60)


def preferred(cookie: str | None, accepted: str) -> str:
    """The language of a request: what was chosen, else the first known one that the browser asks for.

    accepted: the header Accept-Language, whose order is taken as the order of preference.
    """
    if cookie in LANGUAGES:
        return str(cookie)
    for part in accepted.split(","):
        code = part.partition(";")[0].strip().lower().partition("-")[0]
        if code in LANGUAGES:
            return code
    return "en"
