"""How a run ended, from its status and its last samples."""

from __future__ import annotations

from typing import Any

from tests.observe.rules.histories import facts, symptoms

from lorafit.observe.rules.table import examine

STATUS = {"state": "running", "update": 40, "updates": 188, "heartbeat": 1000.0, "message": ""}


def sample(available: float, time: float = 998.0) -> list[dict[str, Any]]:
    return [{"time": time, "resident_bytes": 30 * 2**30, "available_bytes": int(available * 2**30)}]


def silent(seconds: float = 300.0, **changes: Any) -> Any:
    return facts(**{"status": STATUS, "silent_seconds": seconds, "ended": False, **changes})


def test_a_run_that_failed_says_why() -> None:
    (finding,) = examine(facts(status={**STATUS, "state": "failed", "message": "Update 41 gave loss nan.\nLower it."}))
    assert finding.symptom == "run-failed" and "40 of 188" in finding.evidence and "loss nan. Lower" in finding.evidence
    assert symptoms(facts(status={**STATUS, "state": "finished"}, silent_seconds=1e6)) == []
    assert symptoms(facts(status={**STATUS, "state": "interrupted"}, silent_seconds=1e6)) == []


def test_a_run_that_was_killed() -> None:
    assert symptoms(silent()) == ["run-killed"]
    assert symptoms(silent(hardware=sample(20))) == ["run-killed"]
    assert symptoms(silent(20.0)) == [], "a heartbeat may be late"


def test_a_run_that_was_killed_for_memory() -> None:
    (finding,) = examine(silent(hardware=sample(0.4)))
    assert finding.symptom == "killed-for-memory" and finding.setting == "train.tokens_per_pass=1024"
    assert symptoms(silent(hardware=sample(0.4, time=100.0))) == ["run-killed"], "that was long before the end"
    assert symptoms(silent(10.0, hardware=sample(0.4))) == [], "full, but alive"
