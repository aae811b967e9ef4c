"""What `auto` leaves open is settled: usual values where they fit, else the fastest that fit, else what needs least."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from transformers import LlamaConfig

from lorafit.adapters.settings import AdapterSettings
from lorafit.errors import PlanError
from lorafit.model.settings import ModelSettings
from lorafit.plan import settle as settle_module
from lorafit.plan.answer import Plan
from lorafit.plan.devices import Device
from lorafit.plan.fit import Choice
from lorafit.plan.settle import FEWEST_TOKENS, TOKENS_PER_PASS, Question, best_fits, settle
from lorafit.plan.ways import Ways
from lorafit.records import Sample, Source
from lorafit.train.settings import TrainSettings

# Wide and flat: sizes cost nothing on meta tensors, operations do.
CONFIG = LlamaConfig(
    hidden_size=512,
    intermediate_size=1408,
    num_hidden_layers=1,
    num_attention_heads=8,
    vocab_size=4000,
    max_position_embeddings=4096,
)
CPU = Device("a CPU", "cpu", 8 * 10**9, 2e10, 5e11, True, 400_000_000, "made up")


def card(size: float, known: bool = False) -> Device:
    """size: bytes."""
    return Device("a card", "cuda", int(size), *((1e12, 1e14) if known else (None, None)), True, 1000, "made up")


def question(device: Device, model: dict[str, Any] | None = None, length: int = 512, **given: Any) -> Question:
    settings = ModelSettings(name="tiny", **(model or {}))
    adapter = given.pop("adapter", AdapterSettings(rank=4))
    samples = given.pop("samples", None)
    train = TrainSettings(**{"batch_size": 16, **given})
    return Question("tiny", CONFIG, settings, adapter, train, device, samples, length)


def samples(*lengths: int) -> list[Sample]:
    draw = np.random.default_rng(0)
    return [Sample(draw.integers(0, 256, n), np.arange(n) > 0, Source("drawn", i)) for i, n in enumerate(lengths)]


def needed(asked: Question, **changed: Any) -> int:
    return asked.plan(replace(asked.start(), **changed)).needed


def on_a_card(budget: float, **given: Any) -> tuple[Question, Choice, Plan]:
    asked = question(card(budget), **given)
    return asked, *settle(asked)


@pytest.fixture(autouse=True)
def ways_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small model is not built for every question; test_ways.py looks at that."""
    monkeypatch.setattr(settle_module, "ways_of", lambda config, remote_code: Ways(True, True, None))


ROOMY = question(card(1e12))
USUAL = TOKENS_PER_PASS["cuda"]


def test_usual_values_where_they_fit() -> None:
    asked, choice, plan = on_a_card(needed(ROOMY) / 0.91)
    assert choice == asked.start() == Choice("none", True, "none", USUAL, "adamw")
    assert plan.verdict == "yes"


def test_fewer_tokens_a_pass_come_before_computing_twice() -> None:
    _, choice, plan = on_a_card(needed(ROOMY, tokens_per_pass=2048) / 0.9)
    assert plan.verdict == "yes" and choice.recompute == "none"
    assert 1024 <= choice.tokens_per_pass < USUAL
    assert plan.settings["tokens_per_pass"] == choice.tokens_per_pass
    assert plan.settings["batch_size"] == 16 and plan.tokens == 16 * 512, "the examples of an update are never touched"


def test_no_other_that_fits_is_faster() -> None:
    asked = question(card(needed(ROOMY, tokens_per_pass=512, recompute="every-2") / 0.85, known=True))
    _, plan = settle(asked)
    assert plan.verdict == "yes" and plan.update_seconds is not None
    others = [
        asked.plan(replace(asked.start(), tokens_per_pass=tokens, recompute=policy))
        for tokens, policy in ((512, "none"), (512, "every-2"), (512, "layers"), (512, "offload"), (1024, "layers"))
    ]
    fitting = [other.update_seconds.middle for other in others if other.verdict == "yes" and other.update_seconds]
    assert fitting and plan.update_seconds.middle <= 1.02 * min(fitting)


