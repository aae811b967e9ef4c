"""The recipe against the data: each rule at both sides of its threshold."""

from __future__ import annotations

from typing import Any

import pytest
from tests.observe.rules.histories import DATA, PARAMETERS, TRAINED, history, recipe, symptoms

from lorafit.observe.rules.finding import Finding
from lorafit.observe.rules.table import before_a_run


def found(
    data: dict[str, Any] | None = None,
    planned: int = 188,
    trained: int | None = TRAINED,
    parameters: int | None = PARAMETERS,
    **settings: Any,
) -> list[Finding]:
    return before_a_run(recipe(**settings), {**DATA, **(data or {})}, planned, trained, parameters)


def only(*args: Any, **kwargs: Any) -> tuple[str, str | None]:
    (finding,) = found(*args, **kwargs)
    return finding.symptom, finding.setting


def rows(samples: int, tokens: int) -> dict[str, Any]:
    return {"training": {"samples": samples, "supervised_tokens": tokens}}


def test_a_common_recipe_is_nothing_to_remark() -> None:
    assert found() == [] and before_a_run(recipe(), {}, 188) == []


def test_too_few_updates() -> None:
    (finding,) = found(rows(91, 9100), 17, adapter__dropout=0.1)
    assert finding.symptom == "too-few-updates" and finding.setting == "train.batch_size=4"
    assert "91 rows × 3 epochs / 16 = 17 updates" in finding.evidence
    assert only(rows(20, 2000), 4, adapter__dropout=0.1)[1] == "train.epochs=10"
    assert only(rows(1000, 10**5), 20, train__max_updates=20)[1] == "train.max_updates=null"
    assert found(rows(91, 9100), 40, adapter__dropout=0.1) == []


def test_rank_against_data() -> None:
    assert only(rows(10**6, 2 * 10**8), adapter__rank=8, trained=20_000_000) == ("rank-too-small", "adapter.rank=64")
    assert found(rows(10**6, 10**8), adapter__rank=8, trained=20_000_000) == []
    large = {"adapter__rank": 64, "adapter__alpha": 128, "trained": 160_000_000}
    assert only(rows(1000, 50_000), **large) == ("rank-too-large", "adapter.rank=16")
    assert found(rows(1000, 400_000), **large) == [], "what LIMA's rows would feed"
    assert found(rows(1000, 5_000)) == [], "rank 16 is not worth a word"
    assert found(rows(10**6, 2 * 10**8), trained=None) == []


@pytest.mark.parametrize(
    ("variant", "rank", "alpha", "setting"),
    [
        ("plain", 16, 32, None), ("plain", 64, 16, None), ("rslora", 64, 64, None), ("plain", 64, 1, "128"),
        ("plain", 4, 256, "8"), ("rslora", 256, 512, "32"),
    ],
)  # fmt: skip
def test_alpha(variant: str, rank: int, alpha: float, setting: str | None) -> None:
    asked = {"adapter__variant": variant, "adapter__rank": rank, "adapter__alpha": alpha, "trained": None}
    assert found(**asked) == [] if setting is None else only(**asked) == ("alpha-far-off", f"adapter.alpha={setting}")


def test_weight_decay() -> None:
    assert only(train__weight_decay=50.0) == ("weight-decay-extreme", "train.weight_decay=0.01")
    assert found(train__weight_decay=0.1) == []
    assert only(train__weight_decay=0.3, planned=40_000)[0] == "weight-decay-extreme", "over a long run"


def test_targets() -> None:
    for few in ("v_proj", ["v_proj"], ["model.layers.0.self_attn.v_proj", "model.layers.1.self_attn.v_proj"]):
        assert only(adapter__targets=few) == ("targets-too-few", "adapter.targets=all-linear")
    for enough in ("all-linear", "attention-qv", ["q_proj", "v_proj"], "c_attn", r".*\.(q|v)_proj"):
        assert found(adapter__targets=enough) == []
    assert only(adapter__targets=["q_proj", "embed_tokens"])[0] == "targets-too-many"
    full = {"adapter__method": "none", "train__learning_rate": 2e-5}
    assert only(rows(500, 50_000), **full) == ("targets-too-many", "adapter.method=lora")
    assert found(rows(5000, 500_000), **full) == []
    assert found(rows(500, 50_000), parameters=3_000_000, **full) == []


def test_dropout() -> None:
    few = rows(150, 20_000)
    assert only(few, planned=60) == ("dropout-missing", "adapter.dropout=0.1")
    assert found(few, planned=60, adapter__dropout=0.05) == found(few, planned=60, train__epochs=2.0) == []
    assert symptoms(history(data={**DATA, **few})) == [], "the held-out loss says that it is not missed"


def test_answers_that_are_cut() -> None:
    assert only({"cut_within_answer": 50}) == ("answers-cut", "data.max_length=4096")
    assert found({"cut_within_answer": 300})[0].severity == "fault"
    assert found({"cut_within_answer": 5}) == []
    assert only({"cut_within_answer": 50, "max_length": 512})[1] == "data.too_long=drop", "the model's own limit"
