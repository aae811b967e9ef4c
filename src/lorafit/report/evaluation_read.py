"""evaluation.json, read without trust: any key may be missing, null or of another shape."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lorafit.report.evaluation_view import Answer, Category, Change, Evaluation, Example, Metric, Part, Score, Verdict
from lorafit.report.words import is_number


def read_evaluation(content: Mapping[str, Any]) -> Evaluation:
    """content: evaluation.json. What it lacks is None or empty."""
    parts = tuple(_part(entry) for entry in _dicts(content.get("parts")))
    named = [_text(speaker) for speaker in _list(content.get("speakers"))]
    scored = [speaker for part in parts for metric in part.metrics for speaker in metric.scores]
    return Evaluation(
        _text(content.get("name")) or "evaluation",
        _text(content.get("of")),
        _text(content.get("base")),
        _text(content.get("method")),
        tuple(dict.fromkeys(named or scored)),
        _number(content.get("seconds")),
        _number(content.get("made")),
        tuple(_text(warning) for warning in _list(content.get("warnings"))),
        parts,
    )


def _part(entry: dict[str, Any]) -> Part:
    return Part(
        _text(entry.get("name")) or "part",
        _text(entry.get("kind")),
        _count(entry.get("rows")),
        _count(entry.get("questions")),
        _text(entry.get("note")),
        tuple(_metric(one) for one in _dicts(entry.get("metrics"))),
        tuple(_category(name, one) for name, one in _dict(entry.get("categories")).items()),
        _text(entry.get("by")),
        tuple(_example(one) for one in _dicts(entry.get("examples"))),
        dict(_lengths(entry.get("lengths"))),
        {speaker: _counts(reasons) for speaker, reasons in _dict(entry.get("reasons")).items() if _counts(reasons)},
    )


def _metric(entry: dict[str, Any]) -> Metric:
    better = _text(entry.get("better"))
    scores = {speaker: _dict(one) for speaker, one in _dict(entry.get("scores")).items()}
    changes = {speaker: _dict(one) for speaker, one in _dict(entry.get("differences")).items()}
    return Metric(
        _text(entry.get("name")),
        better,
        entry.get("share") is True,
        _number(entry.get("high")),
        {
            speaker: Score(
                _number(one.get("score")), _number(one.get("low")), _number(one.get("high")), _text(one.get("note"))
            )
            for speaker, one in scores.items()
        },
        {
            speaker: Change(_verdict(one, better), _number(one.get("value")), _text(one.get("sentence")))
            for speaker, one in changes.items()
            if one
        },
    )


def _verdict(difference: dict[str, Any], better: str) -> Verdict:
    value = _number(difference.get("value"))
    if value is None or (_number(difference.get("low")) is None and value != 0):
        return "unsure"
    if difference.get("is_real") is not True:
        return "same"
    if better not in ("higher", "lower"):
        return "differs"
    return "good" if (value > 0) == (better == "higher") else "bad"


def _category(name: str, entry: Any) -> Category:
    scores = _dict(_dict(entry).get("scores"))
    numbers = {metric: {speaker: _number(s) for speaker, s in _dict(one).items()} for metric, one in scores.items()}
    return Category(name, _count(_dict(entry).get("questions")), numbers)


def _example(entry: dict[str, Any]) -> Example:
    answers = {speaker: _dict(one) for speaker, one in _dict(entry.get("answers")).items()}
    return Example(
        _text(entry.get("source")) or f"prompt {_text(entry.get('number'))}".strip(),
        entry.get("kind") != "regression",
        _text(entry.get("prompt")),
        tuple(_text(one) for one in _list(entry.get("references"))),
        tuple(_text(one) for one in _list(entry.get("choices"))),
        _text(entry.get("category")),
        _number(entry.get("change")),
        tuple(
            Answer(speaker, _text(one.get("text")), one.get("ended") is not False, _number(one.get("score")))
            for speaker, one in answers.items()
        ),
    )


def _lengths(entry: Any) -> Iterator[tuple[str, tuple[list[float], list[float]]]]:
    """Those of which something can be drawn: one more edge than counts, and an answer at all."""
    for speaker, histogram in _dict(entry).items():
        edges, counts = (list(filter(is_number, _list(_dict(histogram).get(key)))) for key in ("edges", "counts"))
        if len(edges) == len(counts) + 1 and sum(counts) > 0 and edges == sorted(edges):
            yield speaker, (edges, counts)


def _counts(entry: Any) -> dict[str, float]:
    return {reason: number for reason, number in _dict(entry).items() if is_number(number) and number > 0}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [one for one in _list(value) if isinstance(one, dict)]


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _number(value: Any) -> float | None:
    return value if is_number(value) else None


def _count(value: Any) -> int | None:
    return round(value) if is_number(value) else None


def _text(value: Any) -> str:
    return "" if value is None else str(value)
