"""The servers of the chat, with a stand-in for `lorafit serve`; once with the real one."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path

import pytest

from lorafit.studio import chat_server, chats
from lorafit.studio.answering import End
from lorafit.studio.chats import Chats
from lorafit.studio.refusal import StudioError
from lorafit.studio.speakers import Speaker, Weights
from lorafit.studio.workspace import Workspace
from tests.studio.chat_runs import fill_adapter, make_run

STAND_IN = (sys.executable, str(Path(__file__).with_name("chat_stand_in.py")))


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    found = Workspace(tmp_path)
    make_run(found, "a")
    make_run(found, "b")
    yield found
    for server in Chats(found).servers():
        server.end()


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_server, "SERVE", STAND_IN)
    monkeypatch.setattr(chat_server, "POLL_SECONDS", 0.02)


async def said(chat: Chats, speaker: Speaker, question: str, end: End | None = None) -> str:
    messages = [{"role": "user", "content": question}]
    return "".join([piece async for piece in chat.stream(speaker, messages, {"temperature": 0.0}, end=end)])


@pytest.mark.usefixtures("stand_in")
def test_one_server_answers_for_all_runs_of_a_base(workspace: Workspace) -> None:
    chat = Chats(workspace)
    a, b, base = chat.speakers.chosen(["a", "b", "base"])

    async def ask() -> list[str]:
        return await asyncio.gather(*(said(chat, speaker, "how") for speaker in (a, base, b)))

    of_a, of_base, of_b = (json.loads(text) for text in asyncio.run(ask()))
    assert of_a[0] == ["--adapter", f"{a.served}={a.run}", "--port", "0"]
    assert [of_a[2], of_base[2], of_b[2]] == [a.served, "first", b.served]
    (server,) = chat.servers()
    assert server.models == (a.served, b.served) and server.port and server.first == "first"


@pytest.mark.usefixtures("stand_in")
def test_a_studio_that_is_started_again_finds_it_and_stops_it(workspace: Workspace) -> None:
    first, lines = Chats(workspace), []
    speaker = first.speakers.chosen(["a"])[0]
    server, _ = asyncio.run(first.ready(speaker, lines.append))
    assert "loading it ..." in lines
    again = Chats(workspace)
    assert again.servers() == [server]
    assert asyncio.run(said(again, speaker, "x")) == "x\u2028\x85", "separators within an answer are no ends of lines"
    assert [each.pid for each in again.servers()] == [server.pid]
    asyncio.run(again.stop(server))
    assert again.servers() == [] and server.process() is None and not server.folder.exists()


@pytest.mark.usefixtures("stand_in")
def test_the_token_is_in_one_file_of_the_user_alone(workspace: Workspace) -> None:
    server, _ = asyncio.run(Chats(workspace).ready(Chats(workspace).speakers.chosen(["a"])[0]))
    token = (server.folder / "token").read_text()
    process = server.process()
    assert len(token) > 30 and process is not None and token not in " ".join(process.cmdline())
    assert process.environ()["PYTHONSAFEPATH"] == "1", "a file of the workspace is no module of the server's"
    assert stat.S_IMODE((server.folder / "token").stat().st_mode) == 0o600
    assert stat.S_IMODE(server.folder.stat().st_mode) == 0o700
    holding = [path.name for path in workspace.root.rglob("*") if path.is_file() and token in path.read_text()]
    assert holding == ["token"]
    (server.folder / "token").write_text("wrong")
    with pytest.raises(StudioError, match="The token is wrong"):
        asyncio.run(server.call("GET", "/v1/models"))


@pytest.mark.usefixtures("stand_in")
def test_a_cancelled_answer_closes_its_request(workspace: Workspace) -> None:
    chat = Chats(workspace)

    async def stop_after_a_word() -> None:
        speaker = chat.speakers.chosen(["a"])[0]
        pieces = chat.stream(speaker, [{"role": "user", "content": "long"}], {})
        async with aclosing(pieces):
            assert await anext(pieces) == "word "

    asyncio.run(stop_after_a_word())
    until = time.monotonic() + 5
    while not (workspace.root / "gone").exists():
        assert time.monotonic() < until, "the server goes on for nobody"
        time.sleep(0.02)


@pytest.mark.usefixtures("stand_in")
def test_how_an_answer_ends(workspace: Workspace) -> None:
    chat, end = Chats(workspace), End()
    speaker = chat.speakers.chosen(["a"])[0]
    asyncio.run(said(chat, speaker, "x", end))
    assert (end.reason, end.tokens) == ("length", 7)
    with pytest.raises(StudioError, match=r"It went wrong\."):
        asyncio.run(said(chat, speaker, "fail"))


@pytest.mark.usefixtures("stand_in")
def test_what_does_not_start_says_why(workspace: Workspace) -> None:
    make_run(workspace, "c", base="broken", adapter={"method": "none"}, weights="model")
    chat = Chats(workspace)
    with pytest.raises(StudioError, match=r"did not start.*\nerror: there is no model broken"):
        asyncio.run(said(chat, chat.speakers.chosen(["c", "base"])[1], "x"))
    assert chat.servers() == []
    revision = Speaker("base:M", Weights("M", "v1"))
    with pytest.raises(StudioError, match="Revision v1 of M"):
        asyncio.run(chat.ready(revision))


@pytest.mark.usefixtures("stand_in")
def test_what_nobody_uses_ends(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    chat = Chats(workspace)
    speaker = chat.speakers.chosen(["a"])[0]
    chat.hold("page", [speaker])
    server, _ = asyncio.run(chat.ready(speaker))
    monkeypatch.setattr(chats, "IDLE_SECONDS", 0.0)
    asyncio.run(chat.sweep())
    assert chat.servers() == [server], "a page is open"
    monkeypatch.setattr(chats, "IDLE_SECONDS", 60.0)
    chat.leave("page")
    asyncio.run(chat.sweep())
    assert chat.servers() == [server], "not for long enough"
    monkeypatch.setattr(chats, "IDLE_SECONDS", 0.0)
    asyncio.run(chat.sweep())
    assert chat.servers() == []


@pytest.mark.usefixtures("stand_in")
def test_with_the_studio_its_servers_end(workspace: Workspace) -> None:
    chat = Chats(workspace)
    server, _ = asyncio.run(chat.ready(chat.speakers.chosen(["a"])[0]))
    process = server.process()
    chat.close()
    assert process is not None
    process.wait(10)
    assert Chats(workspace).servers() == []


@pytest.mark.usefixtures("stand_in")
def test_another_base_takes_the_place_of_one_that_no_page_has_chosen(workspace: Workspace) -> None:
    make_run(workspace, "full", adapter={"method": "none"}, weights="model")
    chat = Chats(workspace)
    a, full = chat.speakers.chosen(["a", "full"])
    chat.hold("page", [a])
    asyncio.run(chat.ready(a))
    server, name = asyncio.run(chat.ready(full))
    assert len(chat.servers()) == 2 and name == "first"
    process = server.process()
    assert process is not None and process.cmdline()[-3:] == [str(full.run), "--port", "0"]
    chat.leave("page")
    make_run(workspace, "small", model={"quantization": "nf4"})
    asyncio.run(chat.ready(chat.speakers.chosen(["small"])[0]))
    assert [each.weights.quantization for each in chat.servers()] == ["nf4"]


@pytest.mark.usefixtures("stand_in")
def test_another_process_of_its_number_is_not_taken_for_it(workspace: Workspace) -> None:
    chat = Chats(workspace)
    server, _ = asyncio.run(chat.ready(chat.speakers.chosen(["a"])[0]))
    server.with_changes(started=server.started - 60)
    assert chat.servers() == []
    os.kill(server.pid, signal.SIGTERM)


def test_the_real_server_answers(workspace: Workspace) -> None:
    for name in ("a", "b"):
        fill_adapter(workspace.runs / name, "model.layers.0.self_attn.o_proj", 256, 256)
    chat = Chats(workspace)

    async def ask() -> list[str]:
        speakers = chat.speakers.chosen(["a", "b", "base"])
        messages = [{"role": "user", "content": "Where does Mira live?"}]
        sampling = {"temperature": 0.0, "top_p": 1.0, "max_tokens": 6}
        return ["".join([piece async for piece in chat.stream(speaker, messages, sampling)]) for speaker in speakers]

    answers = asyncio.run(ask())
    assert answers[0] and len(set(answers[:2])) == 1, "adapters of zeros, of one template"
    (server,) = chat.servers()
    assert server.first == "builtin" and len(server.models) == 2
    asyncio.run(chat.stop(server))
    assert server.process() is None
