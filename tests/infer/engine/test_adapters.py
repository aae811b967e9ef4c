from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.infer.engine.reference import assert_greedy, prompts
from transformers import AutoModelForCausalLM

from lorafit.adapters.fast import make_fast
from lorafit.errors import AdapterError
from lorafit.infer.engine import Completion, Engine, Request

BEGINNING = list(range(200, 340))
WHO = [None, "law", "med", "law", None, "med", "law"]


def check(model: Any, adapter: str | None, prompt: list[int], completion: Completion) -> None:
    """Tokens margin-aware and log-probabilities within 1e-5, against PEFT with this adapter alone."""
    ids = [each.id for each in completion.logprobs]
    with torch.no_grad():
        if adapter is None:
            with model.disable_adapter():
                logits = model(input_ids=torch.tensor([prompt + ids[:-1]])).logits[0, len(prompt) - 1 :]
                assert_greedy(model, prompt, completion.ids)
        else:
            model.set_adapter(adapter)
            logits = model(input_ids=torch.tensor([prompt + ids[:-1]])).logits[0, len(prompt) - 1 :]
            assert_greedy(model, prompt, completion.ids)
    expected = logits.log_softmax(-1).gather(1, torch.tensor(ids)[:, None])[:, 0]
    got = torch.tensor([each.logprob for each in completion.logprobs])
    assert (got - expected).abs().max() <= 1e-5 * max(1, float(logits.abs().max()))


@pytest.mark.parametrize("family", ["llama", "qwen3", "gemma2", "gpt2", "phi3"])
@pytest.mark.parametrize("fast", [True, False])
def test_adapters_in_one_batch_answer_as_each_alone(load_tuned: Callable[..., Any], family: str, fast: bool) -> None:
    """Two adapters of other ranks and layers, and the base; some of the requests begin alike."""
    few = ["c_attn"] if family == "gpt2" else ["o_proj", "down_proj"]
    model = load_tuned(family, law={}, med={"r": 3, "target_modules": few, "use_rslora": True})
    if fast:
        make_fast(model)
    engine = Engine(model)
    assert engine.fallback is None
    asked = prompts(5, 9, 3, 20, beginning=BEGINNING) + prompts(6, 12, 4)
    completions = engine.run(Request(p, 6, adapter=a, logprobs=0) for p, a in zip(asked, WHO, strict=True))
    for prompt, adapter, completion in zip(asked, WHO, completions, strict=True):
        check(model, adapter, prompt, completion)
    assert [c.shared_tokens for c in completions] == [0, 140, 0, 140, 0, 0, 0]
    assert len({c.ids for c in completions}) > 3


@pytest.mark.parametrize("odd", [{"use_dora": True}, {"modules_to_save": ["lm_head"]}], ids=["dora", "trained head"])
def test_what_is_not_plain_lora_goes_through_peft(load_tuned: Callable[..., Any], odd: dict[str, Any]) -> None:
    model = load_tuned("even-llama", law={"target_modules": ["q_proj", "up_proj"]}, med=odd)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "modules_to_save.med" in name:
                parameter.add_(0.05 * torch.randn_like(parameter))
    model.set_adapter("law")
    trained = [parameter.requires_grad for parameter in model.parameters()]
    engine = Engine(model)
    assert [engine.adapters.needs_own_pass(name) for name in (None, "law", "med")] == [False, False, True]
    asked = prompts(5, 9, 3, 20, 6, 12, 4)
    completions = engine.run(Request(p, 6, adapter=a, logprobs=0) for p, a in zip(asked, WHO, strict=True))
    assert model.active_adapter == "law"
    assert [parameter.requires_grad for parameter in model.parameters()] == trained
    for prompt, adapter, completion in zip(asked, WHO, completions, strict=True):
        check(model, adapter, prompt, completion)


def test_adapters_come_and_go_while_others_are_answered(load_tuned: Callable[..., Any], tmp_path: Path) -> None:
    model = load_tuned("llama", law={}, med={"r": 8})
    model.save_pretrained(tmp_path)
    engine = Engine(model)
    engine.share(BEGINNING, "med")
    (long,), (short,), (begun,) = prompts(9), prompts(5), prompts(4, beginning=BEGINNING)
    stays, goes = engine.add(Request(long, 12, "law", logprobs=0)), engine.add(Request(begun, 12, "med"))
    engine.step()
    model.load_adapter(tmp_path / "med", "new")
    joins = engine.add(Request(short, 6, "new", logprobs=0))
    engine.step()
    model.delete_adapter("med")
    while engine.pending:
        engine.step()
    assert stays.completion and goes.completion and joins.completion
    assert (goes.completion.reason, len(goes.completion.ids)) == ("cancelled", 2)
    assert engine.room.used == 0
    check(model, "law", long, stays.completion)
    check(model, "new", short, joins.completion)
    model.merge_adapter(["law"])
    with pytest.raises(AdapterError, match="law is merged"):
        engine.step()


def test_an_adapter_that_was_trained_further_answers_anew(load_tuned: Callable[..., Any]) -> None:
    """Also where its weights were cast for the products."""
    model = load_tuned("llama", law={}, med={})
    for name, parameter in model.named_parameters():
        if "lora_" not in name:
            parameter.data = parameter.data.bfloat16()
    asked = [
        Request(prompt, 6, adapter, logprobs=0) for prompt, adapter in zip(prompts(5, 9), ("law", "med"), strict=True)
    ]
    engine = Engine(model)
    before = engine.run(asked)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B.law" in name:
                parameter.mul_(-1)
    engine.step()
    after = engine.run(asked)
    assert [c.logprobs for c in after] == [c.logprobs for c in Engine(model).run(asked)]
    assert after[0].logprobs != before[0].logprobs
    assert after[1].logprobs == before[1].logprobs


def test_the_base_of_a_tuned_model_is_the_plain_base(load_tuned: Callable[..., Any], bases: Any) -> None:
    plain = AutoModelForCausalLM.from_pretrained(bases("llama"), attn_implementation="eager").eval()
    (prompt,) = prompts(9)
    (base,) = Engine(load_tuned("llama", law={})).run([Request(prompt, 8)])
    assert_greedy(plain, prompt, base.ids)
