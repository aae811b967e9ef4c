"""Answers and documents that repeat themselves, by the limits of Gopher.

Rae et al. 2021, "Scaling Language Models: Methods, Analysis & Insights from Training Gopher" (arXiv 2112.11446),
table A1. Their words are split at spaces. Here a Han character or kana is a word, and a Chinese or Japanese word has
about two of them, so that runs are twice as long where most words are such characters. Texts below fifty words are not
looked at, as there: a list of three short lines repeats itself easily.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterable

from lorafit.data.clean.rows import UNSPACED, EachRow, answered, words
from lorafit.records import Conversation

FEWEST_WORDS = 50
LINES, LINE_CHARACTERS = 0.30, 0.20
TOP_RUNS = {2: 0.20, 3: 0.18, 4: 0.16}
REPEATED_RUNS = {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10}
_PARAGRAPHS = re.compile(r"\n\s*\n")
_UNSPACED = re.compile(f"[{UNSPACED}]")


class Repeats(EachRow):
    """Names the first limit that a row's answers exceed."""

    name = "repeats"

    def __init__(self) -> None:
        self.found: Counter[str] = Counter()

    def _fault(self, row: Conversation) -> str | None:
        for what, share, limit in measures(answered(row)):
            if share > limit:
                self.found[what] += 1
                return f"{what} make up {share:.0%} of the text, more than {limit:.0%}"
        return None


def measures(text: str) -> Iterable[tuple[str, float, float]]:
    """(what is repeated, its share of the text, the limit), measured as far as it is asked for."""
    said = words(text)
    if len(said) < FEWEST_WORDS:
        return
    for what, pieces in (("repeated lines", text.split("\n")), ("repeated paragraphs", _PARAGRAPHS.split(text))):
        count, characters = _repeated([piece.strip() for piece in pieces if piece.strip()])
        yield what, count, LINES
        yield f"characters in {what}", characters, LINE_CHARACTERS
    lengths = list(itertools.accumulate(map(len, said), initial=0))
    stretch = 2 if len(_UNSPACED.findall(text)) > len(said) / 2 else 1
    for length, limit in TOP_RUNS.items():
        yield f"the commonest run of {length} words", _top_run(said, length * stretch, lengths[-1]), limit
    for length, limit in REPEATED_RUNS.items():
        yield f"repeated runs of {length} words", _repeated_runs(said, length * stretch, lengths), limit


def _repeated(pieces: list[str]) -> tuple[float, float]:
    """The share of pieces that stood before, in number and in characters."""
    seen: set[str] = set()
    count = characters = 0
    for piece in pieces:
        if piece in seen:
            count += 1
            characters += len(piece)
        seen.add(piece)
    return count / len(pieces), characters / sum(map(len, pieces))


def _runs(said: list[str], length: int) -> Iterable[tuple[str, ...]]:
    return zip(*(said[place:] for place in range(length)), strict=False)


def _top_run(said: list[str], length: int, characters: int) -> float:
    counted = Counter(_runs(said, length)).most_common(1)
    if not counted or counted[0][1] == 1:
        return 0.0
    run, count = counted[0]
    return sum(map(len, run)) * count / characters


def _repeated_runs(said: list[str], length: int, lengths: list[int]) -> float:
    """The share of characters in runs that stood before; no character counts twice."""
    seen: set[tuple[str, ...]] = set()
    repeated = free = 0
    for place, run in enumerate(_runs(said, length)):
        if run in seen and place >= free:
            repeated += lengths[place + length] - lengths[place]
            free = place + length
        seen.add(run)
    return repeated / lengths[-1]
