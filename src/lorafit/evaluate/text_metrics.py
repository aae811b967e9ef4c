"""Scores of a generated text against a reference, for languages with and without spaces between words."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

import numpy as np

# Han, kana and Hangul are compared by character: there are no spaces to cut words at.
_CJK = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff]")


def normalise(text: str) -> str:
    """Width, case and spaces evened out; punctuation stays."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def words(text: str) -> list[str]:
    """Words in order, each Chinese, Japanese or Korean character one word; punctuation dropped."""
    return "".join(map(_spaced, normalise(text))).split()


def _spaced(character: str) -> str:
    # Letters, marks and numbers make words. The marks are the vowels of Hindi or Thai, which `\w` would cut at.
    if unicodedata.category(character)[0] not in "LMN":
        return " "
    return f" {character} " if _CJK.match(character) else character


def exact_match(answer: str, reference: str) -> float:
    """1 when the texts are equal after `normalise`, else 0."""
    return float(normalise(answer) == normalise(reference))


def token_f1(answer: str, reference: str) -> float:
    """Harmonic mean of precision and recall over the words that both share (SQuAD, arXiv 1606.05250)."""
    one, other = Counter(words(answer)), Counter(words(reference))
    if not one or not other:
        return float(one == other)
    shared = (one & other).total()
    return 2 * shared / (one.total() + other.total())


def interval(scores: Sequence[float], seed: int = 0, draws: int = 2000) -> tuple[float, float]:
    """The 95 % interval of the mean by bootstrap (percentile method): what the score would be on other prompts."""
    values = np.asarray(scores, dtype=np.float64)
    chosen = np.random.default_rng(seed).integers(0, len(values), size=(draws, len(values)))
    low, high = np.percentile(values[chosen].mean(axis=1), [2.5, 97.5])
    return float(low), float(high)
