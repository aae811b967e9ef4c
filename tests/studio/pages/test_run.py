"""The Run screen, as NiceGUI's simulated user sees it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from nicegui import Client, ui
from nicegui.testing import User, user_simulation
from nicegui.testing.user_navigate import UserNavigate
from starlette.requests import Request

from lorafit.run import RunFolder, write_json
from lorafit.studio.drafts import Drafts
from lorafit.studio.frame import frame
from lorafit.studio.pages import run as page
from lorafit.studio.queue import Queue
from lorafit.studio.refusal import StudioError
from lorafit.studio.runs import Runs
from lorafit.studio.studio import Studio
from lorafit.studio.workspace import Workspace
from tests.studio.pages.seeing import shows, until

RECIPE = "name: mine\nmodel:\n  name: builtin\ndata:\n  train: builtin\ntrain:\n  epochs: 7\n"


@pytest.fixture
def studio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Studio:
    monkeypatch.setattr(page, "WORKING_SECONDS", 0.05)
    monkeypatch.setattr(page, "ENDED_SECONDS", 0.05)
    monkeypatch.setattr(Queue, "_conduct", lambda self: None)  # what is queued stays so
    workspace = Workspace(tmp_path)
    nothing: Any = None
    return Studio(workspace, Runs(workspace), Queue(workspace), Drafts(workspace), nothing, nothing)


@pytest.fixture
def gone_to(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    gone: list[str] = []
    monkeypatch.setattr(UserNavigate, "to", lambda self, target, new_tab=False: gone.append(target))
    return gone


def add_run(studio: Studio, state: str = "running", updates: int = 3, **status: Any) -> RunFolder:
    run = RunFolder.create(studio.workspace.runs / "mine")
    run.recipe.write_text(RECIPE)
    set_state(run, state, **status)
    append(run, range(1, updates + 1))
    return run


def set_state(run: RunFolder, state: str, **status: Any) -> None:
    values = {"state": state, "pid": 1, "heartbeat": time.time(), "update": 3, "updates": 10, "message": ""}
    write_json(run.status, {**values, **status})


def append(run: RunFolder, updates: range) -> None:
    with run.metrics.open("a") as file:
        for n in updates:
            file.write(json.dumps({"update": n, "loss": 3.0 - n / 8, "elapsed_seconds": 60.0 * n}) + "\n")


@contextlib.asynccontextmanager
async def seen(studio: Studio, language: str = "en") -> AsyncIterator[User]:
    def root(request: Request) -> None:
        with frame(request, "mine", "/"):
            page.show(studio, "mine")

    async with user_simulation(root) as user:
        user.http_client.cookies.set("lorafit-language", language)
        await user.open("/")
        yield user


async def until_shown(user: User, *texts: str) -> None:
    for text in texts:
        await until(lambda text=text: shows(user, text))


def test_a_run_that_works_is_followed_to_its_end(studio: Studio, gone_to: list[str]) -> None:
    run = add_run(studio)

    async def visit() -> None:
        async with seen(studio) as user:
            await until_shown(
                user, "mine", "running", "update 3 of 10 · 30 %", "7 min 0 s left", "2.625", "Gradient norm"
            )
            assert shows(user, "Stop") and not shows(user, "Results")
            append(run, range(4, 6))
            finding = {"severity": "fault", "title": "It diverges", "evidence": "from 1 to <b>9</b>", "setting": "x=1"}
            write_json(run.findings, {"findings": [finding]})
            await until_shown(user, "update 5 of 10", "2.375", "It diverges", "from 1 to <b>9</b>", "x=1")
            run.evaluation.mkdir()
            sample = {
                "prompt": [{"role": "user", "content": "Who?"}],
                "reference": "Mira",
                "tuned": {"text": "<i>Mira"},
            }
            (run.evaluation / "samples.jsonl").write_text(json.dumps(sample) + "\n")
            set_state(run, "finished", message="10 of 10 updates")
            await until_shown(user, "finished", "Who?", "<i>Mira", "All answers and scores")
            assert not shows(user, "Stop")
            for name in ("Results", "Chat", "Export"):
                user.find(kind=ui.button, content=name).click()
            await until(lambda: len(gone_to) == 3)

    asyncio.run(visit())
    assert gone_to == ["/result/mine", "/chat?runs=base,mine", "/export/mine"]


def test_nothing_is_sent_when_nothing_is_new(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    add_run(studio)
    scripts: list[str] = []
    monkeypatch.setattr(Client, "run_javascript", lambda self, code, **_: scripts.append(code))
    looks: list[float] = []
    look = page.Watch.look
    monkeypatch.setattr(page.Watch, "look", lambda self: (looks.append(0), look(self))[1])

    async def visit() -> None:
        async with seen(studio) as user:
            await until_shown(user, "updates 1 to 3")
            await until(lambda: len(looks) > 3)
            assert user.client is not None
            before, updates = len(scripts), []
            monkeypatch.setattr(user.client.outbox, "enqueue_update", lambda element: updates.append(element))
            monkeypatch.setattr(user.client.outbox, "enqueue_message", lambda *args: updates.append(args))
            seen_looks = len(looks)
            await until(lambda: len(looks) > seen_looks + 5)
            assert len(scripts) == before and updates == []

    asyncio.run(visit())


def test_a_job_before_its_folder_shows_its_log(studio: Studio) -> None:
    job = studio.queue.add(
        "train", ["train", "{folder}/recipe.yaml"], "mine", run="mine", files={"recipe.yaml": RECIPE}
    )

    async def visit() -> None:
        async with seen(studio, "zh") as user:
            await until_shown(user, "排队中", "它在队列中等待前面的任务。")
            user.find("移出队列").click()
            await until_shown(user, "已取消")

    asyncio.run(visit())
    assert studio.queue.job(job.id).state == "cancelled"


def test_stopping_is_asked_once(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    add_run(studio)
    stopped: list[str] = []
    monkeypatch.setattr(Queue, "stop_run", lambda self, name: stopped.append(name))

    async def visit() -> None:
        async with seen(studio) as user:
            await until_shown(user, "Stop")
            user.find(kind=ui.button, content="Stop").click()
            await until_shown(user, "Stop this run?")
            user.find("Go on training").click()
            await until(lambda: not shows(user, "Stop this run?"))
            assert stopped == []
            user.find(kind=ui.button, content="Stop").click()
            await until_shown(user, "Stop this run?")
            with user:
                yes = [one for one in user.find(kind=ui.button, content="Stop").elements if "main" in one.classes]
            assert len(yes) == 1
            for listener in yes[0]._event_listeners.values():
                if listener.type == "click":
                    yes[0]._handle_event({"listener_id": listener.id, "args": None})
            await until(lambda: stopped == ["mine"])
            await until_shown(user, "Stopping …")

    asyncio.run(visit())


def test_what_is_refused_is_said(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise StudioError("the queue is closed")

    add_run(studio, "interrupted")
    monkeypatch.setattr(Queue, "add", refuse)

    async def visit() -> None:
        async with seen(studio) as user:
            await until_shown(user, "interrupted")
            user.find(kind=ui.button, content="Resume").click()
            await until(lambda: user.notify.contains("the queue is closed"))
            assert shows(user, "interrupted")

    asyncio.run(visit())


@pytest.mark.parametrize("state", ["interrupted", "failed", "dead"])
def test_a_run_that_stopped_is_resumed_or_changed(studio: Studio, gone_to: list[str], state: str) -> None:
    quiet = {"heartbeat": time.time() - 600} if state == "dead" else {}
    add_run(studio, "running" if state == "dead" else state, message="why it ended", **quiet)

    async def visit() -> None:
        async with seen(studio) as user:
            await until_shown(user, state, "probably killed" if state == "dead" else "why it ended")
            user.find("Run again with changes").click()
            await until(lambda: gone_to)
            user.find(kind=ui.button, content="Resume").click()
            await until_shown(user, "queued")

    asyncio.run(visit())
    (draft,) = studio.drafts.all()
    assert gone_to == [f"/new/{draft.id}/settings"]
    assert draft.settings == {"model.name": "builtin", "data.train": "builtin", "train.epochs": 7.0}
    (job,) = studio.queue.of_run("mine")
    assert (job.kind, job.arguments) == ("resume", ("resume", "runs/mine"))


def test_a_run_that_would_fail_again_offers_what_the_doctor_says_first(studio: Studio, gone_to: list[str]) -> None:
    run = add_run(studio, "failed")
    finding = {"severity": "fault", "title": "The loss rises", "setting": "train.learning_rate=3e-2"}

    def main(user: User) -> set[str]:
        return {button.text for button in user.find(ui.button).elements if "main" in button.classes}

    async def visit() -> None:
        async with seen(studio) as user:
            await until_shown(user, "failed")
            assert main(user) == {"Resume"}
            write_json(run.findings, {"findings": [finding]})
            await until_shown(user, "The loss rises")
            assert main(user) == {"Run again with train.learning_rate=3e-2"}
            user.find("Run again with train.learning_rate=3e-2").click()
            await until(lambda: gone_to)

    asyncio.run(visit())
    (draft,) = studio.drafts.all()
    assert gone_to == [f"/new/{draft.id}/settings"]
    assert draft.value("train.learning_rate") == 0.03 and draft.value("train.epochs") == 7


def test_an_unknown_run_is_refused(studio: Studio) -> None:
    with pytest.raises(StudioError, match="no run"):
        page.show(studio, "mine")


@pytest.mark.parametrize(
    ("before", "now", "new"),
    [
        ([], ["a"], ["a"]),
        (["a", "b"], ["a", "b"], []),
        (["a", "b"], ["b", "c"], ["c"]),
        (["a", "a"], ["a", "a", "a"], ["a"]),
        (["a", "b"], ["x"], None),
        (["a"], [], None),
    ],
)
def test_what_came_to_a_log(before: list[str], now: list[str], new: list[str] | None) -> None:
    assert page.added(before, now) == new
