"""METEOR without its downloads: exact and stemmed matches, no synonyms and no paraphrases.

Weights and parameters are those of METEOR 1.5 for English (Denkowski and Lavie 2014). Its synonyms (WordNet) and its
paraphrase table are left out, so this is lower than the official score: `docs/metrics.md` says by how much.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from lorafit.evaluate.metrics.measured import Array, Measured, divided
from lorafit.evaluate.metrics.packages import needed
from lorafit.evaluate.metrics.texts import Texts

ALPHA, BETA, GAMMA, DELTA = 0.85, 0.2, 0.6, 0.75
EXACT, STEM = 1.0, 0.6
BEAM = 40
# Common English words, which say little, weigh 1 - DELTA against DELTA. METEOR has a list of its own for this.
_COMMON = """
    the of and to a in that is was for on it with as be by at from he his are this which or had not but an have they
    you were their one all we can has there been if more when will would who so no she her him its than them then into
    about out up some what only over such other new these could my me your our do did any may after two also like now
    how first where those most between through before against because said us very i 's n't 'll -
"""
FUNCTION_WORDS = frozenset(_COMMON.split())

Match = tuple[int, int, float]  # place in the answer, place in the reference, weight
# (-matches, chunks, distance), the reference words taken (bits), where the last word matched, the matches so far
State = tuple[tuple[int, int, int], int, int, Any]


def measure_meteor(texts: Texts) -> Measured:
    answers, references = texts.caption
    rows = []
    for answer, wanted in zip(answers, references, strict=True):
        said = _apart(answer)
        each = np.asarray([counts(said, _apart(reference)) for reference in wanted])
        rows.append(each[int(np.argmax(meteor_of(each)))])
    sums = np.stack(rows)
    return Measured(sums, meteor_of, meteor_of(sums))


def _apart(tokens: Sequence[str]) -> list[str]:
    # Cut at hyphens, which stay: of the ways to cut this comes nearest to the official scores.
    return [part for token in tokens for part in (re.split("(-)", token) if token[0] != "-" else [token]) if part]


def counts(answer: Sequence[str], reference: Sequence[str]) -> list[float]:
    """Content and function words of both, [said, wanted, matched in said, matched in wanted] of each, then matches,
    chunks."""
    pairs, chunks = align(answer, reference)
    row = [0.0] * 8
    for start, tokens in ((0, answer), (1, reference)):
        for token in tokens:
            row[start + 4 * (token in FUNCTION_WORDS)] += 1
    for place, other, weight in pairs:
        row[2 + 4 * (answer[place] in FUNCTION_WORDS)] += weight
        row[3 + 4 * (reference[other] in FUNCTION_WORDS)] += weight
    return [*row, len(pairs), chunks]


def meteor_of(sums: Array) -> Array:
    """METEOR of sums [..., 10] as `counts` gives them."""
    weights = np.repeat([DELTA, 1 - DELTA], 4)
    said, wanted, said_matched, wanted_matched = (
        (sums[..., :8] * weights)[..., start::4].sum(-1) for start in range(4)
    )
    precision, recall = divided(said_matched, said), divided(wanted_matched, wanted)
    mean = divided(precision * recall, ALPHA * precision + (1 - ALPHA) * recall)
    matches, chunks = sums[..., 8], sums[..., 9]
    whole = (chunks == 1) & (matches == sums[..., 0] + sums[..., 4]) & (matches == sums[..., 1] + sums[..., 5])
    scattered = np.where(whole, 0.0, divided(chunks, matches))
    return mean * (1 - GAMMA * scattered**BETA)


def align(answer: Sequence[str], reference: Sequence[str]) -> tuple[list[Match], int]:
    """The matches, each word in one at most, and their chunks: runs that stand together in both texts.

    As many matches as there can be, then the fewest chunks, then the smallest distance; by a beam search over the
    answer, as METEOR 1.5 does it.
    """
    exact, stems = _places(reference), _places([stem(token) for token in reference])
    states: list[State] = [((0, 0, 0), 0, -2, None)]
    for place, token in enumerate(answer):
        weights = dict.fromkeys(stems.get(stem(token), ()), STEM) | dict.fromkeys(exact.get(token, ()), EXACT)
        best: dict[tuple[int, int], State] = {}
        for state in states:
            for reached in _next(state, place, weights):
                key = reached[1], reached[2]
                if key not in best or reached[0] < best[key][0]:
                    best[key] = reached
        states = sorted(best.values(), key=_cost)[:BEAM]
    cost, _, _, chain = states[0]
    matches = []
    while chain:
        match, chain = chain
        matches.append(match)
    return matches[::-1], cost[1]


def _next(state: State, place: int, weights: dict[int, float]) -> Iterator[State]:
    """The word at `place` left out, or matched with each reference word that is free."""
    (missed, chunks, distance), taken, last, chain = state
    yield state[0], taken, -2, chain
    for other, weight in weights.items():
        if not taken >> other & 1:
            cost = missed - 1, chunks + (other != last + 1), distance + abs(place - other)
            yield cost, taken | 1 << other, other, ((place, other, weight), chain)


def _cost(state: State) -> tuple[int, int, int]:
    return state[0]


def _places(tokens: Sequence[str]) -> dict[str, list[int]]:
    places: dict[str, list[int]] = {}
    for place, token in enumerate(tokens):
        places.setdefault(token, []).append(place)
    return places


@lru_cache(maxsize=1 << 16)
def stem(token: str) -> str:
    """The English Snowball stem (Porter 2)."""
    return str(_stemmer().stemWord(token))


@lru_cache(maxsize=1)
def _stemmer() -> Any:
    return needed("snowballstemmer", "METEOR").stemmer("english")
