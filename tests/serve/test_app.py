"""The server as OpenAI's client sees it."""

from __future__ import annotations

import json
import math
import random
import re
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import openai
import pytest

from tests.serve.conftest import Served

MODELS = ["builtin", "law", "med"]
QUESTIONS = ["Where does Mira live?", "米拉住在哪里?", "Who keeps the lighthouse?", "What is for sale?", "再见。"]
Offline = Callable[[str, str, int], str]


def ask(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]


def chat(served: Served, model: str, text: str, tokens: int = 16, **settings: Any) -> Any:
    return served.client.chat.completions.create(
        model=model, messages=ask(text), max_tokens=tokens, temperature=settings.pop("temperature", 0), **settings
    )


def test_each_adapter_is_a_model_beside_the_base(served: Served) -> None:
    assert [model.id for model in served.client.models.list()] == MODELS
    law = served.client.models.retrieve("law").model_dump()
    assert (law["parent"], law["owned_by"]) == ("builtin", "lorafit")
    with pytest.raises(openai.NotFoundError, match="no model 'nobody' here; there are: builtin, law, med"):
        chat(served, "nobody", "Hello")


def test_sixteen_clients_at_once_are_answered_as_offline(served: Served, offline: Offline) -> None:
    """Streamed and whole, all models in one batch."""

    def one(number: int) -> tuple[str, str, str]:
        model, question = MODELS[number % 3], QUESTIONS[number % 5]
        if number % 2:
            stream = chat(served, model, question, stream=True)
            return model, question, "".join(chunk.choices[0].delta.content or "" for chunk in stream)
        return model, question, chat(served, model, question).choices[0].message.content

    with ThreadPoolExecutor(16) as clients:
        said = list(clients.map(one, range(32)))
    for model, question, answer in said:
        assert answer == offline(model, question, 16), (model, question)
    assert len({answer for _, _, answer in said}) > 8


def test_a_stream_says_what_the_whole_answer_does(served: Served) -> None:
    whole = chat(served, "law", QUESTIONS[0], logprobs=True, top_logprobs=2)
    settings = {"stream": True, "stream_options": {"include_usage": True}, "logprobs": True, "top_logprobs": 2}
    chunks = list(chat(served, "law", QUESTIONS[0], **settings))
    assert [len(chunk.choices) for chunk in chunks] == [1] * (len(chunks) - 1) + [0]
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(c.choices[0].delta.content or "" for c in chunks[:-1]) == whole.choices[0].message.content
    assert chunks[-2].choices[0].finish_reason == whole.choices[0].finish_reason
    assert chunks[-2].choices[0].logprobs.model_dump() == whole.choices[0].logprobs.model_dump()
    assert chunks[-1].usage == whole.usage
    assert {chunk.id for chunk in chunks} == {chunks[0].id} and chunks[0].id.startswith("chatcmpl-")
    assert len(chunks) > 4, "pieces come while it is decoded"


def test_logprobs_are_those_of_the_tokens(served: Served) -> None:
    choice = chat(served, "med", QUESTIONS[0], logprobs=True, top_logprobs=3).choices[0]
    content = choice.logprobs.content
    assert "".join(each.token for each in content).strip() == choice.message.content
    for each in content:
        assert each.logprob == pytest.approx(each.top_logprobs[0].logprob), "greedy takes the likeliest"
        assert len(each.top_logprobs) == 3 and sum(math.exp(top.logprob) for top in each.top_logprobs) <= 1.0001
        assert bytes(each.bytes).decode() == each.token
    plain = served.client.completions.create(model="med", prompt="Mira", max_tokens=4, temperature=0, logprobs=2)
    found = plain.choices[0].logprobs
    assert "".join(found.tokens) == plain.choices[0].text
    assert [
        plain.choices[0].text[start:][: len(t)] for start, t in zip(found.text_offset, found.tokens, strict=True)
    ] == found.tokens
    assert all(
        len(top) == 2 and top[token] == value
        for top, token, value in zip(found.top_logprobs, found.tokens, found.token_logprobs, strict=True)
    )


def test_seed_n_and_temperature(served: Served) -> None:
    def drawn(seed: int | None) -> list[str]:
        reply = chat(served, "law", QUESTIONS[0], 12, temperature=1.5, n=4, seed=seed, top_p=0.95)
        assert [choice.index for choice in reply.choices] == [0, 1, 2, 3]
        assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens
        return [choice.message.content for choice in reply.choices]

    first = drawn(7)
    assert drawn(7) == first and len(set(first)) > 1
    assert drawn(8) != first
    pieces: dict[int, str] = {}
    for chunk in chat(served, "law", QUESTIONS[0], 12, temperature=1.5, n=4, seed=7, top_p=0.95, stream=True):
        for choice in chunk.choices:
            pieces[choice.index] = pieces.get(choice.index, "") + (choice.delta.content or "")
    assert [pieces[number] for number in range(4)] == first


