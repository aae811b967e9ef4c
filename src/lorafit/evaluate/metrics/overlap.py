"""Exact match, token F1 and ROUGE: words that an answer shares with its reference. Of several references the best."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence

from lorafit.evaluate.metrics.measured import Measured, mean_of
from lorafit.evaluate.metrics.texts import Cut, Texts
from lorafit.evaluate.metrics.tokens import normalise, words

Score = Callable[[Sequence[str], Sequence[str]], float]


def exact_match(answer: str, reference: str) -> float:
    """1 when the texts are equal after `normalise`, else 0."""
    return float(normalise(answer) == normalise(reference))


def token_f1(answer: str, reference: str) -> float:
    """F1 of the words that both share (SQuAD, arXiv 1606.05250, without its rule about articles)."""
    return ngram_f1(words(answer), words(reference), 1)


def ngram_f1(answer: Sequence[str], reference: Sequence[str], order: int) -> float:
    """Harmonic mean of precision and recall of n-grams, each counted as often as it stands; 1 when both have none."""
    one, other = ngrams(answer, order), ngrams(reference, order)
    if not one or not other:
        return float(one == other)
    return 2 * (one & other).total() / (one.total() + other.total())


def ngrams(tokens: Sequence[str], order: int) -> Counter[tuple[str, ...]]:
    return Counter(zip(*(tokens[start:] for start in range(order)), strict=False))


def common_subsequence(one: Sequence[str], other: Sequence[str]) -> int:
    """Length of the longest common subsequence; a row of the table is the bits of one number (Hyyrö 2004)."""
    places: dict[str, int] = defaultdict(int)
    for place, token in enumerate(one):
        places[token] |= 1 << place
    full = (1 << len(one)) - 1
    row = full
    for token in other:
        matched = row & places.get(token, 0)
        row = ((row + matched) | (row - matched)) & full
    return len(one) - row.bit_count()


def rouge_n(answer: Sequence[str], reference: Sequence[str], order: int) -> float:
    """ROUGE-N as F1 (Lin 2004); 0 where one has no n-grams, as in rouge-score."""
    return ngram_f1(answer, reference, order) if len(answer) >= order and len(reference) >= order else 0.0


def rouge_l(answer: Sequence[str], reference: Sequence[str]) -> float:
    """ROUGE-L as F1 over the whole text (Lin 2004)."""
    if not answer or not reference:
        return 0.0
    return 2 * common_subsequence(answer, reference) / (len(answer) + len(reference))


def rouge_l_e2e(answer: Sequence[str], references: Sequence[Sequence[str]], beta: float = 1.2) -> float:
    """ROUGE-L of the COCO caption scorer: best precision and best recall, perhaps of different references."""
    shared = [common_subsequence(answer, reference) for reference in references]
    precision = max(shared) / max(len(answer), 1)
    recall = max(common / max(len(reference), 1) for common, reference in zip(shared, references, strict=True))
    if precision == 0 or recall == 0:
        return 0.0
    return (1 + beta**2) * precision * recall / (recall + beta**2 * precision)


def measure_exact_match(texts: Texts) -> Measured:
    pairs = zip(texts.answers, texts.references, strict=True)
    return mean_of([max(exact_match(answer, reference) for reference in references) for answer, references in pairs])


def measure_token_f1(texts: Texts) -> Measured:
    return _best(texts.words, lambda answer, reference: ngram_f1(answer, reference, 1))


def measure_rouge_1(texts: Texts) -> Measured:
    return _best(texts.words, lambda answer, reference: rouge_n(answer, reference, 1))


def measure_rouge_2(texts: Texts) -> Measured:
    return _best(texts.words, lambda answer, reference: rouge_n(answer, reference, 2))


def measure_rouge_l(texts: Texts) -> Measured:
    return _best(texts.words, rouge_l)


def measure_rouge_l_e2e(texts: Texts) -> Measured:
    answers, references = texts.caption
    return mean_of([rouge_l_e2e(answer, wanted) for answer, wanted in zip(answers, references, strict=True)])


def _best(cut: Cut, score: Score) -> Measured:
    answers, references = cut
    pairs = zip(answers, references, strict=True)
    return mean_of([max(score(answer, reference) for reference in wanted) for answer, wanted in pairs])
