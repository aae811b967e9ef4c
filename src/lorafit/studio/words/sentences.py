"""Sentences that other rooms of lorafit make, put into Chinese by the patterns of `core.py`.

A text is taken line by line. A line that no pattern matches whole is cut where sentences end, and what is not known
stays English.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# More lines, longer lines and more sentences of a line than a message has stay as they are.
MOST_LINES, LONGEST_LINE, MOST_PIECES = 60, 2000, 20
# Sentences that one pattern may take together, and patterns within patterns.
LONGEST_RUN, DEEPEST = 4, 3

_PLACE = re.compile(r"\{(\w+)\}")
_FIGURE = re.compile(r"[a-z]\d*")
_DIGITS = r"[-+−]?(?:\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?|inf|nan)(?:%| [kMGT]i?B)?"
_TRANSLATED = ("words", "known")
# Messages and other texts that may hold several sentences; a name or a file's place holds no end of one.
_LONG = ("text", *_TRANSLATED)
_WITHIN = r"(?:(?![.;:] ).)+?"
_SENTENCE_END = re.compile(r"(?<=[.;:?!])( +)(?=\S)")
_ENDS = {".": "。", ";": "；", ":": "："}
_CLOSED = tuple("。；：，？！）、")


@dataclass(frozen=True, slots=True)
class Pattern:
    """literal: what a text must hold to match at all, the longest fixed part."""

    english: str
    literal: str
    chinese: str


@functools.cache
def expression(english: str) -> re.Pattern[str]:
    """`{n}`, one letter and perhaps digits, is a figure, which may have a percent sign or a unit of bytes;
    `{words...}` is put into Chinese in its turn, `{known...}` has to be known as a whole; `{text...}` stays, and so
    does any other name, which stands for what is shorter than a sentence.

    A text ends where what follows it first stands (the groups are atomic), so that a match takes linear time. It is
    made when a text first holds the literal: all of them take a sixth of a second.
    """
    first, *rest = _PLACE.split(english)
    names, literals = rest[::2], rest[1::2]
    texts = [name for name in names if not is_figure(name)]
    made, opened = re.escape(first), False
    for name, literal in zip(names, literals, strict=True):
        if is_figure(name):
            made += f"(?P<{name}>{_DIGITS})"
        else:
            held = ".+?" if name.startswith(_LONG) else _WITHIN
            made += (")" if opened else "") + ("(?:" if name == texts[-1] else "(?>") + f"(?P<{name}>{held})"
            opened = True
        made += re.escape(literal)
    return re.compile(made + ")" * opened)


def is_figure(name: str) -> bool:
    """Whether a placeholder of this name stands for a figure."""
    return _FIGURE.fullmatch(name) is not None


def in_chinese(text: str) -> str:
    """The text in Chinese as far as it is known."""
    lines = text.split("\n", MOST_LINES)
    return "\n".join([*map(_bounded, lines[:MOST_LINES]), *lines[MOST_LINES:]])


def _bounded(line: str) -> str:
    return line if len(line) > LONGEST_LINE else _line(line, 0)


@functools.lru_cache(maxsize=1024)
def _line(line: str, depth: int) -> str:
    body = line.strip()
    if not body:
        return line
    patterns = _possible(body)
    said = _known(body, patterns, depth) or _by_sentence(body, patterns, depth)
    begin = len(line) - len(line.lstrip())
    return line[:begin] + said + line[begin + len(body) :]


def _by_sentence(line: str, patterns: Sequence[Pattern], depth: int) -> str:
    """The longest known runs of sentences from the left; the line itself where none is known."""
    parts = _SENTENCE_END.split(line, MOST_PIECES)
    said, place = "", 0
    while place < len(parts):
        for end in range(min(len(parts), place + 2 * LONGEST_RUN - 1), place, -2):
            if found := _known("".join(parts[place:end]), patterns, depth):
                break
        else:
            end, found = place + 1, parts[place]
        gap = parts[place - 1] if place else ""
        said += found if said.endswith(_CLOSED) else gap + found
        place = end + 1
    return said


def _known(text: str, patterns: Sequence[Pattern], depth: int) -> str | None:
    """The Chinese of one or more whole sentences, their last mark included or not."""
    last = text[-1:]
    # A full stop is part of a sentence of the table; what else follows one would be taken for the end of a name.
    tried = {".": (text, text[:-1]), ";": (text[:-1], text), ":": (text[:-1], text)}.get(last, (text,))
    for one in tried:
        if found := _matched(one, patterns, depth):
            return found if one is text else found.removesuffix("。") + _ENDS[last]
    return None


def _matched(text: str, patterns: Sequence[Pattern], depth: int) -> str | None:
    exact, _ = _tables()
    if text in exact:
        return exact[text]
    for pattern in patterns:
        if pattern.literal in text and (found := expression(pattern.english).fullmatch(text)):
            values = {name: _within(name, value, depth) for name, value in found.groupdict().items()}
            if None not in values.values():
                return _filled(pattern.chinese, values)
    return None


def _within(name: str, value: str, depth: int) -> str | None:
    if depth == DEEPEST or not name.startswith(_TRANSLATED):
        return value
    return _known(value, _possible(value), depth + 1) if name.startswith("known") else _line(value, depth + 1)


def _possible(line: str) -> tuple[Pattern, ...]:
    """The patterns that may match a part of the line."""
    return tuple(pattern for pattern in _tables()[1] if pattern.literal in line)


def _filled(chinese: str, values: Mapping[str, str | None]) -> str:
    def shown(place: re.Match[str]) -> str:
        value = str(values[place[1]])
        if not place[1].startswith(_TRANSLATED):
            return value
        before, after = chinese[: place.start()][-1:], chinese[place.end() :][:1]
        return _gap(before, value[:1]) + value + _gap(value[-1:], after)

    return _PLACE.sub(shown, chinese).replace("。。", "。").replace("。；", "；")


def _gap(left: str, right: str) -> str:
    """The space that is usual between a Chinese character and a Latin letter or digit."""
    scripts = {unicodedata.east_asian_width(one) for one in (left, right) if one.isalnum()}
    return " " if scripts == {"W", "Na"} else ""


@functools.cache
def _tables() -> tuple[dict[str, str], tuple[Pattern, ...]]:
    """(what is the same each time, the patterns: the longest, which say most, first)."""
    from lorafit.studio.words import CHINESE
    from lorafit.studio.words.core import SENTENCES

    exact = {english: chinese for english, chinese in {**SENTENCES, **CHINESE}.items() if not _PLACE.search(english)}
    ordered = sorted((english for english in SENTENCES if _PLACE.search(english)), key=_fixed, reverse=True)
    return exact, tuple(
        Pattern(english, max(_PLACE.split(english)[::2], key=len), SENTENCES[english]) for english in ordered
    )


def _fixed(english: str) -> int:
    """The characters that are always there."""
    return len(_PLACE.sub("", english))
