"""BLEU and chrF: sacrebleu counts, and its counts are kept for each sample."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

import numpy as np

from lorafit.evaluate.metrics.measured import Array, Measured, divided
from lorafit.evaluate.metrics.packages import needed
from lorafit.evaluate.metrics.texts import Texts
from lorafit.evaluate.metrics.tokens import has_kana_or_hangul

ORDERS, BETA = 4, 2
_BY_CHARACTER = "Japanese and Korean are cut into characters here; sacrebleu's ja-mecab and ko-mecab cut words."


def measure_bleu(texts: Texts) -> Measured:
    """BLEU from 0 to 1 with case, smoothed as mteval-v13a does it: sacrebleu's corpus_bleu on the same tokens."""
    return _bleu(texts, lowercase=False)


def measure_bleu_e2e(texts: Texts) -> Measured:
    """BLEU without case, as the E2E scorer's mteval-v13a gives it."""
    return _bleu(texts, lowercase=True)


def _bleu(texts: Texts, lowercase: bool) -> Measured:
    metric = needed("sacrebleu.metrics", "BLEU").BLEU(lowercase=lowercase, tokenize="none", force=True)
    answers, references = texts.mteval
    sums = _counts(metric, list(map(" ".join, answers)), [list(map(" ".join, cut)) for cut in references])
    by_character = not texts.word_language and any(
        has_kana_or_hangul(text) for wanted in texts.references for text in wanted
    )
    return Measured(sums, bleu_of, bleu_of(sums, effective_order=True), note=_BY_CHARACTER if by_character else "")


def bleu_of(sums: Array, effective_order: bool = False) -> Array:
    """BLEU of sums [..., 2 + 2 * 4]: length, reference length, matches and n-grams of each order (Papineni 2002).

    effective_order: leave out orders longer than the text, as one does for a single sentence.
    """
    length, wanted = sums[..., 0], sums[..., 1]
    right, total = sums[..., 2 : 2 + ORDERS], sums[..., 2 + ORDERS :]
    # An order without a match counts as half a match, the next one as a quarter: mteval-v13a's smoothing.
    smoothed = np.where(right == 0, 0.5 ** np.cumsum(right == 0, axis=-1), right)
    logs = np.log(np.where(total == 0, 1.0, divided(smoothed, total)))
    there = (total > 0).sum(axis=-1)
    orders = np.maximum(there, 1) if effective_order else np.full(there.shape, ORDERS)
    brevity = np.exp(np.minimum(0.0, 1 - divided(wanted, length)))
    scored = (right.sum(axis=-1) > 0) & (there == ORDERS if not effective_order else there > 0)
    return np.where(scored, brevity * np.exp(logs.sum(axis=-1) / orders), 0.0)


def measure_chrf(texts: Texts) -> Measured:
    """chrF2 from 0 to 1: n-grams of one to six characters without spaces (Popović 2015), as sacrebleu's corpus_chrf."""
    metric = needed("sacrebleu.metrics", "chrF").CHRF()
    sums = _counts(metric, texts.answers, texts.references)
    return Measured(sums, chrf_of, chrf_of(sums))


def chrf_of(sums: Array) -> Array:
    """chrF2 of sums [..., 3 * 6]: n-grams of the answer, of the reference, and shared, of each order."""
    said, wanted, shared = (sums[..., start::3] for start in range(3))
    orders = np.maximum(((said > 0) & (wanted > 0)).sum(axis=-1), 1)
    precision = divided(shared, said).sum(axis=-1) / orders
    recall = divided(shared, wanted).sum(axis=-1) / orders
    return divided((1 + BETA**2) * precision * recall, BETA**2 * precision + recall)


def _counts(metric: Any, answers: Sequence[str], references: Sequence[Sequence[str]]) -> Array:
    # sacrebleu has no public call for the counts of each sentence of a set; the tests compare with its corpus_score.
    streams = list(zip_longest(*references))
    return np.asarray(metric._extract_corpus_statistics(answers, streams), dtype=np.float64)
