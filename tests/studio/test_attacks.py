"""What a hostile page, a stranger or a crafted file tries, against guard, downloads and uploads together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from lorafit.run import RunFolder
from lorafit.studio import guard
from lorafit.studio.download import routes
from lorafit.studio.guard import StudioGuard
from lorafit.studio.refusal import StudioError
from lorafit.studio.workspace import Workspace

HERE = "http://127.0.0.1:8700"
SECRET = "what nobody may read"
# The way out of uploads/, runs/NAME/ or exports/NAME/KIND/ to the secret beside the workspace.
UP = "../../../../secret.json"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    (tmp_path / "secret.json").write_text(SECRET)
    workspace = Workspace(tmp_path / "w", upload_bytes=1000)
    run = RunFolder.create(workspace.runs / "mine")
    for file in (run.recipe, run.report):
        file.write_text("mine")
    (workspace.uploads / "link.json").symlink_to(tmp_path / "secret.json")
    (workspace.runs / "link").symlink_to(tmp_path)
    (workspace.exports / "mine").symlink_to(tmp_path)
    return workspace


def studio(workspace: Workspace, token: str = "") -> TestClient:
    """The guard and the downloads around a page that changes something, an upload and a websocket."""

    async def upload(request: Request) -> PlainTextResponse:
        try:
            path = await workspace.save_upload(request.query_params["name"], request.stream())
        except StudioError as error:
            return PlainTextResponse(str(error), 400)
        return PlainTextResponse(workspace.shown(path))

    async def socket(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text("welcome")

    application = Starlette(
        routes=[*routes(workspace), Route("/upload", upload, methods=["POST"]), WebSocketRoute("/ws", socket)],
        middleware=[Middleware(StudioGuard, token=token, body_bytes=2000)],
    )
    return TestClient(application, base_url=HERE, follow_redirects=False)


def answers(client: TestClient, origin: str | None) -> bool:
    headers = {} if origin is None else {"origin": origin}
    try:
        with client.websocket_connect("ws://127.0.0.1:8700/ws", headers=headers) as opened:
            return bool(opened.receive_text() == "welcome")
    except WebSocketDisconnect:
        return False


WAYS = [UP, quote(UP, safe=""), quote(quote(UP, safe=""), safe=""), UP.replace("/", "\\"), UP.replace("/", "%5c")]
WAYS += ["/etc/passwd", "%2fetc%2fpasswd", "link", "link/secret.json", "..", "%2e%2e", "....//secret.json", "x%00"]


@pytest.mark.parametrize("way", WAYS)
def test_no_address_leads_out(workspace: Workspace, way: str) -> None:
    client = studio(workspace)
    assert client.get("/download/run/mine/report.html").text == "mine"
    for place in ("run/mine", "run", "export/mine", "export", "export/mine/merged", "corrections"):
        for more in ("", "/report.html", "/secret.json"):
            answer = client.get(f"/download/{place}/{way}{more}")
            assert answer.status_code in (403, 404) and SECRET not in answer.text


@pytest.mark.parametrize("way", [*WAYS[:2], *WAYS[3:7], "~/x", "C:\\x", "x\0", "..", "%2e%2e", "uploads/link.json"])
def test_no_path_of_a_form_leads_out(workspace: Workspace, way: str) -> None:
    with pytest.raises(StudioError, match="not a path within"):
        workspace.path(way)


@pytest.mark.parametrize(
    "name", [UP, "/etc/cron.d/x.json", "..\\..\\x.json", "%2e%2e%2fx.json", "x\0.json", "link.json"]
)
def test_no_name_of_an_upload_leads_out(workspace: Workspace, name: str) -> None:
    answer = studio(workspace).post("/upload", params={"name": name}, content=b"[]", headers={"origin": HERE})
    assert answer.status_code == 200 and answer.text.startswith("uploads/") and answer.text.count("/") == 1
    assert (workspace.root / answer.text).read_bytes() == b"[]"
    assert (workspace.root.parent / "secret.json").read_text() == SECRET


def test_an_upload_is_bounded_and_leaves_nothing(workspace: Workspace) -> None:
    client, own = studio(workspace), {"origin": HERE}
    there = sorted(workspace.uploads.iterdir())
    too_much = client.post("/upload?name=x.json", content=iter([b"x" * 600] * 2), headers=own)
    assert too_much.status_code == 400 and "larger than the 1,000 bytes" in too_much.text
    for content in (b"x" * 3000, iter([b"x" * 900] * 4)):
        assert client.post("/upload?name=x.json", content=content, headers=own).status_code in (400, 413)
    assert client.post("/upload?name=x.sh", content=b"rm", headers=own).status_code == 400
    assert sorted(workspace.uploads.iterdir()) == there


def test_an_endless_upload_is_ended(workspace: Workspace) -> None:
    given = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal given
        while True:
            given += 100
            yield b"x" * 100

    with pytest.raises(StudioError, match="larger than"):
        asyncio.run(workspace.save_upload("x.json", endless()))
    assert given == 1100


@pytest.mark.parametrize("token", ["", "s3cret"])
@pytest.mark.parametrize("origin", ["http://evil.example", "http://127.0.0.1:9999", "null", None])
def test_a_page_of_another_place_changes_and_hears_nothing(
    workspace: Workspace, token: str, origin: str | None
) -> None:
    client = studio(workspace, token)
    if token:
        client.get(f"/?token={token}")
    headers = {} if origin is None else {"origin": origin}
    assert client.post("/upload?name=x.json", content=b"[]", headers=headers).status_code == 403
    assert not answers(client, origin)
    assert not (workspace.uploads / "x.json").exists()
    assert client.post("/upload?name=x.json", content=b"[]", headers={"origin": HERE}).status_code == 200
    assert answers(client, HERE)


def test_a_rebound_name_is_refused(workspace: Workspace) -> None:
    answer = studio(workspace).get("/download/run/mine/report.html", headers={"host": "evil.example:8700"})
    assert answer.status_code == 403


def test_without_the_token_there_is_nothing(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "WAIT_SECONDS", 0.0)
    for given in (None, "wrong", "", "s3cre", "s3cret2", "S3CRET"):
        client = studio(workspace, "s3cret")
        if given is not None:
            assert "set-cookie" not in client.get("/", params={"token": given}).headers
            client.cookies.set("lorafit-studio-8700", given)
        bearer = {"authorization": f"Bearer {given}"} if given else {}
        assert client.get("/download/run/mine/report.html", headers=bearer).status_code == 401
        assert client.post("/upload?name=x.json", content=b"[]", headers={"origin": HERE}).status_code == 401
        assert not answers(client, HERE)
    assert not (workspace.uploads / "x.json").exists()
