"""A run folder read as it stands, while it is written or after it broke: what is missing is left out."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import yaml

from lorafit.observe.rules.facts import Facts
from lorafit.run import RunFolder

ENDED = ("finished", "failed", "interrupted")


def facts_of(run: RunFolder) -> Facts:
    """What the rules look at. Never raises for a file that is missing, broken or half-written."""
    metrics = read_lines(run.metrics)
    plan, status = _object(run.plan), _object(run.status)
    heartbeat = status.get("heartbeat")
    return Facts(
        recipe=_recipe(run.recipe),
        data=_object(run.data),
        updates=[line for line in metrics if "update" in line and "loss" in line],
        held_out=[line for line in metrics if "update" in line and "held_out_loss" in line],
        hardware=read_lines(run.path / "hardware.jsonl"),
        samples=read_lines(run.evaluation / "samples.jsonl"),
        planned=status.get("updates") or plan.get("updates"),
        trained=plan.get("trained"),
        parameters=plan.get("parameters"),
        status=status,
        silent_seconds=None if heartbeat is None else time.time() - heartbeat,
        ended=status.get("state") in ENDED,
    )


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The JSON objects of a file, a line each; none for a missing file. A line that is no object is left out: the last
    one may be half-written."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    # Not splitlines: JSON leaves the line breaks of Unicode as they are.
    return [content for line in text.split("\n") if (content := _parsed(line))]


def _object(path: Path) -> dict[str, Any]:
    try:
        return _parsed(path.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return {}


def _parsed(text: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _recipe(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8", errors="replace"))
    except (OSError, yaml.YAMLError):
        return {}
    return content if isinstance(content, dict) else {}
