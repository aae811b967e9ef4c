"""The guard around a small application: token, origin, headers, bounds."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from lorafit.studio import guard
from lorafit.studio.guard import StudioGuard

HERE = "http://127.0.0.1:8700"
OWN = {"origin": HERE}


def app(token: str = "", body_bytes: int = 100) -> Starlette:
    async def page(request: Request) -> PlainTextResponse:
        return PlainTextResponse(f"{request.method} {request.url.path} {await request.body()!r}")

    async def socket(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text("welcome")

    return Starlette(
        routes=[Route("/{path:path}", page, methods=["GET", "POST"]), WebSocketRoute("/ws", socket)],
        middleware=[Middleware(StudioGuard, token=token, body_bytes=body_bytes)],
    )


def client(token: str = "", base: str = HERE) -> TestClient:
    return TestClient(app(token), base_url=base, follow_redirects=False)


def logged_in(token: str = "s3cret") -> TestClient:
    entered = client(token)
    entered.get(f"/?token={token}")
    return entered


def is_open(opened: TestClient, headers: dict[str, str]) -> bool:
    try:
        with opened.websocket_connect("ws://127.0.0.1:8700/ws", headers=headers) as socket:
            return bool(socket.receive_text() == "welcome")
    except WebSocketDisconnect as refused:
        assert refused.code == 1008
        return False


@pytest.mark.parametrize("base", [HERE, "http://localhost:1", "http://[::1]:8700"])
def test_on_loopback_no_token_is_needed(base: str) -> None:
    assert client(base=base).get("/").status_code == 200
    assert client(base=base).post("/", headers={"origin": base}).status_code == 200


@pytest.mark.parametrize("base", ["http://evil.example", "http://127.0.0.1.evil.example", "http://192.168.1.2:8700"])
def test_a_name_of_another_machine_is_refused(base: str) -> None:
    assert client(base=base).get("/").status_code == 403
    assert client(base=base).post("/", headers={"origin": base}).status_code == 403


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:8701", "file://", "http://[", ""])
@pytest.mark.parametrize("token", ["", "s3cret"])
def test_another_origin_is_refused(origin: str, token: str) -> None:
    entered = logged_in(token) if token else client()
    for ask in (entered.get, entered.post):
        assert ask("/x", headers={"origin": origin}).status_code == 403
    assert not is_open(entered, {"origin": origin})
    assert is_open(entered, OWN)


@pytest.mark.parametrize("token", ["", "s3cret"])
def test_what_changes_something_has_to_have_an_origin(token: str) -> None:
    entered = logged_in(token) if token else client()
    assert entered.post("/x", content=b"1").status_code == 403
    assert entered.post("/x", content=b"1", headers=OWN).text == "POST /x b'1'"
    assert not is_open(entered, {})


def test_parts_are_not_given_to_pages_of_other_places() -> None:
    for site in ("cross-site", "same-site"):
        headers = {"sec-fetch-site": site, "sec-fetch-mode": "no-cors"}
        assert client().get("/download/x", headers=headers).status_code == 403
        assert client().get("/", headers={**headers, "sec-fetch-mode": "navigate"}).status_code == 200


def test_without_the_token_nothing_is_given() -> None:
    stranger = client("s3cret")
    assert stranger.get("/x").status_code == 401
    assert stranger.post("/x", headers=OWN).status_code == 401
    assert not is_open(stranger, OWN)
    page = stranger.get("/run/x?tab=1", headers={"accept": "text/html", "accept-language": "zh-CN"})
    assert (page.status_code, page.headers["content-type"]) == (401, "text/html; charset=utf-8")
    assert "此工作室需要令牌" in page.text and 'value="/run/x?tab=1"' in page.text
    assert (
        page.headers["referrer-policy"] == "same-origin" and "script-src" not in page.headers["content-security-policy"]
    )


def test_a_made_up_cookie_is_no_token() -> None:
    stranger = client("s3cret")
    for value in ("s3cret", "", "x"):
        for name in ("lorafit-studio-8700", "lorafit-studio-80"):
            stranger.cookies.set(name, value)
        assert stranger.get("/").status_code == 401


def test_the_token_in_the_address_becomes_a_cookie() -> None:
    entered = client("s3 crét")
    answer = entered.get("/run/名?tab=1&token=s3+cr%C3%A9t&tab=2")
    assert (answer.status_code, answer.headers["location"]) == (303, "/run/%E5%90%8D?tab=1&tab=2")
    assert answer.headers["referrer-policy"] == "no-referrer"
    kept = answer.headers["set-cookie"].lower()
    assert "httponly" in kept and "samesite=strict" in kept and "cr%c3" not in kept and "crét" not in kept
    assert entered.get("/run/x").status_code == 200
    assert entered.get("/x?token=again").headers["location"] == "/x"


def test_a_wrong_token_gives_no_cookie(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "WAIT_SECONDS", 0.0)
    stranger = client("s3cret")
    answer = stranger.get("/?token=S3CRET")
    assert (answer.status_code, answer.headers["location"]) == (303, "/") and "set-cookie" not in answer.headers
    answer = stranger.post("/login", data={"token": "wrong", "to": "/run/x"}, headers=OWN)
    assert answer.status_code == 401 and "That is not the token." in answer.text and "set-cookie" not in answer.headers


def test_the_form_lets_in_and_leads_on() -> None:
    entered = client("s3cret")
    answer = entered.post("/login", data={"token": "s3cret", "to": "/run/x"}, headers=OWN)
    assert (answer.status_code, answer.headers["location"]) == (303, "/run/x")
    assert entered.get("/run/x").status_code == 200


@pytest.mark.parametrize("target", ["//evil.example", "/\\evil.example", "http://evil.example", "", "/\r\nx: y"])
def test_the_form_leads_nowhere_else(target: str) -> None:
    answer = client("s3cret").post("/login", data={"token": "s3cret", "to": target}, headers=OWN)
    assert answer.headers["location"] == "/"


def test_the_form_shows_no_html_of_the_address() -> None:
    page = client("s3cret").get('/x?a="><script>', headers={"accept": "text/html"})
    assert "<script>" not in page.text


def test_the_form_of_another_place_is_refused() -> None:
    answer = client("s3cret").post("/login", data={"token": "s3cret"}, headers={"origin": "http://evil.example"})
    assert answer.status_code == 403 and "set-cookie" not in answer.headers


def test_guesses_are_slowed_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr(guard.asyncio, "sleep", sleep)
    guarded = StudioGuard(app(), "s3cret")

    async def guess() -> list[bool]:
        return [await guarded._is_right(given) for given in ["a"] * 12 + ["s3cret", "b"]]

    assert asyncio.run(guess()) == [False] * 12 + [True, False]
    assert waited == [0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 5.0, 5.0, 0.0]


def test_too_many_guesses_at_once_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "WAIT_SECONDS", 0.001)

    async def ask() -> list[int]:
        transport = httpx.ASGITransport(app("s3cret"))
        async with httpx.AsyncClient(transport=transport, base_url=HERE) as many:
            answers = await asyncio.gather(*[many.get("/?token=x") for _ in range(40)])
        return [answer.status_code for answer in answers]

    codes = asyncio.run(ask())
    assert set(codes) == {303, 429} and codes.count(303) < 20


def test_bodies_are_bounded() -> None:
    entered = client()
    assert entered.post("/", content=b"x" * 100, headers=OWN).status_code == 200
    assert entered.post("/", content=b"x" * 101, headers=OWN).status_code == 413
    unsaid = entered.post("/", content=iter([b"x" * 60] * 2), headers=OWN)  # without Content-Length
    assert unsaid.status_code == 413
    assert client("s3cret").post("/login", content=iter([b"x" * 3000] * 2), headers=OWN).status_code == 413


def test_every_answer_has_the_headers() -> None:
    for answer in (client().get("/"), client("s3cret").get("/"), client(base="http://evil.example").get("/")):
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
    content = client().get("/").headers["content-security-policy"]
    assert "connect-src 'self' ws://127.0.0.1:8700 wss://127.0.0.1:8700;" in content
    assert "frame-ancestors 'none'" in content and "https:" not in content
    assert "evil" not in client().get("/", headers={"host": "127.0.0.1; evil"}).headers["content-security-policy"]


@contextmanager
def served(token: str) -> Iterator[str]:
    config = uvicorn.Config(app(token), port=0, log_config=None, access_log=True, lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        thread.join(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


def test_no_log_shows_a_token(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "WAIT_SECONDS", 0.0)
    caplog.set_level(logging.DEBUG, "uvicorn")
    with served("s3cret") as address:
        for given in ("s3cret", "wrong-s3cret"):
            httpx.get(f"{address}/run?token={given}")
    requests = [record.getMessage() for record in caplog.records if record.name == "uvicorn.access"]
    assert len(requests) == 2 and "GET /run" in requests[0]
    assert not any("s3cret" in record.getMessage() for record in caplog.records if record.name.startswith("uvicorn"))
