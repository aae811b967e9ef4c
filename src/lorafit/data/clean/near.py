"""Rows that are nearly an earlier one: MinHash signatures, and an index of their bands that fits in memory.

Broder 1997, "On the resemblance and containment of documents": the share of equal places of two signatures estimates
the Jaccard similarity of two sets, here of runs of three words. Leskovec, Rajaraman and Ullman, "Mining of Massive
Datasets", section 3.4: cut into bands, equal bands name the pairs that are worth comparing.

Prompt and answer have a signature each and both must be alike. One signature of both would call two questions about
the same long passage duplicates. A band is of both, so that a common prompt, or a common answer, is no candidate.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from lorafit.data.clean.rows import answered, asked, library, words
from lorafit.records import Conversation, Source

RUN = 3
PLACES = 64  # of a signature: the estimate is within 0.05 of the similarity (one standard deviation, at 0.8)
BANDS, BAND = 16, 4  # two texts of similarity 0.8 each are found with 95 %, of 0.9 each with more than 99.9 %
BLOCK = 1 << 14


class NearDuplicates:
    """Rows whose prompt and answers are both nearly those of an earlier row that was kept.

    A row that is kept costs about 800 bytes of memory (256 its signatures, 192 its bands, the rest its source and
    room to merge). A row is compared with at most `BANDS` others.
    """

    name = "near_duplicates"

    def __init__(self, similarity: float) -> None:
        self.found: Counter[str] = Counter()
        self.similarity = similarity
        self._rensa = library("rensa", "rensa", self.name)
        self._index = _Index()
        self._signatures: list[np.ndarray] = []
        self._sources: list[Source] = []

    def faults(self, rows: Sequence[Conversation]) -> list[str | None]:
        signatures = np.concatenate(
            (self._sign([asked(row) for row in rows]), self._sign([answered(row) for row in rows])), axis=1
        )
        keys = _band_keys(signatures)
        # 16 of the 32 bits tell two places apart as well (Li and König 2010, b-bit minwise hashing).
        short = signatures.astype(np.uint16)
        before, now = self._index.find(keys), dict[int, int]()
        problems: list[str | None] = []
        kept: list[int] = []
        for place, row in enumerate(rows):
            own = keys[place].tolist()
            candidates = {int(one) for one in before[place] if one >= 0} | {now[key] for key in own if key in now}
            problem = self._like(short[place], sorted(candidates))
            if problem is None:
                number = len(self._sources)
                self._keep(short[place], row.source)
                kept.append(place)
                for key, known in zip(own, before[place], strict=True):
                    if known < 0:
                        now.setdefault(key, number)
            problems.append(problem)
        self._index.add(keys[kept], len(self._sources) - len(kept), before[kept] < 0)
        return problems

    def _like(self, signature: np.ndarray, candidates: list[int]) -> str | None:
        for number in candidates:
            equal = self._signatures[number // BLOCK][number % BLOCK] == signature
            alike = min(equal[:PLACES].mean(), equal[PLACES:].mean())
            if alike >= self.similarity:
                return f"nearly equals {self._sources[number]} (similarity about {alike:.2f})"
        return None

    def _keep(self, signature: np.ndarray, source: Source) -> None:
        number = len(self._sources)
        if number % BLOCK == 0:
            self._signatures.append(np.empty((BLOCK, 2 * PLACES), np.uint16))
        self._signatures[-1][number % BLOCK] = signature
        self._sources.append(source)

    def _sign(self, texts: Sequence[str]) -> np.ndarray:
        """uint32 [texts, PLACES]."""
        matrix: Any = self._rensa.RMinHash.digest_matrix_from_token_sets(list(map(_runs, texts)), PLACES, 42)
        return np.array(matrix.to_rows(), dtype=np.uint32)


def _runs(text: str) -> list[str]:
    said = words(text)
    if len(said) < RUN:
        return [" ".join(text.lower().split())]  # with its signs: 1+1 is not 1-1
    return [" ".join(run) for run in zip(said, said[1:], said[2:], strict=False)]


def _band_keys(signatures: np.ndarray) -> np.ndarray:
    """uint64 [rows, BANDS]: a number for the places of a band in both signatures, and for which band it is."""
    rows = len(signatures)
    both = signatures.reshape(rows, 2, BANDS, BAND).astype(np.uint64)
    # Odd multipliers, drawn once: a sum of products modulo 2^64 hashes a short list (Dietzfelbinger 1996).
    factors = np.random.default_rng(0).integers(0, 1 << 63, (2, BANDS, BAND), dtype=np.uint64) * np.uint64(2) + 1
    keys: np.ndarray = (both * factors).sum(axis=(1, 3), dtype=np.uint64)
    keys ^= keys >> np.uint64(32)
    return keys * np.uint64(0x9E3779B97F4A7C15) + np.arange(BANDS, dtype=np.uint64)


class _Index:
    """The first row of each key: sorted runs of keys, two of like size merged, so that there are few of them."""

    def __init__(self) -> None:
        self._runs: list[tuple[np.ndarray, np.ndarray]] = []

    def find(self, keys: np.ndarray) -> np.ndarray:
        """int64, the shape of keys: the row that first had a key, -1 where none had."""
        found = np.full(keys.shape, -1, np.int64)
        for known, rows in self._runs:
            place = np.minimum(np.searchsorted(known, keys), len(known) - 1)
            found = np.where(known[place] == keys, rows[place], found)
        return found

    def add(self, keys: np.ndarray, first: int, new: np.ndarray) -> None:
        """keys [rows, bands] of the rows from number `first` on; new: which of the keys are not in here yet."""
        rows = np.broadcast_to(np.arange(first, first + len(keys), dtype=np.uint32)[:, None], keys.shape)
        # np.unique gives the first place of each key, and rows are in order.
        unique, place = np.unique(keys[new], return_index=True)
        if not len(unique):
            return
        self._runs.append((unique, rows[new][place]))
        while len(self._runs) > 1 and len(self._runs[-2][0]) < 2 * len(self._runs[-1][0]):
            one, other = self._runs.pop(), self._runs.pop()
            merged = np.concatenate((one[0], other[0]))
            order = np.argsort(merged, kind="stable")
            self._runs.append((merged[order], np.concatenate((one[1], other[1]))[order]))
