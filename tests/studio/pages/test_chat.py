"""The chat's screen, as NiceGUI's simulated user sees it, with a stand-in for `lorafit serve`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from nicegui import ui
from nicegui.testing import User, user_simulation
from nicegui.testing.user_navigate import UserNavigate
from starlette.requests import Request

from lorafit.studio import chat_server
from lorafit.studio.chats import Chats
from lorafit.studio.drafts import Drafts
from lorafit.studio.frame import frame
from lorafit.studio.pages import chat
from lorafit.studio.queue import Queue
from lorafit.studio.runs import Runs
from lorafit.studio.studio import Studio
from lorafit.studio.workspace import Workspace
from tests.studio.chat_runs import PLAIN, make_run
from tests.studio.pages.seeing import shows, until

HTML = "<img src=x onerror=alert(1)>"


@pytest.fixture
def studio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Studio]:
    script = Path(__file__).parents[1] / "chat_stand_in.py"
    monkeypatch.setattr(chat_server, "SERVE", (sys.executable, str(script)))
    workspace = Workspace(tmp_path)
    make_run(workspace, "法律")
    chats, desk = Chats(workspace), None
    without_desk: Any = desk
    yield Studio(workspace, Runs(workspace), Queue(workspace), Drafts(workspace), without_desk, chats)
    for server in chats.servers():
        server.end()


@contextlib.asynccontextmanager
async def seen(studio: Studio, address: str = "/?runs=法律,base") -> AsyncIterator[User]:
    def root(request: Request, runs: str = "") -> None:
        with frame(request, "Chat", "/chat"):
            chat.show(studio, [name for name in runs.split(",") if name])

    async with user_simulation(root) as user:
        await user.open(address)
        yield user


def click(user: User, text: str) -> None:
    """The first button of this text or name."""
    found = user.find(kind=ui.button).elements
    button = min(
        (each for each in found if text in (each.text, each.props.get("aria-label"))), key=lambda each: each.id
    )
    with user:
        for listener in button._event_listeners.values():
            if listener.type == "click":
                button._handle_event({"listener_id": listener.id, "args": {}})


def test_a_question_is_answered_side_by_side_corrected_and_kept(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone: list[str] = []
    monkeypatch.setattr(UserNavigate, "to", lambda self, target: gone.append(target))

    async def visit() -> None:
        async with seen(studio) as user:
            assert shows(user, "法律") and shows(user, "builtin (base, not tuned)") and shows(user, "not loaded")
            user.find(marker="question").type(HTML)
            user.find(marker="question").trigger("keydown")
            await until(lambda: shows(user, "in memory"))
            labels = [each for each in user.find(kind=ui.label, content=HTML).elements if each.visible]
            assert len(labels) == 3 and {type(each) for each in labels} == {ui.label}, "the question and two answers"
            assert shows(user, "cut off at the longest answer")
            click(user, "Bad answer")
            click(user, "Correct the answer")
            user.find(kind=ui.textarea, content="What the answer should").clear().type("Better.")
            click(user, "Take the correction")
            await until(lambda: "corrected" in [each.text for each in user.find(kind=ui.label).elements])
            click(user, "Keep as data")
            await until(lambda: shows(user, "Rows in uploads/corrections-法律.jsonl: 1"))
            assert shows(user, "Kept as data")
            click(user, "Use as data of a new run")

    asyncio.run(visit())
    row = [{"role": "user", "content": HTML}, {"role": "assistant", "content": "Better."}]
    path = studio.workspace.uploads / "corrections-法律.jsonl"
    assert json.loads(path.read_text(encoding="utf-8")) == {"messages": row}
    rating = json.loads((studio.workspace.hidden / "chat" / "ratings.jsonl").read_bytes())
    assert (rating["run"], rating["prompt"], rating["rating"]) == ("法律", row[:1], "bad")
    assert rating["sampling"] == {"temperature": 0.0, "top_p": 1.0, "max_tokens": 512}
    (draft,) = studio.drafts.all()
    assert draft.settings == {"data.train": "uploads/corrections-法律.jsonl", "model.name": "builtin"}
    assert gone == [f"/new/{draft.id}/model"]


def test_stop_and_a_page_that_is_opened_again(studio: Studio) -> None:
    async def visit() -> None:
        async with seen(studio) as user:
            user.find(marker="question").type("long")
            click(user, "Send")
            await until(lambda: shows(user, "word word"))
            (talk,) = studio.chats.talks._open.values()
            await user.open(f"/?runs=法律&talk={talk.id}")
            assert shows(user, "word word")
            click(user, "Stop")
            await until(lambda: shows(user, "stopped"))
            assert not studio.chats.talks.is_busy(talk)
            click(user, "New conversation")
            assert not shows(user, "word word") and shows(user, "Ask a question")

    asyncio.run(visit())


def test_what_cannot_be_asked_is_said_and_nothing_is_lost(studio: Studio) -> None:
    async def visit() -> None:
        async with seen(studio, "/") as user:
            user.find(marker="question").type("hello")
            click(user, "Send")
            assert user.notify.contains("Choose who answers first.")
            (box,) = user.find(marker="question").elements
            assert box.value == "hello"
            assert studio.chats.servers() == []

    asyncio.run(visit())


def test_the_template_is_shown_on_demand(studio: Studio) -> None:
    async def visit() -> None:
        async with seen(studio) as user:
            assert not shows(user, "Template of its training")
            (fold,) = user.find(kind=ui.expansion, content="The template they are asked with").elements
            with user:
                fold.value = True
            assert shows(user, "Template of its training: human-assistant") and shows(user, PLAIN.strip())
            assert shows(user, "A base is asked with the template that its tokenizer brings")

    asyncio.run(visit())
