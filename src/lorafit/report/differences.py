"""Where an answer differs from a reference, word by word, for a page to mark."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import Literal, NamedTuple

COMPARED = 1000  # tokens of a text; the matcher takes the product of two lengths in the worst case
ALIKE = 0.4  # share of tokens in common, below which it is another text
_CJK = (
    "\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff"
)
_POINTS = (
    r"!-/:-@\[-`{-~\u00a1-\u00bf\u2010-\u205e\u3000-\u3004\u3008-\u303f"
    r"\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65"
)
# A number is one token, and so is a CJK character with the selector of its variant. Whatever else is neither CJK nor
# punctuation is part of a word: vowel signs and joined emoji must not be torn apart.
_TOKEN = re.compile(
    rf"\s*(?:\d+(?:[.,:/]\d+)+|[{_CJK}][\ufe00-\ufe0f\U000e0100-\U000e01ef]*|[{_POINTS}]|[^\s{_CJK}{_POINTS}]+)\s*|\s+",
    re.DOTALL,
)


class Segment(NamedTuple):
    """A stretch of text. same: in both; extra: in the answer only; missing: in the reference only."""

    text: str
    kind: Literal["same", "extra", "missing"]


def tokens(text: str) -> list[str]:
    """Words, CJK characters and punctuation marks, with the spaces beside them; joined, they are `text`."""
    return _TOKEN.findall(text)


def differences(answer: str, references: Sequence[str]) -> list[Segment]:
    """The answer in segments against the reference that is nearest to it. Spaces make no difference.

    The segments without the missing ones are the answer. Beyond COMPARED tokens it is given as the same; without
    references all of it is. Of a reference that is another text nothing is given as missing.
    """
    words = tokens(answer)
    # The rest of a longer answer is not looked at, and so not marked.
    compared, rest = words[:COMPARED], "".join(words[COMPARED:])
    matchers = [_matcher(compared, tokens(reference)[:COMPARED]) for reference in references]
    if not matchers or not compared:
        return [Segment(answer, "same")] if answer else []
    nearest = max(range(len(matchers)), key=lambda number: matchers[number].quick_ratio())
    other, matcher = tokens(references[nearest])[:COMPARED], matchers[nearest]
    alike = matcher.ratio() >= ALIKE
    segments: list[Segment] = []
    for kind, start, end, other_start, other_end in matcher.get_opcodes():
        # In another text a word here and there is the same by chance.
        same = kind == "equal" and (alike or end - start > 1)
        _append(segments, Segment("".join(compared[start:end]), "same" if same else "extra"))
        if kind != "equal" and alike and not rest:
            _append(segments, Segment("".join(other[other_start:other_end]), "missing"))
    _append(segments, Segment(rest, "same"))
    return segments


def _append(segments: list[Segment], segment: Segment) -> None:
    """As a segment of its own, or as more of the last one where it is of the same kind."""
    if segments and segments[-1].kind == segment.kind:
        segments[-1] = Segment(segments[-1].text + segment.text, segment.kind)
    elif segment.text:
        segments.append(segment)


def _matcher(words: Sequence[str], other: Sequence[str]) -> SequenceMatcher[str]:
    return SequenceMatcher(None, [word.strip() for word in words], [word.strip() for word in other], autojunk=False)


def cut(segments: Sequence[Segment], characters: int) -> tuple[list[Segment], list[Segment]]:
    """The first segments up to `characters` of text in all, and the rest; a segment is cut in two where need be."""
    shown: list[Segment] = []
    for number, segment in enumerate(segments):
        if len(segment.text) > characters:
            text, kind = segment
            head = [Segment(text[:characters], kind)] if characters else []
            return [*shown, *head], [Segment(text[characters:], kind), *segments[number + 1 :]]
        shown.append(segment)
        characters -= len(segment.text)
    return shown, []
