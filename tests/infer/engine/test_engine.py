from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from tests.conftest import FAMILIES
from tests.infer.engine.reference import assert_greedy, greedy, prompts

from lorafit.errors import DataError, DoesNotFit
from lorafit.infer.engine import Completion, Engine, Request, Sampling

BEGINNING = list(range(40, 90))


@pytest.mark.parametrize("family", FAMILIES)
def test_each_request_is_answered_as_alone(load: Callable[[str], Any], family: str) -> None:
    """With and without a shared beginning, prompts in chunks of 64, and windows of 6 long passed."""
    model = load(family)
    engine = Engine(model, tokens_per_step=1)
    assert engine.fallback is None
    asked = prompts(5, 9, 90, 2, 7, beginning=BEGINNING) + prompts(3, 17, 40, 1)
    completions = engine.run([Request(p, max_new_tokens=8, logprobs=0) for p in asked])
    assert [c.shared_tokens for c in completions] == [50] * 5 + [0] * 4
    for prompt, completion in zip(asked, completions, strict=True):
        assert_greedy(model, prompt, completion.ids)
        assert_logprobs(model, prompt, completion)
    assert len({c.ids for c in completions}) > 3
    assert (engine.room.used, engine.pending) == (0, 0)


@torch.no_grad()
def assert_logprobs(model: Any, prompt: list[int], completion: Completion) -> None:
    """1e-5, relative to the largest."""
    ids = [each.id for each in completion.logprobs]
    logits = model(torch.tensor([prompt + ids[:-1]]), use_cache=False).logits[0, len(prompt) - 1 :]
    expected = logits.log_softmax(-1).gather(1, torch.tensor(ids)[:, None])[:, 0]
    got = torch.tensor([each.logprob for each in completion.logprobs])
    assert (got - expected).abs().max() <= 1e-5 * max(1, float(logits.abs().max()))


def test_bfloat16_stays_near_the_model_alone(load: Callable[[str], Any]) -> None:
    model = load("llama").bfloat16()
    engine = Engine(model)
    assert engine.fallback is None
    asked = prompts(5, 9, 30, beginning=[*BEGINNING, *BEGINNING])
    for prompt, completion in zip(asked, engine.run(Request(p, 6, logprobs=0) for p in asked), strict=True):
        ids = [each.id for each in completion.logprobs]
        with torch.no_grad():
            logits = model(torch.tensor([prompt + ids[:-1]])).logits[0, len(prompt) - 1 :].float()
        expected = logits.log_softmax(-1).gather(1, torch.tensor(ids)[:, None])[:, 0]
        assert (torch.tensor([each.logprob for each in completion.logprobs]) - expected).abs().max() < 0.1


def test_requests_join_and_leave_a_running_batch(load: Callable[[str], Any]) -> None:
    model = load("mistral")
    engine = Engine(model, max_running=3)
    asked = prompts(30, 4, 11, 2, 70, 9)
    lengths = [3, 14, 6, 9, 2, 11]
    handles, together = [], 0
    for prompt, length in zip(asked, lengths, strict=True):
        handles.append(engine.add(Request(prompt, max_new_tokens=length)))
        engine.step()
        together = max(together, *(len(slab.members) for slab in engine.room.slabs.values()))
    while engine.pending:
        engine.step()
    for handle, prompt, length in zip(handles, asked, lengths, strict=True):
        assert handle.completion is not None
        assert len(handle.completion.ids) == length
        assert_greedy(model, prompt, handle.completion.ids)
    assert together > 1
    assert engine.room.used == 0