def test_stop_texts_and_lengths(served: Served) -> None:
    whole = chat(served, "builtin", QUESTIONS[0], 32)
    text = whole.choices[0].message.content
    word = text.split()[2]
    cut = chat(served, "builtin", QUESTIONS[0], 32, stop=["never there", word])
    assert (cut.choices[0].message.content, cut.choices[0].finish_reason) == (text[: text.index(word)].strip(), "stop")
    stream = chat(served, "builtin", QUESTIONS[0], 32, stop=word, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == cut.choices[0].message.content
    short = chat(served, "builtin", QUESTIONS[0], 2)
    assert (short.choices[0].finish_reason, short.usage.completion_tokens) == ("length", 2)
    newer = served.client.chat.completions.create(
        model="builtin", messages=ask(QUESTIONS[0]), max_completion_tokens=2, temperature=0
    )
    assert newer.choices == short.choices


def test_plain_completions_take_texts_and_tokens(served: Served) -> None:
    tokenizer = served.service.catalogue.first.renderer.tokenizer
    texts = ["Mira lives", "The harbour"]
    ids = [tokenizer(text).input_ids for text in texts]
    settings: dict[str, Any] = {"model": "law", "max_tokens": 6, "temperature": 0}
    create = served.client.completions.create
    both = create(prompt=texts, **settings)
    assert [choice.text for choice in create(prompt=ids, **settings).choices] == [c.text for c in both.choices]
    assert create(prompt=ids[1], **settings).choices[0].text == both.choices[1].text
    assert both.usage.prompt_tokens == sum(map(len, ids))
    assert (
        "".join(chunk.choices[0].text for chunk in create(prompt=texts[0], stream=True, **settings))
        == both.choices[0].text
    )
    with pytest.raises(openai.BadRequestError, match="token ids are from 0 to"):
        create(prompt=[10**6], **settings)
    with pytest.raises(openai.BadRequestError, match="nothing to go on from"):
        create(prompt="", **settings)


def test_parts_and_system_messages(served: Served) -> None:
    parts = [{"type": "text", "text": "Where does "}, {"type": "text", "text": "Mira live?"}]
    system = {"role": "developer", "content": "Answer."}
    create = served.client.chat.completions.create
    settings: dict[str, Any] = {"model": "law", "max_tokens": 8, "temperature": 0}
    joined = create(messages=[system, {"role": "user", "content": parts}], **settings)
    assert (
        joined.choices
        == create(messages=[{**system, "role": "system"}, *ask("Where does Mira live?")], **settings).choices
    )
    with pytest.raises(openai.BadRequestError) as error:
        create(messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}], **settings)
    assert error.value.param == "messages"


@pytest.mark.parametrize(
    ("settings", "param", "message"),
    [
        ({"n": 5}, "n", "at most 4"),
        ({"max_tokens": 257}, "max_tokens", "more than the 256"),
        ({"stop": ["a"] * 17}, "stop", "at most 16"),
        ({"temperature": -1}, "temperature", "greater than or equal to 0"),
        ({"top_p": 0}, "top_p", "greater than 0"),
        ({"top_logprobs": 2}, "top_logprobs", "logprobs=true"),
        ({"presence_penalty": 1}, None, "presence_penalty is not supported"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, None, "tools is not supported"),
        ({"response_format": {"type": "json_object"}}, None, "response_format is not supported"),
        ({"messages": ask("word " * 4000)}, "messages", "the answer included"),
        ({"messages": []}, "messages", "at least 1 item"),
    ],
)
def test_what_cannot_be_done_is_said(served: Served, settings: dict[str, Any], param: str | None, message: str) -> None:
    asked = {"model": "law", "messages": ask("Hello"), "max_tokens": 4, **settings}
    with pytest.raises(openai.BadRequestError, match=re.escape(message)) as error:
        served.client.chat.completions.create(**asked)
    assert error.value.param == param and error.value.type == "invalid_request_error"


