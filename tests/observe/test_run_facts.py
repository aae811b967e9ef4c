"""A run folder is read as it stands: half-written, broken or with files missing."""

from __future__ import annotations

import json
import time
from pathlib import Path

from lorafit.observe.run_facts import facts_of, read_lines
from lorafit.run import RunFolder


def test_a_half_written_last_line_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"update": 1, "loss": 2.0}\n\n[1]\n{"update": 2, "text": "a\u2028b"}\n{"upda', encoding="utf-8")
    assert read_lines(path) == [{"update": 1, "loss": 2.0}, {"update": 2, "text": "a\u2028b"}]
    path.write_bytes(b'{"update": 1}\n{"update": "\xe5\xb0')
    assert read_lines(path) == [{"update": 1}]
    assert read_lines(tmp_path / "missing.jsonl") == []


def test_an_empty_folder_has_no_facts(tmp_path: Path) -> None:
    facts = facts_of(RunFolder(tmp_path))
    assert (facts.recipe, facts.data, facts.updates, facts.status, facts.planned) == ({}, {}, [], {}, None)
    assert facts.silent_seconds is None and not facts.ended


def test_what_is_there_is_read(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.recipe.write_text("train:\n  learning_rate: 0.0002\n  epochs: 3.0\nadapter: {method: lora}\n")
    run.metrics.write_text(
        '{"update": 0, "held_out_loss": 4.0}\n{"update": 1, "loss": 3.0, "gradient_norm": 1}\n'
        '{"update": 2, "loss": null, "gradient_norm": null}\n'
    )
    run.plan.write_text(json.dumps({"trained": 7, "parameters": 70, "updates": 9}))
    run.write_status("running", update=2, updates=11)
    facts = facts_of(run)
    assert (facts.learning_rate, facts.setting("train.epochs"), facts.setting("train.missing.x")) == (2e-4, 3.0, None)
    assert facts.losses == [(1, 3.0)] and len(facts.updates) == 2 and facts.held_out_losses == [(0, 4.0)]
    assert (facts.planned, facts.trained, facts.parameters) == (11, 7, 70)
    assert facts.silent_seconds is not None and facts.silent_seconds < time.time() - 1 and not facts.ended
    run.recipe.write_text("train: [unclosed")
    run.plan.write_text('{"trained": ')
    assert facts_of(run).recipe == {} and facts_of(run).trained is None
