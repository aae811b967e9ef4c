"""Which layers are chosen, and the names that say so in adapter_config.json."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from torch import nn
from transformers import AutoModelForCausalLM

from lorafit.adapters.targets import in_and_out, kinds, linear_layers, select, shortest_names
from lorafit.errors import AdapterError

ATTENTION = {"q_proj", "k_proj", "v_proj", "o_proj"}
MLP = {"gate_proj", "up_proj", "down_proj"}


@pytest.fixture(scope="module")
def load(bases: Callable[[str], Path]) -> Callable[[str], Any]:
    return lambda family: AutoModelForCausalLM.from_pretrained(bases(family))


@pytest.fixture(scope="module")
def llama_model(load: Callable[[str], Any]) -> Any:
    return load("llama")


@pytest.fixture(scope="module")
def gpt2_model(load: Callable[[str], Any]) -> Any:
    return load("gpt2")


def last_names(model: Any, targets: str | list[str]) -> set[str]:
    chosen, unmatched = select(model, targets)
    assert not unmatched
    return {".".join(name.split(".")[-2:]) for name in chosen}


def test_all_linear_is_every_linear_layer_but_the_head(llama_model: Any, gpt2_model: Any) -> None:
    chosen, _ = select(llama_model, "all-linear")
    assert len(chosen) == 2 * 7
    assert {name.rpartition(".")[2] for name in chosen} == ATTENTION | MLP
    # GPT-2's layers are Conv1D, with weights the other way round.
    assert last_names(gpt2_model, "all-linear") == {"attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"}


def test_attention_and_its_queries_and_values(llama_model: Any, gpt2_model: Any) -> None:
    assert last_names(llama_model, "attention") == {f"self_attn.{name}" for name in ATTENTION}
    assert last_names(llama_model, "attention-qv") == {"self_attn.q_proj", "self_attn.v_proj"}
    assert last_names(gpt2_model, "attention") == {"attn.c_attn", "attn.c_proj"}
    assert last_names(gpt2_model, "attention-qv") == {"attn.c_attn"}


def test_a_list_is_a_choice_of_names_and_says_what_it_did_not_find(llama_model: Any) -> None:
    chosen, unmatched = select(llama_model, ["layers.1.mlp.up_proj", "q_proj", "c_attn", "proj"])
    assert chosen == [
        "model.layers.0.self_attn.q_proj",
        "model.layers.1.self_attn.q_proj",
        "model.layers.1.mlp.up_proj",
    ]
    assert unmatched == ["c_attn", "proj"]  # a name is matched whole


def test_a_single_name_or_a_regular_expression(llama_model: Any) -> None:
    assert last_names(llama_model, "q_proj") == {"self_attn.q_proj"}
    chosen, _ = select(llama_model, r".*\.1\..*\.[qv]_proj")
    assert chosen == ["model.layers.1.self_attn.q_proj", "model.layers.1.self_attn.v_proj"]


@pytest.mark.parametrize("targets", ["nothing", r".*\.nothing", ["nothing"], [], "q_pro"])
def test_when_nothing_matches_the_layers_are_listed_once_each(llama_model: Any, targets: str | list[str]) -> None:
    with pytest.raises(AdapterError, match=r"matches none of the linear layers") as caught:
        select(llama_model, targets)
    assert str(caught.value).count("model.layers.*.self_attn.q_proj") == 1
    assert "or all-linear" in str(caught.value)


def test_a_broken_regular_expression_is_said(llama_model: Any) -> None:
    with pytest.raises(AdapterError, match=r"'\(q_proj' is not a regular expression"):
        select(llama_model, "(q_proj")


def test_kinds_take_every_layer_number_out() -> None:
    assert kinds(["h.0.experts.1.up", "h.1.experts.0.up", "h.0.1.down"]) == ["h.*.experts.*.up", "h.*.*.down"]


def test_in_and_out(llama_model: Any, gpt2_model: Any) -> None:
    assert in_and_out(linear_layers(llama_model)["model.layers.0.mlp.up_proj"]) == (32, 44)
    assert in_and_out(linear_layers(gpt2_model)["transformer.h.0.mlp.c_fc"]) == (32, 76)


@pytest.mark.parametrize(
    ("family", "targets", "names"),
    [
        ("llama", "all-linear", sorted(ATTENTION | MLP)),
        ("llama", "attention-qv", ["q_proj", "v_proj"]),
        ("gpt2", "all-linear", ["c_attn", "c_fc", "c_proj"]),
        # c_proj is the name of a layer in the attention and of another behind it.
        ("gpt2", ["attn.c_proj"], ["attn.c_proj"]),
        ("gpt2", "attention", ["attn.c_attn", "attn.c_proj"]),
        ("llama", ["layers.1.mlp.up_proj"], ["1.mlp.up_proj"]),
    ],
)
def test_shortest_names_name_the_chosen_layers_and_no_others(
    load: Callable[[str], Any], family: str, targets: str | list[str], names: list[str]
) -> None:
    model = load(family)
    chosen, _ = select(model, targets)
    assert shortest_names(model, chosen) == names
    assert select(model, names)[0] == chosen


def test_where_endings_are_not_enough_whole_paths_are_named() -> None:
    def block() -> nn.Module:
        return nn.ModuleDict({"a": nn.ModuleDict({"b": nn.ModuleDict({"c": nn.Linear(2, 2)})})})

    model = nn.ModuleDict({"one": block(), "two": block()})
    assert shortest_names(model, ["one.a.b.c"]) == ["one.a.b.c"]
