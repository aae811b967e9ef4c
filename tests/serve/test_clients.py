"""Clients that go away, read slowly, wait too long, come in crowds, or may not ask."""

from __future__ import annotations

import socket
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import openai
import pytest

from tests.serve.conftest import Served, serving
from tests.serve.test_app import QUESTIONS, ask, chat

LONG = {"model": "law", "prompt": "Mira", "max_tokens": 250, "temperature": 1.9, "seed": 3}


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_goes_away_frees_its_slot(served: Served, stream: bool) -> None:
    worker = served.service.worker
    before, steps = served.service.figures.cancelled, worker.engine.steps
    with httpx.Client(base_url=served.url) as client:
        if stream:
            with client.stream("POST", "/v1/completions", json={**LONG, "stream": True}) as reply:
                next(reply.iter_bytes())
        else:
            with pytest.raises(httpx.ReadTimeout):
                client.post("/v1/completions", json=LONG, timeout=0.2)
    assert served.settled()
    for _ in range(100):
        if served.service.figures.cancelled > before:
            break
        time.sleep(0.01)
    assert served.service.figures.cancelled == before + 1
    assert worker.engine.steps - steps < 240 and worker.engine.room.used == 0


def test_a_client_that_does_not_read_holds_up_nobody(served: Served) -> None:
    host, port = served.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        body = b'{"model": "law", "prompt": "Mira", "max_tokens": 200, "temperature": 0, "stream": true}'
        head = f"POST /v1/completions HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
        slow.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[:20])
        assert chat(served, "med", QUESTIONS[0], 4).choices, "while the body is not whole"
        slow.sendall(body[20:])
        assert chat(served, "med", QUESTIONS[0], 4).choices
    assert served.settled()


def test_a_full_queue_and_a_late_answer(start: Any) -> None:
    with serving(start(running=1, queue=1, seconds=1.0)) as served:

        def one(number: int) -> int:
            reply = httpx.post(f"{served.url}/v1/completions", json={**LONG, "seed": number}, timeout=30)
            if reply.status_code != 200:
                assert reply.json()["error"]["message"]
            if reply.status_code == 429:
                assert reply.headers["retry-after"] == "1"
            return reply.status_code

        with ThreadPoolExecutor(6) as clients:
            codes = sorted(clients.map(one, range(6)))
        assert codes.count(429) == 4 and set(codes) <= {200, 429, 504} and 504 in codes, codes
        stream = served.client.completions.create(**LONG, stream=True)
        with pytest.raises(openai.APIError, match="was not ready within 1 seconds"):
            list(stream)
        assert served.settled()
        assert chat(served, "law", QUESTIONS[0], 2).choices
        with pytest.raises(openai.RateLimitError):
            chat(served, "law", QUESTIONS[0], 2, n=3)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_fault_in_a_step_takes_no_more_than_what_ran(start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(start()) as served:
        worker = served.service.worker
        right = chat(served, "law", QUESTIONS[0], 4).choices
        for stream in (False, True):
            engine = worker.engine
            monkeypatch.setattr(engine, "_compute", lambda *_: 1 / 0)
            with pytest.raises(openai.APIError, match="could not be computed"):
                list(chat(served, "law", QUESTIONS[0], 4, stream=stream))
            assert chat(served, "law", QUESTIONS[0], 4).choices == right
            assert worker.engine is not engine
        # No engine can be made again: the server says that it is of no use.
        monkeypatch.setattr(worker, "make_engine", lambda *_: 1 / 0)
        monkeypatch.setattr(worker.engine, "_compute", lambda *_: 1 / 0)
        with pytest.raises(openai.InternalServerError, match="could not be computed"):
            chat(served, "law", QUESTIONS[0], 4)
        worker._thread.join(5)
        assert httpx.get(f"{served.url}/health").status_code == 503
        with pytest.raises(openai.InternalServerError, match="shutting down"):
            chat(served, "law", QUESTIONS[0], 4)


def test_a_token_is_demanded(start: Any) -> None:
    with serving(start({}), token="geheim") as served:
        assert chat(served, "builtin", "Hello", 2).choices
        assert httpx.get(f"{served.url}/v1/models", headers={"authorization": "bearer geheim", "host": "x"}).is_success
        for key in ("", "Geheim", "geheim2", "gehei"):
            other = openai.OpenAI(base_url=f"{served.url}/v1", api_key=key or "none", max_retries=0)
            with pytest.raises(openai.AuthenticationError, match="token is missing or wrong"):
                other.chat.completions.create(model="builtin", messages=ask("Hello"))
        for path in ("/v1/models", "/metrics"):
            assert httpx.get(f"{served.url}{path}", headers={"authorization": "Basic geheim"}).status_code == 401
        assert httpx.get(f"{served.url}/health").is_success


def test_the_end_of_the_server_ends_what_runs(start: Any) -> None:
    service = start({})
    with serving(service) as served:
        stream = served.client.completions.create(**{**LONG, "model": "builtin", "max_tokens": 8}, stream=True)
        next(iter(stream))
    assert list(stream)[-1].choices[0].finish_reason, "what ran was finished"
    assert not service.worker.alive
