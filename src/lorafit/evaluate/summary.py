"""Scores of several speakers as JSON: with intervals, and what differs from the base in numbers and in words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from lorafit.evaluate.metrics.measured import Measured, Scale
from lorafit.evaluate.metrics.sentence import sentence
from lorafit.evaluate.metrics.significance import Difference, compare, interval

BASE = "base"


def metric_rows(scales: Sequence[Scale], measured: Mapping[str, Mapping[str, Measured]]) -> list[dict[str, Any]]:
    """A row for each metric. measured[speaker][metric]; the first speaker is what the others are compared with."""
    return [_row(scale, {speaker: named[scale.name] for speaker, named in measured.items()}) for scale in scales]


def _row(scale: Scale, measured: Mapping[str, Measured]) -> dict[str, Any]:
    first, *others = measured
    return {
        "name": scale.name,
        "better": scale.better,
        "share": scale.is_share,
        "high": number(scale.high),
        "scores": {speaker: estimate(one) for speaker, one in measured.items()},
        "differences": {speaker: _difference(scale, measured[first], measured[speaker]) for speaker in others},
    }


def estimate(measured: Measured) -> dict[str, Any]:
    """{score, low, high, note}: the 95 % interval is null where there is none."""
    found = interval(measured)
    return {"score": number(found.score), "low": number(found.low), "high": number(found.high), "note": measured.note}


def _difference(scale: Scale, base: Measured, other: Measured) -> dict[str, Any]:
    return _told(compare(base, other), scale)


def _told(found: Difference, scale: Scale) -> dict[str, Any]:
    return {
        "value": number(found.value),
        "low": number(found.low),
        "high": number(found.high),
        "p": number(found.p),
        "samples": found.samples,
        "needed": number(found.needed),
        "is_real": found.is_real,
        "sentence": sentence(found, scale),
    }


def harness_rows(scores: Mapping[str, Mapping[str, Mapping[str, Mapping[str, Any]]]]) -> list[dict[str, Any]]:
    """As `metric_rows`, of what lm-evaluation-harness found: scores[speaker][task][metric] = {score, stderr, samples}.

    It gives a standard error and not the single answers, so that speakers are compared as if each had had questions of
    its own: the intervals are wider than they need to be.
    """
    first, *others = scores
    rows = []
    for task, metrics in scores[first].items():
        for metric in metrics:
            found = {speaker: tasks[task][metric] for speaker, tasks in scores.items()}
            scale = Scale(metric, _HARNESS_BETTER.get(metric, "higher"), 1 if metric in _HARNESS_SHARES else math.inf)
            rows.append(
                {
                    "name": f"{task}: {metric}",
                    "better": scale.better,
                    "share": scale.is_share,
                    "high": number(scale.high),
                    "scores": {speaker: _harness_score(one) for speaker, one in found.items()},
                    "differences": {name: _harness_difference(found[first], found[name], scale) for name in others},
                }
            )
    return rows


_HARNESS_BETTER: dict[str, Literal["higher", "lower"]] = dict.fromkeys(
    ("perplexity", "word_perplexity", "byte_perplexity", "bits_per_byte"), "lower"
)
_HARNESS_SHARES = ("acc", "acc_norm", "exact_match", "f1", "mc1", "mc2", "em")


def _harness_score(found: Mapping[str, Any]) -> dict[str, Any]:
    score, error = found["score"], _error(found)
    low, high = score - 1.96 * error, score + 1.96 * error
    return {"score": number(score), "low": number(low), "high": number(high), "note": ""}


def _error(found: Mapping[str, Any]) -> float:
    stderr = found.get("stderr")
    return math.nan if stderr is None else float(stderr)


def _harness_difference(base: Mapping[str, Any], other: Mapping[str, Any], scale: Scale) -> dict[str, Any]:
    value = other["score"] - base["score"]
    error = math.hypot(_error(base), _error(other))
    samples = int(min(base.get("samples", 0), other.get("samples", 0)))
    # All answers alike: no error can be estimated, and the difference is what it is.
    p = math.erfc(abs(value) / error / math.sqrt(2)) if error > 0 else (1.0 if value == 0 else error)
    low, high = value - 1.96 * error, value + 1.96 * error
    needed = samples * (2.8 * error / value) ** 2 if value else math.inf
    return _told(Difference(value, low, high, p, samples, needed), scale)


def number(value: float) -> float | None:
    """JSON has no nan and no infinity."""
    return float(value) if math.isfinite(value) else None
