"""The doctor as a sink: each finding once, at its time, in bounded memory."""

from __future__ import annotations

import itertools
from typing import Any

from tests.observe.rules.histories import facts, history

from lorafit.observe import live
from lorafit.observe.live import LiveDoctor
from lorafit.observe.rules.facts import Facts
from lorafit.observe.rules.finding import Finding
from lorafit.records import Event


def watch(run: Facts, beforehand: Facts, until: int | None = None, **settings: Any) -> tuple[list[Finding], list[Any]]:
    """What is said and written while the events of a run pass by."""
    said: list[Finding] = []
    written: list[Any] = []
    with LiveDoctor(beforehand, said.append, written.append, **settings) as doctor:
        measured = {line["update"]: line for line in run.held_out}
        for line in run.updates[:until]:
            doctor(Event("update", line))
            if line["update"] in measured:
                doctor(Event("held_out", measured[line["update"]]))
        doctor(Event("note", {"message": "ignored"}))
    return said, written


def test_a_healthy_run_is_not_spoken_of() -> None:
    for seed in range(3):
        said, written = watch(history(seed=seed), facts(ended=False))
        assert said == [] and written == [{"findings": []}], "the file says that someone looked"


def test_a_finding_is_said_once_and_while_it_matters() -> None:
    run = history(lambda spent: 1.5 + 3 * min(1, 10 * spent), None)
    said, written = watch(run, facts(ended=False), until=100)
    assert [finding.symptom for finding in said] == ["loss-diverging"]
    assert "update 50" in said[0].evidence, "at the first look after the harm was done"
    assert [one["symptom"] for one in written[-1]["findings"]] == ["loss-diverging"]


def test_what_needs_the_end_is_said_at_the_end() -> None:
    run = history(lambda spent: 3 - 1.2 * spent, lambda spent: 3 - 1.2 * spent)
    said, _ = watch(run, facts(ended=False))
    assert [finding.symptom for finding in said] == ["under-fitting"]


def test_what_was_said_before_the_run_is_not_said_again() -> None:
    few = facts(ended=False, planned=12, data={"training": {"samples": 64, "supervised_tokens": 6000}})
    assert [finding.symptom for finding in watch(history(updates=12), few)[0]] == ["too-few-updates"]
    said, written = watch(history(updates=12), few, known=["too-few-updates"])
    assert said == [] and written[-1]["findings"] != []


def test_a_run_that_goes_on_has_its_past() -> None:
    run = history(lambda spent: 1.5 + 3 * min(1, 10 * spent), None)
    past = facts(ended=False, updates=run.updates[:150])
    said: list[Finding] = []
    with LiveDoctor(past, said.append) as doctor:
        for line in run.updates[150:]:
            doctor(Event("update", line))
    assert f"began at {run.updates[0]['loss']:.3f} (update 1)" in said[0].evidence


def test_the_history_is_bounded_and_spans_the_run(monkeypatch: Any) -> None:
    monkeypatch.setattr(live, "LONGEST", 64)
    kept = live._Thinned(())
    for update in range(1, 1001):
        kept.add({"update": update})
    updates = [line["update"] for line in kept.lines]
    steps = {after - before for before, after in itertools.pairwise(updates)}
    assert len(updates) <= 64 and updates[0] == 1 and updates[-1] > 950 and len(steps) == 1
    with LiveDoctor(facts(), print) as doctor:
        for time in range(500):
            doctor(Event("hardware", {"time": time}))
    assert [sample["time"] for sample in doctor._hardware] == list(range(436, 500))
