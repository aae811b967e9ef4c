from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import transformers
from tests.conftest import LLAMA_LIKE
from tests.infer.engine.reference import assert_greedy, prompts

from lorafit.infer.engine import Engine, Request, Sampling


@pytest.fixture
def lengthened() -> Any:
    """A Llama whose rotary angles depend on the longest request of a row."""
    torch.manual_seed(0)
    rope = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**LLAMA_LIKE, rope_parameters=rope)).eval()


def test_a_model_that_cannot_be_decoded_in_rows_is_answered_by_generate(lengthened: Any, tokenizer: Any) -> None:
    said: list[str] = []
    engine = Engine(lengthened, tokenizer.decode, warn=said.append)
    assert len(said) == 1
    assert "rope type dynamic" in said[0]
    asked = prompts(5, 9, 40)
    pieces: list[str] = []
    whole, stopped, drawn, scored = engine.run(
        [
            Request(asked[0], 8, logprobs=1, on_text=pieces.append),
            Request(asked[0], 8, stop_ids=frozenset(range(512))),
            Request(asked[1], 8, sampling=Sampling(1.0, seed=3)),
            Request(asked[2], continuation=(7, 8)),
        ]
    )
    assert_greedy(lengthened, asked[0], whole.ids)
    assert (len(whole.ids), whole.reason, "".join(pieces)) == (8, "length", whole.text)
    assert [each.top[0][0] for each in whole.logprobs] == list(whole.ids)
    assert (stopped.ids, stopped.reason) == ((), "stop")
    (again,) = engine.run([Request(asked[1], 8, sampling=Sampling(1.0, seed=3))])
    assert again.ids == drawn.ids
    with torch.no_grad():
        expected = lengthened(torch.tensor([[*asked[2], 7]])).logits[0, -2:].log_softmax(-1)
    assert scored.logprob == pytest.approx(float(expected[0, 7] + expected[1, 8]), rel=1e-5)


def test_the_engine_and_the_fallback_draw_alike(load: Callable[[str], Any]) -> None:
    engine = Engine(load("llama"))
    slow = Engine(load("llama"))
    from lorafit.infer.engine.fallback import Fallback

    slow._fallback = Fallback(slow.model, slow.adapters)
    requests = [Request(p, 9, sampling=Sampling(1.2, 30, 0.9, 1.3, seed=4)) for p in prompts(5, 12)]
    assert [c.ids for c in engine.run(requests)] == [c.ids for c in slow.run(requests)]


def test_a_cancelled_request_ends_within_the_fallback_too(lengthened: Any, tokenizer: Any) -> None:
    engine = Engine(lengthened, tokenizer.decode)
    shown: list[str] = []

    def show(piece: str) -> None:
        shown.append(piece)
        handle.cancel()

    handle = engine.add(Request(prompts(5)[0], 50, on_text=show))
    while engine.pending:
        engine.step()
    assert handle.completion is not None
    assert handle.completion.reason == "cancelled"
    assert len(handle.completion.ids) < 50


def test_a_model_without_the_attention_interface_is_found_out(load: Callable[[str], Any]) -> None:
    """One that does not hand its keywords down, and one whose rows see one another."""
    model = load("llama")
    deaf = model.model.forward
    model.model.forward = lambda engine_pass=None, **others: deaf(**others)
    assert "engine_pass" in str(Engine(model).fallback)
    model = load("llama")
    blind = model.model.forward
    model.model.forward = lambda position_ids=None, **others: blind(**others)
    assert "other answers in a row" in str(Engine(model).fallback)
