"""A part's journals to its scores, in windows, so that a million answers need no more memory than their numbers."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np

from lorafit.evaluate.answers import chosen
from lorafit.evaluate.journal import Journal
from lorafit.evaluate.metrics.measured import Array, Measured, mean_of
from lorafit.evaluate.metrics.significance import GROUPS
from lorafit.evaluate.metrics.table import Metric
from lorafit.evaluate.metrics.texts import Texts
from lorafit.evaluate.question import Question
from lorafit.evaluate.summary import metric_rows, number

WHOLE = 20_000  # answers that a metric of a whole set is measured on
SHOWN = 10  # improvements and regressions
MOST_CATEGORIES = 200
BINS = 20
# By which examples are sorted, where it is measured: the finest first.
_BY = ("token_f1", "rouge_l", "accuracy", "exact_match")

Result = dict[str, Any]
Window = list[tuple[Question, dict[str, Result]]]  # each question with the result of every speaker


@dataclass(frozen=True, slots=True)
class Scoring:
    """How answers are scored. filtered: what of an answer is scored. schema, word_language: as Texts has them.

    token_count: tokens of each of some texts, for the lengths of references.
    """

    metrics: Sequence[Metric]
    filtered: Callable[[str], str] = str
    schema: Mapping[str, Any] | None = None
    word_language: str = ""
    normalise: str = ""
    token_count: Callable[[Sequence[str]], list[int]] | None = None


def score_part(questions: Iterable[Question], journals: Mapping[str, Journal], scoring: Scoring) -> Result:
    """Of a part what evaluation.json has: metrics, categories, by, examples, lengths, reasons, empty (how many are).

    Only questions that every speaker has a result for count.
    """
    gathered = {speaker: _Gathered() for speaker in journals}
    examples, lengths = _Examples(), _Lengths(list(journals))
    many = max(1, -(-min(map(len, journals.values())) // WHOLE))
    kept: Window = []
    by = ""
    for start, window in _windows(questions, journals):
        kept += [pair for place, pair in enumerate(window, start=start) if place % many == 0]
        measured = {speaker: _measure(window, speaker, scoring, whole=False) for speaker in journals}
        for speaker, named in measured.items():
            gathered[speaker].add(named, [question.category for question, _ in window])
        by = by or next((name for name in _BY if name in measured[next(iter(measured))]), "")
        if by:
            examples.add(window, {speaker: named[by].samples for speaker, named in measured.items()}, scoring)
        lengths.add(window, scoring)
    scores = {speaker: one.measured() for speaker, one in gathered.items()}
    for speaker, named in scores.items():
        named |= {
            name: _noted(one, len(kept)) if many > 1 else one
            for name, one in (_measure(kept, speaker, scoring, whole=True) if kept else {}).items()
        }
    there = [metric for metric in scoring.metrics if all(metric.name in named for named in scores.values())]
    return {
        "metrics": metric_rows(there, scores),
        "categories": _categories(gathered),
        "by": by,
        "examples": examples.to_json(),
        **lengths.to_json(),
    }


def _windows(questions: Iterable[Question], journals: Mapping[str, Journal]) -> Iterator[tuple[int, Window]]:
    coming = iter(questions)
    start = 0
    while window := list(islice(coming, GROUPS)):
        there = [question for question in window if all(question.number in journal for journal in journals.values())]
        results = [
            dict(zip(journals, found, strict=True))
            for found in zip(
                *(journal.results(question.number for question in there) for journal in journals.values()), strict=True
            )
        ]
        if there:
            yield start, list(zip(there, results, strict=True))
        start += len(there)


def _measure(window: Window, speaker: str, scoring: Scoring, whole: bool) -> dict[str, Measured]:
    metrics = [metric for metric in scoring.metrics if metric.whole == whole]
    if window and window[0][0].choices:
        right = [_is_right(question, results[speaker], scoring.normalise) for question, results in window]
        return {} if whole else {"accuracy": mean_of(right)}
    texts = Texts(
        [scoring.filtered(results[speaker]["text"]) for _, results in window],
        [question.references for question, _ in window],
        [results[speaker]["ended"] for _, results in window],
        scoring.schema,
        scoring.word_language,
    )
    found = {}
    for metric in metrics:
        if metric.takes in ("references", "labels"):
            texts.check_references(metric.name, most=1 if metric.takes == "labels" else None)
        found[metric.name] = metric.measure(texts)
    return found


def _is_right(question: Question, result: Result, normalise: str) -> float:
    return float(question.choices[chosen(result["choices"], normalise)] in question.references)


def _noted(measured: Measured, count: int) -> Measured:
    note = f"On {count:,} answers spread over the set: this metric needs all answers at once."
    return Measured(measured.sums, measured.combine, measured.samples, measured.resampled, note)


class _Gathered:
    """The sums of one speaker, window after window, added up in at most 10,000 groups (see `grouped`)."""

    def __init__(self) -> None:
        self.first: dict[str, Measured] = {}
        self.sums: dict[str, Array] = {}
        self.samples: dict[str, list[Array]] = defaultdict(list)
        self.categories: dict[str, dict[str, Array]] = defaultdict(dict)
        self.counts: dict[str, int] = defaultdict(int)

    def add(self, measured: Mapping[str, Measured], categories: Sequence[str]) -> None:
        for category in categories:
            self.counts[category] += 1
        places: dict[str, list[int]] = defaultdict(list)
        for place, category in enumerate(categories):
            places[category].append(place)
        for name, one in measured.items():
            self.first.setdefault(name, one)
            before = self.sums.get(name, one.sums[:0])
            longer, shorter = sorted((before, one.sums), key=len, reverse=True)
            self.sums[name] = longer.copy()
            self.sums[name][: len(shorter)] += shorter
            self.samples[name].append(one.samples)
            for category, numbers in places.items():
                added = one.sums[numbers].sum(axis=0)
                self.categories[category][name] = self.categories[category].get(name, 0) + added

    def measured(self) -> dict[str, Measured]:
        return {
            name: Measured(self.sums[name], one.combine, np.concatenate(self.samples[name]), one.resampled, one.note)
            for name, one in self.first.items()
        }


def _categories(gathered: Mapping[str, _Gathered]) -> dict[str, Any]:
    """The largest categories with the scores of each speaker; nothing where there is but one."""
    first = next(iter(gathered.values()))
    if len(first.counts) < 2:
        return {}
    largest = sorted(first.counts, key=lambda name: -first.counts[name])[:MOST_CATEGORIES]
    return {
        category: {
            "questions": first.counts[category],
            "scores": {
                name: {
                    speaker: number(float(one.first[name].combine(one.categories[category][name])))
                    for speaker, one in gathered.items()
                }
                for name in first.first
            },
        }
        for category in sorted(largest)
    }


@dataclass(slots=True)
class _Examples:
    """The answers that changed most between the first speaker and the last, by one metric."""

    up: list[tuple[float, int, Result]] = field(default_factory=list)
    down: list[tuple[float, int, Result]] = field(default_factory=list)

    def add(self, window: Window, samples: Mapping[str, Array], scoring: Scoring) -> None:
        base, *others = samples
        if not others:
            return
        changes = samples[others[-1]] - samples[base]
        for place in np.flatnonzero(changes).tolist():
            question, results = window[place]
            heap, size = (self.up, changes[place]) if changes[place] > 0 else (self.down, -changes[place])
            entry = (float(size), -question.number)
            if len(heap) == SHOWN and entry < heap[0][:2]:
                continue
            scores = {speaker: float(one[place]) for speaker, one in samples.items()}
            shown = _shown(question, results, scores, float(changes[place]), scoring)
            (heapq.heappush if len(heap) < SHOWN else heapq.heappushpop)(heap, (*entry, shown))

    def to_json(self) -> list[Result]:
        return [shown for heap in (self.up, self.down) for *_, shown in sorted(heap, key=lambda one: one[:2])[::-1]]


def _shown(
    question: Question, results: Mapping[str, Result], scores: Mapping[str, float], change: float, scoring: Scoring
) -> Result:
    return {
        "number": question.number,
        "source": str(question.source),
        "kind": "improvement" if change > 0 else "regression",
        "prompt": question.asked,
        "references": list(question.references),
        "choices": list(question.choices),
        "category": question.category,
        "change": change,
        "answers": {
            speaker: {
                "text": _said(question, result, scoring.normalise),
                "ended": result.get("ended", True),
                "score": scores[speaker],
            }
            for speaker, result in results.items()
        },
    }


def _said(question: Question, result: Result, normalise: str) -> str:
    if question.choices:
        return question.choices[chosen(result["choices"], normalise)]
    return str(result["text"])


class _Lengths:
    """Tokens of the answers and references, and how the answers ended."""

    def __init__(self, speakers: Sequence[str]) -> None:
        self.tokens: dict[str, list[Array]] = {speaker: [] for speaker in speakers}
        self.references: list[Array] = []
        self.reasons = {speaker: {"stop": 0, "length": 0} for speaker in speakers}
        self.empty = dict.fromkeys(speakers, 0)

    def add(self, window: Window, scoring: Scoring) -> None:
        if window[0][0].choices:
            return
        for speaker, reasons in self.reasons.items():
            ended = sum(results[speaker]["ended"] for _, results in window)
            reasons["stop"] += ended
            reasons["length"] += len(window) - ended
            self.empty[speaker] += sum(not results[speaker]["text"] for _, results in window)
            self.tokens[speaker].append(np.array([results[speaker]["tokens"] for _, results in window], float))
        references = [question.references[0] for question, _ in window if question.references]
        if scoring.token_count and references:
            self.references.append(np.array(scoring.token_count(references), float))

    def to_json(self) -> Result:
        parts = {**self.tokens, "reference": self.references}
        found = {name: np.concatenate(arrays) for name, arrays in parts.items() if arrays}
        if not found:
            return {"lengths": {}, "reasons": {}, "empty": {}}
        # The longest hundredth would make the others a line.
        longest = max(1.0, float(np.percentile(np.concatenate(list(found.values())), 99)))
        edges = np.linspace(0, longest, min(BINS, int(longest)) + 1)
        lengths = {
            name: {"edges": edges.tolist(), "counts": np.histogram(np.minimum(one, longest), edges)[0].tolist()}
            for name, one in found.items()
        }
        return {"lengths": lengths, "reasons": self.reasons, "empty": self.empty}


def fitting_metrics(questions: Sequence[Question]) -> list[str]:
    """The metrics that say something about these: of choices, of labels, of JSON, of text."""
    if questions[0].choices:
        return ["accuracy"]
    references = [question.references for question in questions if question.references]
    if not references:
        return ["length", "distinct_2", "stop_rate"]
    texts = [one[0].strip() for one in references]
    names = ["exact_match", "token_f1"]
    labels = set(texts)
    single = all(len(one) == 1 for one in references)
    if single and len(labels) <= max(2, len(texts) // 5) and max(map(len, labels)) <= 40:
        return ["accuracy", "macro_f1", "stop_rate"]
    if all(text[:1] in ("{", "[") for text in texts):
        names += ["json_valid"]
    names += ["bleu", "chrf", "rouge_1", "rouge_2", "rouge_l", "distinct_2", "length", "length_ratio", "stop_rate"]
    return names
