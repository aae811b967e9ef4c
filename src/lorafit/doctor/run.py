"""`lorafit doctor runs/NAME`: what the rules find in a run folder, for the terminal."""

from __future__ import annotations

import json
from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from lorafit.errors import LorafitError
from lorafit.export.gguf.families import supports
from lorafit.model.hub import find_description, is_local
from lorafit.observe.rules.facts import Facts
from lorafit.observe.rules.finding import Finding
from lorafit.observe.rules.table import RULES, examine
from lorafit.observe.run_facts import facts_of
from lorafit.recipe import load_recipe
from lorafit.run import RunFolder

STYLES = {"fault": "bold red", "warning": "yellow", "note": "cyan"}


def diagnose(run: RunFolder) -> list[Finding]:
    """The findings of a run, finished or not, worst first. Reads only."""
    order = list(STYLES)
    return sorted(examine(facts_of(run)), key=lambda finding: order.index(finding.severity))


def findings_text(findings: Sequence[Finding], run: RunFolder) -> RenderableType:
    """The findings with evidence, cause and the setting to change; without any, what was looked at."""
    if not findings:
        return Text(f"No findings. {_looked_at(facts_of(run))}", style="green")
    return Group(*(_paragraph(finding) for finding in findings))


def export_note(run: RunFolder) -> str | None:
    """Why the run's model cannot become GGUF; None where it can, or where its base is not on this disk."""
    model = load_recipe(run.recipe).model
    if not is_local(model.name):
        return None  # a doctor does not wait for a hub
    try:
        return supports(json.loads((find_description(model.name) / "config.json").read_text(encoding="utf-8")))
    except (LorafitError, OSError, ValueError):
        return None  # a base that is gone is said by who needs it


def _paragraph(finding: Finding) -> Text:
    style = STYLES[finding.severity]
    text = Text()
    text.append(f"{finding.severity}: {finding.title}", style).append(f"  ({finding.symptom})\n", "dim")
    for what, said in (("seen", finding.evidence), ("cause", finding.cause), ("remedy", finding.remedy)):
        text.append(f"  {what:>7}  ", "dim").append(f"{said}\n")
    if finding.setting:
        text.append(f"  {'change':>7}  ", "dim").append(f"{finding.setting}\n", "bold")
    return text


def _looked_at(facts: Facts) -> str:
    parts = [
        (len(facts.updates), "update"),
        (len(facts.held_out), "held-out measurement"),
        (len(facts.hardware), "hardware sample"),
        (len(facts.samples), "answer"),
    ]
    counts = ", ".join(f"{count:,} {name}{'' if count == 1 else 's'}" for count, name in parts)
    goes_on = "" if facts.ended else " The run goes on."
    return f"Looked at for {len(RULES)} symptoms: recipe, data summary, {counts}.{goes_on}"
