"""The client against a server that times out, refuses, drops and answers nonsense."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from tests.data.generate.server import Server, serving

from lorafit.data.generate import Endpoint, Failure, Reply
from lorafit.data.generate.endpoint import retry_after
from lorafit.errors import DataError
from lorafit.records import Message

ASKED = (Message("system", "Be kind."), Message("user", "谁？"))
GOOD = Reply("米拉。", (100, 10), False)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving(lambda body: "米拉。") as server:
        yield server


def ask(server: Server, script: tuple[Any, ...] = (), **options: Any) -> tuple[Reply | Failure, Endpoint]:
    server.script[:] = script
    settings = options.pop("settings", {})
    endpoint = Endpoint(server.address, "small", settings, **{"first_wait": 0.001, "attempts": 3, **options})
    try:
        return endpoint.ask([ASKED], threading.Event())[0], endpoint
    finally:
        endpoint.close()


def test_the_body_and_the_key(server: Server) -> None:
    reply, _ = ask(server, settings={"temperature": 0.5, "max_tokens": None, "top_p": 0.9}, key="secret")
    assert reply == GOOD
    turns = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "谁？"}]
    assert server.asked == [{"model": "small", "temperature": 0.5, "top_p": 0.9, "messages": turns}]
    assert server.headers[0]["authorization"] == "Bearer secret"
    ask(server)
    assert "authorization" not in server.headers[1]


def test_usage_may_be_missing_and_an_answer_cut(server: Server) -> None:
    server.usage, server.finish = False, "length"
    assert ask(server)[0] == Reply("米拉。", None, True)


@pytest.mark.parametrize("fault", [429, 500, 503, "drop", "not json", "no choices", (429, {"Retry-After": "0"})])
def test_faults_are_asked_again(server: Server, fault: Any) -> None:
    reply, endpoint = ask(server, (fault, fault))
    assert (reply, endpoint.retries, len(server.asked)) == (GOOD, 2, 3)


def test_a_slow_answer_times_out(server: Server) -> None:
    reply, _ = ask(server, ("slow",) * 3, timeout=0.05)
    assert reply == Failure("timed out")
    assert len(server.asked) == 3


def test_attempts_end(server: Server) -> None:
    reply, _ = ask(server, (500,) * 9, key="secret")
    assert reply == Failure("HTTP 500: refused with 500: Bearer ***")
    assert len(server.asked) == 3


def test_a_wrong_request_is_not_repeated(server: Server) -> None:
    reply, _ = ask(server, (400,))
    assert isinstance(reply, Failure)
    assert "HTTP 400" in reply.reason
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (401, "API key"),
        (402, "balance"),
        (403, "may not"),
        (404, "/v1"),
        ((307, {"Location": "https://x/v1"}), "points"),
    ],
)
def test_useless_ones_stop_and_hide_the_key(server: Server, status: Any, said: str) -> None:
    with pytest.raises(DataError, match=said) as error:
        ask(server, (status,), key="secret")
    assert "secret" not in str(error.value)
    assert len(server.asked) == 1


def test_retry_after_holds_all_threads_back(server: Server) -> None:
    endpoint = Endpoint(server.address, "small", {}, first_wait=0.001)
    server.script[:] = [(429, {"Retry-After": "0.3"})]
    began = time.monotonic()
    threads = [threading.Thread(target=endpoint.ask, args=([ASKED], threading.Event())) for _ in range(2)]
    threads[0].start()
    while not server.asked:
        time.sleep(0.001)
    time.sleep(0.05)
    threads[1].start()
    threads[1].join()
    assert time.monotonic() - began >= 0.3
    threads[0].join()
    endpoint.close()
    assert len(server.asked) == 3


def test_a_long_pause_ends_the_run(server: Server) -> None:
    with pytest.raises(DataError, match="asks to wait 3600 seconds"):
        ask(server, ((429, {"Retry-After": "3600"}),))


def test_stopping_sends_nothing_more(server: Server) -> None:
    stopping = threading.Event()
    stopping.set()
    endpoint = Endpoint(server.address, "small", {})
    assert isinstance(endpoint.ask([ASKED], stopping)[0], Failure)
    endpoint.close()
    assert server.asked == []


@pytest.mark.parametrize(
    ("address", "said"), [("http://127.0.0.1:9/v1", "Is the server running"), ("localhost:8000/v1", "is no address")]
)
def test_wrong_addresses(address: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with pytest.raises(DataError, match=said):
        Endpoint(address, "small", {}).ask([ASKED], threading.Event())


def test_retry_after_reads_numbers_and_dates() -> None:
    assert retry_after("1.5") == 1.5
    assert retry_after(format_datetime(datetime.now(UTC) + timedelta(seconds=100))) == pytest.approx(100, abs=2)
    assert retry_after(format_datetime(datetime.now(UTC) - timedelta(seconds=100))) == 0
    assert retry_after("soon") is None
    assert retry_after(None) is None