def test_what_needs_least_is_what_a_refusal_is_about() -> None:
    asked, choice, plan = on_a_card(1e7)
    assert plan.verdict == "no"
    assert choice == replace(asked.start(), tokens_per_pass=512, recompute="offload")
    least = plan.needed
    assert least < needed(asked)
    _, choice, plan = on_a_card(least / 0.96)
    assert plan.verdict == "tight" and choice.recompute == "offload", "it runs, where nothing fits plainly"


@pytest.mark.parametrize(
    "given", [{"tokens_per_pass": 1000}, {"recompute": "attention"}, {"tokens_per_pass": 1000, "recompute": "none"}]
)
@pytest.mark.parametrize("budget", [1e7, 1e12])
def test_what_the_user_set_stays(given: dict[str, Any], budget: float) -> None:
    asked, choice, plan = on_a_card(budget, **given)
    for name, value in given.items():
        assert getattr(choice, name) == value and plan.settings[name] == value
    assert (choice.quantization, choice.optimizer, choice.rank, choice.max_length) == ("none", "adamw", None, None)
    if len(given) == 2:
        assert choice == asked.start()


def test_a_pass_is_as_long_as_the_longest_sample() -> None:
    """A longer sample has a row of its own: a smaller pass would save nothing and pack the others worse."""
    mixed = samples(900, *[40] * 30)
    asked = question(card(1e7), samples=mixed)
    assert asked.fewest_tokens() == 900
    assert question(card(1e7), samples=samples(20, 30)).fewest_tokens() == FEWEST_TOKENS
    assert question(card(1e7), samples=samples(*[5000] * 2)).fewest_tokens() == USUAL
    assert question(card(1e7), samples=mixed, tokens_per_pass=64).fewest_tokens() == 64
    policy = {"recompute": "layers"}
    assert asked.plan(replace(asked.start(), tokens_per_pass=256, **policy)).peak == pytest.approx(
        asked.plan(replace(asked.start(), tokens_per_pass=900, **policy)).peak, rel=0.05
    )
    choice, plan = settle(asked)
    assert choice.tokens_per_pass == 900 and plan.verdict == "no"


def test_a_whole_trace_is_made_of_what_is_told_only(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def counted(*given: Any) -> Any:
        made.append(given)
        return ANSWER(*given)

    ANSWER = settle_module.answer
    monkeypatch.setattr(settle_module, "answer", counted)
    on_a_card(1e12)
    on_a_card(1e7)
    assert len(made) == 2


def test_with_data_updates_are_counted_and_nothing_is_assumed() -> None:
    asked = question(CPU, samples=samples(*[100] * 40), epochs=2.0)
    assert asked.updates() == 6 and asked.assumptions == ()
    assert asked.tokens_of(asked.start()) == 1600
    assert asked.tokens_of(replace(asked.start(), max_length=50)) == 800
    without = question(CPU)
    assert without.updates() is None
    assert without.assumptions == ("16 examples of 512 tokens an update, all of them trained on",)


def test_types_are_those_of_the_device() -> None:
    old = replace(card(1e9), bfloat16=False)
    assert question(card(1e9)).dtype == torch.bfloat16 and question(old).dtype == torch.float16
    assert question(CPU).dtype == torch.bfloat16 and question(replace(CPU, bfloat16=False)).dtype == torch.float32
    assert question(old, model={"dtype": "float32"}).dtype == torch.float32


def test_longer_than_the_model_was_made_for() -> None:
    with pytest.raises(PlanError, match=r"data.max_length is 5,000 tokens, but tiny was made for 4,096"):
        question(CPU, length=5000)


def test_a_search_keeps_to_the_largest_pass() -> None:
    asked = question(card(1e12))
    start = replace(asked.start(), tokens_per_pass=512)
    assert best_fits(asked, [start])[0].choice.tokens_per_pass > 512
    assert {c.choice.tokens_per_pass for c in best_fits(asked, [start], 512)} == {512}