def test_a_kept_beginning_is_computed_once_and_again_after_it_was_given_up(load: Callable[[str], Any]) -> None:
    model = load("llama")
    engine = Engine(model)
    engine.share(BEGINNING)
    engine.share(BEGINNING[:10])
    first, second = prompts(4, 6, beginning=BEGINNING)
    for prompt in (first, second):
        (done,) = engine.run([Request(prompt, 5)])
        assert done.shared_tokens == 0  # `run` looks for what its own requests share
        handle = engine.add(Request(prompt, 5))
        while engine.pending:
            engine.step()
        assert handle.completion is not None
        assert handle.completion.shared_tokens == 50  # the longer of the two that fit
        assert_greedy(model, prompt, handle.completion.ids)
        assert engine.room.used == 50
        engine.room.forget(list(engine.room.prefixes))
    engine.unshare(BEGINNING)
    handle = engine.add(Request(first, 2))
    while engine.pending:
        engine.step()
    assert handle.completion is not None
    assert handle.completion.shared_tokens == 10


def test_the_cache_stays_within_its_bytes(load: Callable[[str], Any]) -> None:
    """Room for two at a time: the others wait, all are answered, a kept beginning makes room."""
    model = load("llama")
    token_bytes = 2 * 2 * 2 * 8 * 4  # key and value, layers, heads, width, float32
    engine = Engine(model, cache_bytes=250 * token_bytes)
    assert engine.room.limit == 250
    engine.share(range(3, 100))
    most, running = 0, 0
    asked = [[*range(3, 100), 7], *prompts(20, 25, 30, 8, 40, 12)]
    handles = [engine.add(Request(prompt, max_new_tokens=9)) for prompt in asked]
    while engine.pending:
        engine.step()
        held = sum(slab.tokens for slab in engine.room.slabs.values())
        held += sum(p.segment.tokens for p in engine.room.prefixes if p.segment)
        most, running = max(most, engine.room.used), max(running, len(engine._running))
        assert held <= engine.room.used <= 250
    assert most > 100
    assert 1 < running < 6
    for handle, prompt in zip(handles, asked, strict=True):
        assert handle.completion is not None
        assert_greedy(model, prompt, handle.completion.ids)
    with pytest.raises(DoesNotFit, match="has 250"):
        engine.add(Request(prompts(100)[0], max_new_tokens=150))


def test_an_endless_iterable_is_taken_a_window_at_a_time(load: Callable[[str], Any], monkeypatch: Any) -> None:
    monkeypatch.setattr("lorafit.infer.engine.engine.WINDOW", 8)
    engine = Engine(load("llama"), max_running=4)
    taken = 0

    def endless() -> Iterator[Request]:
        nonlocal taken
        while True:
            taken += 1
            yield Request([5 + taken % 7, 9], max_new_tokens=1 + taken % 3)

    ended = [number for number, _ in zip((n for n, _ in engine.stream(endless())), range(50), strict=False)]
    assert len(set(ended)) == 50
    assert taken < 50 + 2 * 8 + 4


def test_completions_come_in_order_and_callbacks_as_they_end(load: Callable[[str], Any]) -> None:
    engine = Engine(load("llama"))
    ended: list[Completion] = []
    lengths = [9, 2, 5]
    done: list[int] = []
    requests = [Request(prompt, n, on_finish=ended.append) for prompt, n in zip(prompts(4, 4, 4), lengths, strict=True)]
    completions = engine.run(requests, done.append)
    assert [len(c.ids) for c in completions] == lengths
    assert [len(c.ids) for c in ended] == [2, 5, 9]
    assert sum(done) == 3


def test_a_cancelled_request_ends_with_what_it_has_and_the_others_go_on(load: Callable[[str], Any]) -> None:
    model = load("qwen2")
    engine = Engine(model, max_running=2)
    asked = prompts(6, 8, 5)
    handles = [engine.add(Request(prompt, max_new_tokens=10)) for prompt in asked]
    for _ in range(4):
        engine.step()
    handles[0].cancel()
    handles[2].cancel()  # it still waits
    while engine.pending:
        engine.step()
    stopped, whole, waited = (handle.completion for handle in handles)
    assert stopped and whole and waited
    assert (stopped.reason, len(stopped.ids)) == ("cancelled", 4)
    assert (waited.reason, waited.ids) == ("cancelled", ())
    assert whole.reason == "length"
    assert_greedy(model, asked[1], whole.ids)
    assert engine.room.used == 0


