"""The parts of a plan add up, the verdict turns where it should, and plan.json says what the plan says."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from tests.plan.test_settle import CPU, card, question, ways_known  # noqa: F401  a fixture

from lorafit.adapters.settings import AdapterSettings
from lorafit.plan.answer import ALLOCATOR, CONTEXT, HEAP, HEAP_LEAST, HEAP_SHARE, PLAIN_SHARE, replay, verdict_of
from lorafit.plan.clock import Band
from lorafit.plan.devices import Device
from lorafit.plan.report import lines
from lorafit.plan.simulate import WEIGHTS


@pytest.mark.parametrize("device", [card(8e9), replace(card(8e9), free_bytes=7 * 10**9), CPU], ids=lambda d: d.name)
def test_the_parts_are_what_is_needed(device: Device) -> None:
    asked = question(device)
    plan = asked.plan(asked.start())
    assert sum(plan.parts.values()) == plan.needed
    beside = {ALLOCATOR, CONTEXT, HEAP}
    assert sum(size for name, size in plan.parts.items() if name not in beside) == plan.peak
    assert plan.parts.get(CONTEXT, 0) == (device.context_bytes if device.free_bytes is None else 0)
    assert plan.budget == (device.free_bytes or device.memory_bytes)
    assert plan.margin == plan.budget - plan.needed
    if device.kind == "cpu":
        assert plan.parts[HEAP] == round(HEAP_SHARE * (plan.peak - plan.parts[WEIGHTS])) + HEAP_LEAST
        assert plan.reserved is None
    else:
        assert plan.reserved == plan.peak + plan.parts[ALLOCATOR]


@pytest.mark.parametrize(
    ("needed", "failed", "verdict"),
    [(920, False, "yes"), (921, False, "tight"), (1000, False, "tight"), (1001, False, "no"), (10, True, "no")],
)
def test_the_verdict_turns_at_its_edges(needed: int, failed: bool, verdict: str) -> None:
    assert PLAIN_SHARE == 0.92
    assert verdict_of({WEIGHTS: needed}, 1000, failed) == verdict


def test_the_heap_s_allowance_does_not_refuse() -> None:
    assert verdict_of({WEIGHTS: 900, HEAP: 600}, 1000, False) == "tight"
    assert verdict_of({WEIGHTS: 1001, HEAP: 600}, 1000, False) == "no"


def test_a_card_that_overflows_says_no() -> None:
    asked = question(card(1e9))
    needed = asked.plan(asked.start()).needed
    small = question(card(needed * 0.9))
    _, allocator = replay(small.job_of(small.start()), small.device)
    assert allocator is not None and allocator.failure is not None
    assert small.plan(small.start()).verdict == "no"


def test_what_is_free_is_free_beside_this_process() -> None:
    """A budget that holds all that is needed does not fail in the replay for a context that is there already."""
    asked = question(replace(card(1e12), free_bytes=10**12))
    needed = asked.plan(asked.start()).needed
    exact = question(replace(asked.device, free_bytes=needed + (64 << 20)))
    assert exact.plan(exact.start()).verdict != "no"


def test_plan_json_is_the_plan() -> None:
    asked = question(card(8e9, known=True))
    plan = asked.plan(asked.start())
    content = json.loads(json.dumps(plan.to_json(), allow_nan=False))
    for name in ("model", "device", "method", "verdict", "needed", "budget", "peak", "phase", "operation", "tokens"):
        assert content[name] == getattr(plan, name)
    assert content["parts"] == dict(plan.parts) and content["settings"] == dict(plan.settings)
    assert plan.update_seconds is not None
    assert content["update_seconds"] == {"low": plan.update_seconds.low, "high": plan.update_seconds.high}
    assert set(content["versions"]) == {"torch", "transformers", "peft", "bitsandbytes"}
    rate = plan.tokens_per_second()
    assert rate is not None and rate.low == plan.tokens / plan.update_seconds.high
    assert replace(plan, updates=10).run_seconds() == plan.update_seconds.times(10)
    assert plan.run_seconds() is None and replace(plan, update_seconds=None).tokens_per_second() is None


@pytest.mark.parametrize(
    ("method", "quantization", "name"),
    [
        ("none", "none", "full fine-tuning"),
        ("lora", "none", "LoRA"),
        ("lora", "nf4", "QLoRA (nf4)"),
        ("lora", "int8", "LoRA on 8 bits"),
    ],
)
def test_methods_have_their_names(method: str, quantization: str, name: str) -> None:
    asked = question(card(8e9), adapter=AdapterSettings(method=method), model={"quantization": quantization})
    plan = asked.plan(asked.start())
    assert plan.method == name
    assert (plan.trained == plan.parameters) == (method == "none")
    assert (WEIGHTS in plan.parts) and any("parameters are trained" in line for line in lines(plan))


def test_bands_are_turned_round() -> None:
    assert Band(2.0, 8.0).middle == 4.0
