"""Rules about single characters: wrong decoding, control characters, normal forms."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from typing import Literal

from lorafit.data.clean.rows import library

# C0 and C1 without tab, line feed and carriage return; then soft hyphen, zero-width space, word joiner and the
# invisible operators, byte order mark, marks of interlinear notes. The joiners U+200C and U+200D stay (Persian, Indic
# scripts and emoji need them), and so do the marks of direction (Hebrew, Arabic).
_UNSEEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u00ad\u200b\u2060-\u2064\ufeff\ufff9-\ufffb]")
# What UTF-8 writes in three bytes and Chinese text is made of.
_CHINESE = re.compile("[\u2010-\u2026\u3000-\u303f\u3400-\u9fff\uff00-\uffef]+")
_BEYOND_ASCII = re.compile("[^\x00-\x7f]+")


class Mojibake:
    """Text decoded with the wrong encoding.

    ftfy mends UTF-8 that was read as a western code page. UTF-8 that was read as GBK is mended here: the bytes of the
    text in GB18030 must all be UTF-8, and Chinese. Four characters at least, since two real ones can look so by chance.
    """

    name = "mojibake"

    def __init__(self) -> None:
        self.found: Counter[str] = Counter()
        self._ftfy = library("ftfy", "ftfy", self.name)

    def mend(self, text: str) -> str:
        if text.isascii():
            return text
        return _read_as_gbk(text) or str(self._ftfy.fix_encoding(text))


def _read_as_gbk(text: str) -> str | None:
    beyond = "".join(_BEYOND_ASCII.findall(text))
    if len(beyond) < 4:
        return None
    try:
        mended = text.encode("gb18030").decode()
    except UnicodeDecodeError:
        return None
    return mended if all(_CHINESE.fullmatch(run) for run in _BEYOND_ASCII.findall(mended)) else None


class ControlCharacters:
    """Removes control characters and characters without width."""

    name = "control_characters"

    def __init__(self) -> None:
        self.found: Counter[str] = Counter()

    def mend(self, text: str) -> str:
        return _UNSEEN.sub("", text)


class UnicodeForm:
    """Unicode Standard Annex 15: NFC composes what is the same character, NFKC also what is only alike."""

    name = "unicode"

    def __init__(self, form: Literal["NFC", "NFKC"]) -> None:
        self.found: Counter[str] = Counter()
        self.form = form

    def mend(self, text: str) -> str:
        return text if unicodedata.is_normalized(self.form, text) else unicodedata.normalize(self.form, text)
