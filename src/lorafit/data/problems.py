"""What is wrong with the data, in words, each with the setting that mends it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

from lorafit.data.counting import UNSUPPORTED
from lorafit.data.kept import RejectedRows
from lorafit.data.template import Facts, Renderer
from lorafit.records import Conversation

# Of the rows: fewer duplicates, or rows that a rule only reports, are said without a warning.
MANY = 0.01
# As many that lose the end of their answer as stop a run (data.cut_answers).
MOSTLY = 0.2
# What the setting of a cleaning rule is called that acts on what it finds; the others drop.
MENDS = {"mojibake": "mend", "control_characters": "mend", "unicode": "nfc", "personal_data": "mask"}
CUT = "answers-cut"  # the doctor's rule (observe/rules) that says the same of a run


@dataclass(frozen=True, slots=True)
class Problem:
    """text: what it is and what comes of it, in sentences. setting: what mends it, as `key=value`; empty where none
    does. symptom: the rule of the doctor that says the same of a run."""

    severity: Literal["fault", "warning", "note"]
    text: str
    setting: str = ""
    symptom: str = ""

    def __str__(self) -> str:
        return f"{self.text} ({self.setting})" if self.setting else self.text

    def to_json(self) -> dict[str, str]:
        return asdict(self)


def problems_of(
    renderer: Renderer, summary: dict[str, Any], rejected: RejectedRows, first: Conversation | None
) -> list[Problem]:
    """The problems of prepared data, the worst first. summary: of its header; first: a dialogue of it."""
    found = [
        *_length(summary),
        *_template(renderer, summary, first),
        *_rejected(summary, rejected),
        *_held_out(summary),
        *_thinking(renderer.facts(), summary["counted"], summary["conversations"]),
        *_reported(summary["cleaning"]),
    ]
    return by_severity(found)


def by_severity(problems: Iterable[Problem]) -> list[Problem]:
    """The worst first, otherwise in their order."""
    return sorted(problems, key=lambda problem: ("fault", "warning", "note").index(problem.severity))


def _length(summary: dict[str, Any]) -> Iterator[Problem]:
    limit = summary["max_length"]
    if summary["cut"]:
        kept = sum(summary["conversations"].values())
        yield Problem(
            "fault" if summary["cut_within_answer"] > MOSTLY * kept else "warning",
            f"{summary['cut']:,} rows were cut to {limit} tokens; {summary['cut_within_answer']:,} of them lose the "
            "end of their answer (the model learns to stop in mid-sentence there). Raise data.max_length, or use "
            "data.too_long=split or drop.",
            f"data.max_length={_enough(summary)}",
            CUT if summary["cut_within_answer"] else "",
        )
    if summary["parts_left_out"]:
        yield Problem(
            "warning",
            f"{summary['parts_left_out']:,} samples of rows that have several are left out, as they are too long or "
            f"without an answer within data.max_length={limit}.",
            f"data.max_length={_enough(summary)}",
        )


def _enough(summary: dict[str, Any]) -> int:
    """A length that nothing is cut at; or 99 of 100 samples are not, where the longest are far longer."""
    lengths = summary["lengths"]["sample"]
    longest = int(lengths["max"])
    if longest > 2 * lengths["p99"] and lengths["p99"] > summary["max_length"]:
        longest = int(lengths["p99"])
    return 64 * math.ceil(longest / 64)


def _template(renderer: Renderer, summary: dict[str, Any], dialogue: Conversation | None) -> Iterator[Problem]:
    name, counted = renderer.template.name, summary["counted"]
    if dialogue is None:
        return
    ends = renderer.ends_with_stop(dialogue)
    if not ends:
        yield Problem(
            "warning",
            f"The chat template ({name}) ends an answer without a special token: the model will not learn where to "
            "stop.",
            "data.template=human-assistant",
        )
    if not renderer.begins_as_asked(dialogue):
        yield Problem(
            "warning",
            f"The chat template ({name}) asks for an answer with other tokens than those that stand before it in "
            "training: the model will be asked in a way that it was not trained for.",
            "data.template=human-assistant",
        )
    if ends and counted.get("end_not_trained"):
        yield Problem(
            "warning",
            f"In {counted['end_not_trained']:,} rows an answer is trained on without its end-of-turn token: the model "
            "learns to go on there.",
            f"data.max_length={_enough(summary)}" if summary["cut"] else "data.template=human-assistant",
        )
    counts = {key.removeprefix(UNSUPPORTED): n for key, n in counted.items() if key.startswith(UNSUPPORTED)}
    for text in renderer.facts().warnings(counts):
        yield Problem("warning", text, "data.template=FILE.jinja")


def _rejected(summary: dict[str, Any], rejected: RejectedRows) -> Iterator[Problem]:
    """Rows that were left out; those that cleaning dropped as it was told to are no problem."""
    reasons = summary["rejected_for"]
    asked = sum(count for reason, count in reasons.items() if reason.startswith("clean."))
    if len(rejected) == asked:
        return
    setting = "data.max_length" if reasons.get("length") else "data.template" if reasons.get("template") else ""
    yield Problem(
        "warning",
        f"{len(rejected)} rows are left out ({summary['rejected_in'].get('training', 0)} from training); the first: "
        f"{rejected[0]}. All are in rejected.jsonl.",
        f"data.max_length={_enough(summary)}" if setting == "data.max_length" else f"{setting}=..." if setting else "",
    )


def _held_out(summary: dict[str, Any]) -> Iterator[Problem]:
    held = summary["conversations"]["held_out"]
    if summary["held_out"] and not summary["held_out_rows"]["samples"]:
        yield Problem(
            "warning",
            "No row fell into the held-out share: there will be no held-out loss. Raise data.held_out.",
            "data.held_out=0.1",
        )
    if summary["also_in_training"]:
        yield Problem(
            "warning",
            f"{summary['also_in_training']} of {held} held-out prompts also stand in the training rows: the held-out "
            "loss is too good.",
            "data.clean.in_held_out=drop",
        )


def _thinking(facts: Facts, counted: dict[str, int], conversations: dict[str, int]) -> Iterator[Problem]:
    dialogues = sum(conversations.values()) - counted.get("texts", 0)
    without = dialogues - counted.get("thinking", 0)
    if facts.opens_thinking and without:
        yield Problem(
            "warning",
            f"The chat template ({facts.name}) opens a thinking block when it asks, and {without:,} of {dialogues:,} "
            "dialogues have no thinking: the model learns to think nothing.",
            "data.template=FILE.jinja",
        )
    if tags := counted.get("thinking_tags"):
        yield Problem(
            "note",
            f"{tags:,} rows have <think> or </think> within an answer, where it is text as any other: thinking has to "
            "stand at the answer's beginning, or in a column of its own.",
            "data.columns={thinking: COLUMN}",
        )


def _reported(cleaning: dict[str, Any] | None) -> Iterator[Problem]:
    """What rules found that only count. in_held_out is said with the held-out rows."""
    for rule in (cleaning or {}).get("rules", ()):
        if not rule["found"] or rule["action"] != "report" or rule["rule"] == "in_held_out":
            continue
        name, seen = rule["rule"], max(1, rule["seen"])
        text, setting = _RULES.get(name, ("are found by the rule `{name}`", True))
        much = setting and rule["found"] >= MANY * seen and name in ("exact_duplicates", "empty")
        example = rule["examples"][0] if rule["examples"] else None
        where = f"; the first: {example['file']}, row {example['row']}" if example else ""
        yield Problem(
            "warning" if much else "note",
            f"{rule['found']:,} of {seen:,} rows {text.format(name=name)}{where}.",
            f"data.clean.{name}={MENDS.get(name, 'drop')}" if setting else "",
        )


# Words for the rules that look unasked, and whether a setting acts on what they find.
_RULES = {
    "exact_duplicates": ("equal an earlier row in every turn", True),
    "same_prompt": ("ask what an earlier row asks and answer something else", False),
    "empty": ("have a turn in which nothing can be seen", True),
    "too_short": ("are documents too short to learn from", True),
    "control_characters": ("have control characters or characters without width", True),
    "unicode": ("are in no Unicode normal form (equal characters are written in several ways)", True),
}
