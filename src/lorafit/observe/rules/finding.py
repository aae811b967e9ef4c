"""What a rule found, in plain words."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

Severity = Literal["fault", "warning", "note"]


@dataclass(frozen=True, slots=True)
class Case:
    """A symptom seen in one run. evidence: steps and figures; setting: the one change, as `key=value`, None where no
    setting would help."""

    severity: Severity
    evidence: str
    cause: str
    remedy: str
    setting: str | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """A case under its name. symptom: the id, which is also the name of its page in docs/doctor; title: in words."""

    symptom: str
    title: str
    severity: Severity
    evidence: str
    cause: str
    remedy: str
    setting: str | None


def to_json(findings: Iterable[Finding]) -> dict[str, Any]:
    """The content of findings.json, without its schema number, which `run.write_json` puts first."""
    return {"findings": [asdict(finding) for finding in findings]}
