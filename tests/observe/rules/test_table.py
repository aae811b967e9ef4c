"""The table as a whole: silent on healthy runs, in step with its pages, and with settings that a recipe takes."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from tests.observe.rules.histories import facts, history, recipe, symptoms
from tests.observe.rules.test_machine import samples

from lorafit.observe.rules.facts import Facts
from lorafit.observe.rules.finding import Finding, to_json
from lorafit.observe.rules.table import RULES, examine
from lorafit.recipe import load_recipe

PAGES = Path(__file__).parents[3] / "docs" / "doctor"


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("noise", [0.02, 0.15, 0.5])
def test_a_healthy_run_yields_no_finding(seed: int, noise: float) -> None:
    updates = (60, 188, 700)[seed % 3]
    run = history(noise=noise, seed=seed, updates=updates, hardware=samples(18, utilization=0.9, temperature_c=70))
    assert symptoms(run) == []
    assert symptoms(history(held_out=None, noise=noise, seed=seed, updates=updates)) == []


@pytest.mark.parametrize("seed", range(5))
def test_a_healthy_run_yields_no_finding_on_its_way(seed: int) -> None:
    run = history(seed=seed)
    for done in range(1, len(run.updates), 7):
        held_out = [line for line in run.held_out if line["update"] <= done]
        assert symptoms(facts(updates=run.updates[:done], held_out=held_out, ended=False)) == []


def test_every_rule_has_a_page_and_every_page_a_rule() -> None:
    ids = [rule.symptom for rule in RULES]
    assert len(set(ids)) == len(ids)
    assert sorted(ids) == sorted(page.stem for page in PAGES.glob("*.md") if page.stem != "README")
    index = (PAGES / "README.md").read_text(encoding="utf-8")
    for rule in RULES:
        text = (PAGES / f"{rule.symptom}.md").read_text(encoding="utf-8")
        assert text.startswith(f"# {rule.title}\n") and f"]({rule.symptom}.md)" in index
        for heading in ("How it looks", "What it means", "How the rule sees it", "What to change", "When it is no"):
            assert f"**{heading}" in text, (rule.symptom, heading)


def test_a_rule_comes_after_those_that_it_gives_way_to() -> None:
    above: set[str] = set()
    for rule in RULES:
        assert set(rule.unless) <= above, rule.symptom
        above.add(rule.symptom)


def test_nothing_known_is_nothing_found() -> None:
    assert examine(Facts()) == [] and examine(Facts(ended=True, planned=3)) == []


def test_settings_are_a_recipe_s_own() -> None:
    runs = [
        facts(data={"training": {"samples": 91, "supervised_tokens": 9000}}, planned=17),
        facts(recipe=recipe(train__learning_rate=1.0, train__weight_decay=9.0, adapter__alpha=0.1), updates=()),
        facts(recipe=recipe(adapter__targets="v_proj", adapter__rank=512)),
        facts(data={"training": {"samples": 91}, "max_length": 64, "cut_within_answer": 50}),
        history(lambda spent: 2.0, lambda spent: 2.0),
        history(lambda spent: 1.5 + 3 * min(1, 10 * spent), None),
    ]
    findings = [finding for run in runs for finding in examine(run)]
    settings = {finding.setting for finding in findings} - {None}
    assert len(settings) >= 8
    for setting in settings:
        load_recipe(None, ["model.name=builtin", "data.train=builtin", str(setting)])


def test_findings_as_json() -> None:
    finding = Finding("loss-flat", "title", "note", "evidence", "cause", "remedy", None)
    assert to_json([finding]) == {
        "findings": [
            {
                "symptom": "loss-flat", "title": "title", "severity": "note", "evidence": "evidence", "cause": "cause",
                "remedy": "remedy", "setting": None,
            }
        ]
    }  # fmt: skip


def test_a_look_at_a_long_run_is_cheap() -> None:
    run = history(updates=4000)
    began = time.process_time()
    examine(run)
    assert time.process_time() - began < 10, "a tenth of a second on an idle machine"
