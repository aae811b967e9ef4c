"""An evaluation as tables for a terminal, however narrow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len, set_cell_size
from rich.table import Table
from rich.text import Text

from lorafit.report.evaluation_read import read_evaluation
from lorafit.report.evaluation_view import Category, Evaluation, Example, Metric, Part, Score
from lorafit.report.words import count

GAP = 2  # columns between two columns
WIDE, NARROW = 110, 70  # columns from which there is room for whole sentences; for intervals
CHANGE_WIDTH = 21  # of "better by 28.0 points"
EXAMPLES = 3  # of a kind
CATEGORIES = 80
COLOURS = {"good": "green", "bad": "red", "same": "dim", "differs": "", "unsure": "dim"}


def evaluation_tables(content: Mapping[str, Any], width: int) -> Iterator[Table]:
    """What came out, then for each part its scores, categories and examples.

    content: evaluation.json, also of an evaluation that was stopped. width: columns of the terminal.
    """
    view = read_evaluation(content)
    if view.headlines:
        yield _headlines(view)
    for part in view.parts:
        if part.metrics:
            yield _scores(part, view, width)
        if any(category.scores for category in part.categories):
            yield _categories(part, view)
        for title, improved in (("best improvements", True), ("worst regressions", False)):
            examples = [one for one in part.examples if one.improved is improved][:EXAMPLES]
            if examples:
                yield _examples(f"{part.name}: {title}", examples, part.sorting, width)


def _headlines(view: Evaluation) -> Table:
    table = Table.grid()
    for headline in view.headlines:
        table.add_row(Text(_line(headline.title), style=f"bold {COLOURS[headline.verdict]}"))
        table.add_row(Text(_line(headline.text)))
    return table


def _scores(part: Part, view: Evaluation, width: int) -> Table:
    """Two models beside each other where there is room for them; else each in a row of its own."""
    title = f"{_line(part.name)} · {part.kind_words}" + (f" · {_line(part.facts)}" if part.facts else "")
    speakers = [speaker for speaker in view.speakers if any(speaker in metric.scores for metric in part.metrics)]
    told = {(m.name, who): _told(m, m.scores.get(who), width) for m in part.metrics for who in speakers}
    score_width = max(map(cell_len, [*told.values(), *map(_line, speakers)]), default=0)
    name_width = max(cell_len(metric.title) for metric in part.metrics)
    beside = len(speakers) <= 2 and name_width + len(speakers) * (score_width + GAP) + CHANGE_WIDTH + GAP <= width
    table = _table(title)
    table.add_column("", overflow="fold")
    if not beside:
        table.add_column("", overflow="fold")
    for speaker in speakers if beside else ["score"]:
        table.add_column(Text(_line(speaker)), justify="right", no_wrap=True)
    if any(metric.changes for metric in part.metrics):
        table.add_column("against the base", overflow="fold")
    for metric in part.metrics:
        if beside:
            scores = [Text(told[metric.name, speaker]) for speaker in speakers]
            changes = [_change(metric, speaker, width) for speaker in speakers if speaker in metric.changes]
            table.add_row(Text(_line(metric.title)), *scores, *changes[:1])
            continue
        for number, speaker in enumerate(speaker for speaker in speakers if speaker in metric.scores):
            name, score = "" if number else _line(metric.title), told[metric.name, speaker]
            changes = [_change(metric, speaker, width)] if metric.changes else []
            table.add_row(Text(name), Text(_line(speaker)), Text(score), *changes)
        table.add_section()
    return table


def _told(metric: Metric, score: Score | None, width: int) -> str:
    """A score and, where there is room, its interval."""
    if score is None:
        return ""
    if score.low is None or score.high is None or width < NARROW:
        return metric.told(score.value)
    return f"{metric.told(score.value)} ({metric.told(score.low)}–{metric.told(score.high)})".replace("%–", "–", 1)


def _change(metric: Metric, speaker: str, width: int) -> Text:
    change = metric.changes.get(speaker)
    if change is None:
        return Text("")
    words = change.sentence if width >= WIDE and change.sentence else metric.short(change)
    return Text(_line(words), style=COLOURS[change.verdict])


def _categories(part: Part, view: Evaluation) -> Table:
    """By the metric that examples are sorted by, or the first that categories have."""
    names = list(dict.fromkeys(name for category in part.categories for name in category.scores))
    name = part.by if part.by in names else names[0]
    metric = part.metric(name) or Metric(name, "", False, None, {}, {})
    table = _table(f"{_line(part.name)} by category: {metric.title}")
    table.add_column("", overflow="fold")
    table.add_column("prompts", justify="right")
    speakers = [s for s in view.speakers if any(s in category.scores.get(name, {}) for category in part.categories)]
    for speaker in speakers:
        table.add_column(Text(_line(speaker)), justify="right")
    for category in part.categories[:CATEGORIES]:
        table.add_row(*map(Text, _category(category, metric, speakers)))
    if len(part.categories) > CATEGORIES:
        table.add_row(Text(f"and {len(part.categories) - CATEGORIES:,} more", style="dim"))
    return table


def _category(category: Category, metric: Metric, speakers: list[str]) -> list[str]:
    scores = category.scores.get(metric.name, {})
    return [
        _line(category.name),
        count(category.questions),
        *(metric.told(scores.get(speaker)) for speaker in speakers),
    ]


def _examples(title: str, examples: list[Example], metric: Metric | None, width: int) -> Table:
    """Each text in one line, as far as there is room."""
    table = Table(title=_line(title), title_justify="left", title_style="bold", box=None, padding=(0, GAP, 0, 0))
    table.show_header = False
    table.pad_edge = False
    rows = [row for one in examples for row in _example(one, metric)]
    left = max(cell_len(label) for label, _ in rows)
    table.add_column("", no_wrap=True, style="dim", max_width=width // 3, overflow="ellipsis")
    table.add_column("", no_wrap=True)
    for label, words in rows:
        table.add_row(Text(label), Text(_clipped(words, width - min(left, width // 3) - GAP)))
    return table


def _example(one: Example, metric: Metric | None) -> Iterator[tuple[str, str]]:
    moved = metric.moved(one.change) if metric else ""
    yield "", f"{_line(one.source)}{f': {metric.title} {moved}' if metric and moved else ''}"
    yield "prompt", _line(one.prompt)
    if one.references:
        yield "reference", _line(one.references[0])
    for answer in one.answers:
        yield _line(answer.speaker), _line(answer.text) or "(nothing)"


def _clipped(words: str, width: int) -> str:
    """As much as has room in so many columns; a CJK character takes two."""
    if cell_len(words[: width + 1]) <= width:
        return words
    return set_cell_size(words, max(0, width - 1)).rstrip() + "…"


def _line(text: str, longest: int = 1000) -> str:
    """In one line, without what would steer the terminal."""
    return "".join(c if c.isprintable() else " " for c in " ".join(text[:longest].split()))


def _table(title: str) -> Table:
    return Table(
        title=Text(title, style="bold"),
        title_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, GAP - 1, 0, 0),  # the box puts one more between columns
        pad_edge=False,
        show_edge=False,
    )