def test_an_answer_ends_at_its_stop_token_and_within_the_models_length(load: Callable[[str], Any]) -> None:
    model = load("gpt2")
    engine = Engine(model)
    (prompt,) = prompts(6)
    expected, _ = greedy(model, prompt, 8)
    first = expected.index(expected[5])
    ended, room, none = engine.run(
        [
            Request(prompt, 8, stop_ids=frozenset([expected[5]]), logprobs=0),
            Request([5] * 250, 32),
            Request([5] * 256, 32),
        ]
    )
    assert (list(ended.ids), ended.reason) == (expected[:first], "stop")
    assert len(ended.logprobs) == first + 1
    assert (len(room.ids), room.reason) == (6, "length")
    assert (none.ids, none.reason) == ((), "length")


@torch.no_grad()
def test_continuations_are_scored_as_the_whole_text_is(load: Callable[[str], Any]) -> None:
    """Many questions after the same examples, four answers each, in windows of one step."""
    model = load("gemma2")
    engine = Engine(model)
    questions = prompts(30, 41, 26, beginning=BEGINNING)
    options = prompts(1, 3, 2, 6)
    found = engine.run(Request(q, continuation=o, logprobs=2) for q in questions for o in options)
    assert {c.shared_tokens for c in found} == {len(q) - 1 for q in questions}
    for number, completion in enumerate(found):
        question, option = questions[number // 4], options[number % 4]
        logits = model(torch.tensor([question + option]), use_cache=False).logits[0, len(question) - 1 : -1]
        expected = logits.log_softmax(-1).gather(1, torch.tensor(option)[:, None]).sum()
        assert completion.logprob == pytest.approx(float(expected), rel=1e-5)
        assert completion.likeliest == (logits.argmax(-1).tolist() == option)
        assert [each.top[0][0] for each in completion.logprobs] == logits.argmax(-1).tolist()
    best, _ = greedy(model, questions[0], 3)
    assert [c.likeliest for c in engine.score(questions[0], [best, [*best[:2], 4]])] == [True, best[2] == 4]
    assert engine.room.used == 0


def test_equal_seeds_give_equal_answers_in_any_company(load: Callable[[str], Any]) -> None:
    model = load("llama")
    (prompt,) = prompts(12)
    warm = Sampling(temperature=1.5, top_k=40, top_p=0.95, seed=5)
    (alone,) = Engine(model).run([Request(prompt, 12, sampling=warm)])
    company = [Request(p, 20, sampling=Sampling(temperature=1.0)) for p in prompts(3, 40, 8)]
    same, other = Request(prompt, 12, sampling=warm), Request(prompt, 12, sampling=Sampling(1.5, 40, 0.95, seed=6))
    answers = Engine(model, tokens_per_step=1).run([*company, same, other])
    assert answers[3].ids == alone.ids
    assert answers[4].ids != alone.ids


def test_what_cannot_be_answered_is_said_at_once(load: Callable[[str], Any]) -> None:
    engine = Engine(load("llama"))
    with pytest.raises(DataError, match="empty prompt"):
        engine.add(Request([]))
    with pytest.raises(DataError, match=r"'law'.*none"):
        engine.add(Request([1], adapter="law"))
    with pytest.raises(DataError, match="decode"):
        engine.add(Request([1], stop=("x",)))
    with pytest.raises(DataError, match="256"):
        engine.add(Request([1] * 200, continuation=[2] * 100))
    with pytest.raises(ValueError, match="top_p 0"):
        Sampling(top_p=0)


def test_between_steps_the_model_is_as_it_was(load: Callable[[str], Any]) -> None:
    model = load("llama").train()
    engine = Engine(model)
    assert model.training
    engine.add(Request(prompts(5)[0], 4))
    engine.step()
    assert model.config._attn_implementation == "eager"
    assert not any("forward" in vars(module) for module in model.modules())