COMPLETIONS = ["/v1/chat/completions", "/v1/completions"]
NO_BODIES = [
    b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b"[" * 50_000, b'{"model": NaN}', b'{"model":"\\ud800"}',
]  # fmt: skip
ANYTHING: list[Any] = [
    None, True, False, 0, -1, 1, 3, 1.5, 1e308, -1e308, 2**63, 10**30, "", "x", "\u0000", "\ud7ff", [], [[]], {},
    [1], ["a"], [None], ask("a"), [{"role": "user"}], {"type": "text"}, [[1, 2], [3]], [-1], [[0, 10**9]], [True],
    {"include_usage": 5}, [{"role": 1, "content": {}}],
]  # fmt: skip
FIELDS = [
    "model", "messages", "prompt", "max_completion_tokens", "temperature", "top_p", "top_k", "n", "seed", "stop",
    "stream", "stream_options", "logprobs", "top_logprobs", "repetition_penalty", "user", "logit_bias", "echo", "tools",
]  # fmt: skip


def test_malformed_bodies_are_never_a_server_error(served: Served) -> None:
    """Any JSON in any field, and no JSON at all."""
    draw = random.Random(0)
    good = {"model": "law", "messages": ask("Hi"), "prompt": "Hi", "max_tokens": 1, "temperature": 0}
    posts = [(path, raw) for raw in NO_BODIES for path in COMPLETIONS]
    for number in range(160):
        changed = {field: draw.choice(ANYTHING) for field in draw.sample(FIELDS, draw.choice([1, 1, 2, 3]))}
        posts.append((COMPLETIONS[number % 2], json.dumps({**good, **changed}).encode()))
    for path in ("/v1/adapters", "/v1/load_lora_adapter", "/v1/unload_lora_adapter"):
        for value in ANYTHING:
            body = {"name": value, "path": value, "lora_name": value, "lora_path": value}
            posts.append((path, json.dumps(body).encode()))
    seen = Counter[int]()
    with httpx.Client(base_url=served.url, headers={"content-type": "application/json"}, timeout=30) as client:
        for path, raw in posts:
            reply = client.post(path, content=raw)
            seen[reply.status_code] += 1
            assert reply.status_code in (200, 400, 404), (path, raw, reply.text)
            if reply.status_code != 200:
                assert set(reply.json()["error"]) == {"message", "type", "param", "code"}
            elif reply.headers["content-type"].startswith("text/event-stream"):
                assert reply.text.endswith("data: [DONE]\n\n"), (raw, reply.text)
    assert min(seen[200], seen[400]) > 20 and seen[404]
    assert [model.id for model in served.client.models.list()] == MODELS
    assert served.settled()


def test_requests_that_are_no_questions(served: Served) -> None:
    with httpx.Client(base_url=served.url) as client:
        for reply, status in [
            (client.get("/nothing"), 404),
            (client.get("/v1/chat/completions"), 405),
            (client.post("/v1/chat/completions", content=b"{}", headers={"content-type": "text/plain"}), 415),
            (client.post("/v1/completions", content=b" " * 70_000, headers={"content-type": "application/json"}), 413),
            (
                client.post(
                    "/v1/completions", content=iter([b" " * 40_000] * 2), headers={"content-type": "application/json"}
                ),
                413,
            ),
            (client.get("/v1/models", headers={"host": "evil.example"}), 403),
            (client.get("/v1/models", headers={"origin": "http://evil.example"}), 403),
        ]:
            assert reply.status_code == status and reply.json()["error"]["message"], reply.text
        assert client.get("/v1/models", headers={"host": "localhost:1", "origin": "http://[::1]:3"}).status_code == 200
        assert client.get("/health").json() == {"status": "ok"}


def test_metrics_count(served: Served) -> None:
    def figures() -> dict[str, float]:
        text = httpx.get(f"{served.url}/metrics").text
        lines = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
        return {name: float(value) for name, _, value in lines}

    before = figures()
    usage = chat(served, "med", "Hello there", 5).usage
    with pytest.raises(openai.NotFoundError):
        chat(served, "nobody", "Hello")
    after = figures()

    def grown(name: str) -> float:
        return after[name] - before.get(name, 0)

    assert grown('lorafit_requests_total{endpoint="chat",model="med",status="200"}') == 1
    assert grown('lorafit_requests_total{endpoint="chat",model="",status="404"}') == 1
    assert grown('lorafit_tokens_in_total{model="med"}') == usage.prompt_tokens
    assert grown('lorafit_tokens_out_total{model="med"}') == usage.completion_tokens
    assert grown("lorafit_request_seconds_count") == 2 == grown('lorafit_request_seconds_bucket{le="+Inf"}')
    assert after["lorafit_adapters_loaded"] == 2 and after["lorafit_running"] == after["lorafit_waiting"] == 0
