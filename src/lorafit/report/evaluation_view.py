"""An evaluation as the page and the terminal show it: what is None or empty was not told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lorafit.report.words import figure, share

# good, bad: a real difference; same: none can be told; differs: a real one, neither good nor bad; unsure: not tested.
Verdict = Literal["good", "bad", "same", "differs", "unsure"]
SHORT = {
    "good": "better",
    "bad": "worse",
    "same": "not distinguishable",
    "differs": "different",
    "unsure": "not tested",
}
KINDS = {
    "answers": "generated answers",
    "choices": "multiple choice by log-likelihood",
    "likelihood": "likelihood of the given answers",
    "forgetting": "general text, to see what was forgotten",
    "harness": "lm-evaluation-harness",
}
TITLES = {"token_f1": "token F1", "bleu": "BLEU", "bleu_e2e": "BLEU (E2E)", "chrf": "chrF", "macro_f1": "macro F1"}
TITLES |= {"rouge_1": "ROUGE-1", "rouge_2": "ROUGE-2", "rouge_l": "ROUGE-L", "rouge_l_e2e": "ROUGE-L (E2E)"}
TITLES |= {"nist": "NIST", "nist_pymteval": "NIST (pymteval)", "meteor": "METEOR", "cider": "CIDEr"}
TITLES |= {
    "distinct_1": "distinct-1",
    "distinct_2": "distinct-2",
    "json_valid": "valid JSON",
    "json_schema": "JSON schema",
}


@dataclass(frozen=True, slots=True)
class Score:
    """low, high: the 95 % interval."""

    value: float | None
    low: float | None
    high: float | None
    note: str


@dataclass(frozen=True, slots=True)
class Change:
    """Of a metric, from the base to another speaker."""

    verdict: Verdict
    value: float | None
    sentence: str


@dataclass(frozen=True, slots=True)
class Metric:
    """scores, changes: of each speaker. high: the most it can be, None for no bound."""

    name: str
    better: str
    is_share: bool
    high: float | None
    scores: dict[str, Score]
    changes: dict[str, Change]

    @property
    def title(self) -> str:
        return titled(self.name)

    def told(self, value: float | None) -> str:
        if self.is_share or value is None:
            return share(value)
        if value == round(value):
            return f"{value:,.0f}"
        if not 0.01 <= abs(value) < 1000:
            return figure(value)
        return f"{value:.2f}" if abs(value) >= 1 else f"{value:.3f}"

    def moved(self, value: float | None) -> str:
        """A difference with its sign."""
        if value is None:
            return ""
        sign = "+" if value >= 0 else "-"
        return f"{sign}{abs(value) * 100:.1f} points" if self.is_share else f"{sign}{self.told(abs(value))}"

    def short(self, change: Change) -> str:
        """A change in a few words."""
        moved = self.moved(change.value)
        if change.verdict in ("good", "bad") and moved:
            return f"{SHORT[change.verdict]} by {moved[1:]}"
        if change.verdict == "same":
            return SHORT["same"]
        return moved if change.verdict == "differs" else f"{moved}, {SHORT['unsure']}".removeprefix(", ")


@dataclass(frozen=True, slots=True)
class Category:
    """scores: metric to speaker to score."""

    name: str
    questions: int | None
    scores: dict[str, dict[str, float | None]]


@dataclass(frozen=True, slots=True)
class Answer:
    speaker: str
    text: str
    ended: bool
    score: float | None


@dataclass(frozen=True, slots=True)
class Example:
    source: str
    improved: bool
    prompt: str
    references: tuple[str, ...]
    choices: tuple[str, ...]
    category: str
    change: float | None
    answers: tuple[Answer, ...]


@dataclass(frozen=True, slots=True)
class Part:
    """lengths: speaker (or reference) to (edges [N + 1], counts [N]); reasons: speaker to reason to answers."""

    name: str
    kind: str
    rows: int | None
    questions: int | None
    note: str
    metrics: tuple[Metric, ...]
    categories: tuple[Category, ...]
    by: str
    examples: tuple[Example, ...]
    lengths: dict[str, tuple[list[float], list[float]]]
    reasons: dict[str, dict[str, float]]

    @property
    def kind_words(self) -> str:
        return KINDS.get(self.kind, self.kind)

    @property
    def facts(self) -> str:
        """The note that was written with it, or the numbers."""
        numbers = [(self.rows, "row"), (self.questions, "prompt")]
        return self.note or ", ".join(f"{n:,} {word}{'s' if n != 1 else ''}" for n, word in numbers if n is not None)

    def metric(self, name: str) -> Metric | None:
        return next((metric for metric in self.metrics if metric.name == name), None)

    @property
    def sorting(self) -> Metric | None:
        """The metric that examples and categories are shown by."""
        return self.metric(self.by) or (self.metrics[0] if self.metrics else None)


@dataclass(frozen=True, slots=True)
class Headline:
    """Whether a speaker is better than the base in one part: the sentence, and what it rests on."""

    verdict: Verdict
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Evaluation:
    name: str
    of: str
    base: str
    method: str
    speakers: tuple[str, ...]
    seconds: float | None
    made: float | None
    warnings: tuple[str, ...]
    parts: tuple[Part, ...]

    @property
    def headlines(self) -> list[Headline]:
        others = [speaker for speaker in self.speakers if speaker != "base"]
        found = (_headline(part, speaker) for part in self.parts for speaker in others)
        return [headline for headline in found if headline]


def titled(name: str) -> str:
    """A metric's name as people write it."""
    return TITLES.get(name, name.replace("_", " "))


def _headline(part: Part, speaker: str) -> Headline | None:
    """By the metric that examples are sorted by, or the first that has a good direction; None where there is none."""
    told = [metric for metric in part.metrics if metric.better and speaker in metric.changes]
    if not told:
        return None
    lead = next((metric for metric in told if metric.name == part.by), told[0])
    change, base, own = lead.changes[speaker], lead.scores.get("base"), lead.scores.get(speaker)
    figures = f" {lead.told(base.value)} → {lead.told(own.value)}" if base and own else ""
    text = f"{lead.title}{figures}: {change.sentence or lead.short(change)}."
    if len(told) > 1:
        verdicts = [metric.changes[speaker].verdict for metric in told]
        tally = [f"{verdicts.count(verdict)} {words}" for verdict, words in SHORT.items() if verdict in verdicts]
        text += f" Of {len(told)} metrics: {', '.join(tally)}."
    return Headline(change.verdict, _headline_title(part, speaker, change.verdict), text)


def _headline_title(part: Part, speaker: str, verdict: Verdict) -> str:
    who = "the tuned model" if speaker == "tuned" else speaker
    where = {"forgetting": f"general text ({part.name})", "likelihood": f"{part.name}, by likelihood"}.get(
        part.kind, part.name
    )
    start = who[:1].upper() + who[1:] if speaker == "tuned" else who
    if verdict == "good":
        return f"{start} is better than the base on {where}"
    if verdict == "bad" and part.kind == "forgetting":
        return f"{start} has forgotten: it is worse than the base on {where}"
    if verdict == "bad":
        return f"{start} is worse than the base on {where}"
    if verdict == "same":
        return f"No difference shows between {who} and the base on {where}"
    return f"{start} was compared with the base on {where}, but the difference was not tested"
