"""The first screen, as NiceGUI's simulated user sees it: no browser, no doctor, jobs that are `python -c CODE`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import os
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from nicegui import ui
from nicegui.testing import User, UserInteraction, user_simulation
from nicegui.testing.user_navigate import UserNavigate
from starlette.requests import Request

from lorafit.run import RunFolder, write_json
from lorafit.studio.drafts import Drafts
from lorafit.studio.frame import frame
from lorafit.studio.pages import home, home_machine, home_runs
from lorafit.studio.queue import Queue
from lorafit.studio.refusal import StudioError
from lorafit.studio.runs import Runs, Summary
from lorafit.studio.studio import Studio
from lorafit.studio.workspace import Workspace
from tests.studio.pages.seeing import shows, until

LINES = [
    {"level": "ok", "subject": "Python", "found": "3.12", "remedy": ""},
    {"level": "warning", "subject": "disk", "found": "<b>little</b>", "remedy": "make room"},
]


class Doctor:
    async def machine(self) -> dict[str, Any]:
        return {"lines": LINES}


class NoDoctor:
    async def machine(self) -> dict[str, Any]:
        raise StudioError("the doctor does not answer")


@pytest.fixture
def studio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Studio:
    monkeypatch.setattr(home, "REFRESH_SECONDS", 0.1)
    monkeypatch.setattr(home_machine, "DOCTOR_AFTER_SECONDS", 0.1)
    workspace = Workspace(tmp_path)
    queue = Queue(workspace)
    queue.command = (sys.executable, "-c")
    desk: Any = Doctor()
    chats: Any = None
    return Studio(workspace, Runs(workspace), queue, Drafts(workspace), desk, chats)


def add_run(studio: Studio, name: str, state: str = "finished", update: int = 3, **status: Any) -> RunFolder:
    run = RunFolder.create(studio.workspace.runs / name)
    run.recipe.write_text("model: {name: builtin, quantization: nf4}\ndata: {train: builtin}\n")
    values = {"state": state, "pid": 1, "heartbeat": time.time(), "update": update, "updates": 10, "message": ""}
    write_json(run.status, {**values, **status})
    run.metrics.write_text("".join(json.dumps({"update": n, "loss": 3.0 - n / 8}) + "\n" for n in range(1, update + 1)))
    return run


@pytest.fixture
def gone_to(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Where a click would have led to."""
    gone: list[str] = []
    monkeypatch.setattr(UserNavigate, "to", lambda self, target: gone.append(target))
    return gone


@contextlib.asynccontextmanager
async def seen(studio: Studio) -> AsyncIterator[User]:
    def root(request: Request) -> None:
        with frame(request, "Runs", "/"):
            home.show(studio)

    async with user_simulation(root) as user:
        await user.open("/")
        yield user


def test_an_empty_workspace_says_what_to_do_and_offers_the_built_in_data(studio: Studio, gone_to: list[str]) -> None:
    async def visit() -> None:
        async with seen(studio) as user:
            await until(lambda: shows(user, "Teach a language model your own data"))
            assert not shows(user, "Queue") and not shows(user, "Search")
            user.find("Try it with the built-in data").click()
            await until(lambda: gone_to)

    asyncio.run(visit())
    (draft,) = studio.drafts.all()
    assert draft.recipe().model.name == "builtin" and draft.missing() == []
    assert gone_to == [f"/new/{draft.id}/review"]


def test_a_run_shows_its_figures_and_follows_them(studio: Studio) -> None:
    run = add_run(studio, "tuned 模型", "running")
    run.evaluation.mkdir()
    scores = {"base": {"exact_match": {"mean": 0.25}}, "tuned": {"exact_match": {"mean": 0.75}}}
    write_json(run.evaluation / "scores.json", {"scores": scores})

    async def visit() -> None:
        async with seen(studio) as user:
            for text in (
                "tuned 模型",
                "QLoRA",
                "running",
                "3 of 10",
                "2.625",
                "0.2500 → 0.7500",
                "exact match",
                "just now",
            ):
                await until(lambda text=text: shows(user, text))
            assert not shows(user, "Teach a language model")
            with run.metrics.open("a") as file:
                file.write(json.dumps({"update": 10, "loss": 2.5}) + "\n")
            write_json(run.status, {"state": "finished", "pid": 1, "heartbeat": 1.0, "update": 10, "updates": 10})
            for text in ("finished", "10 of 10", "2.500"):
                await until(lambda text=text: shows(user, text))
            link = next(iter(user.find(kind=ui.link, content="tuned 模型").elements))
            assert link.props["href"] == "/run/tuned%20%E6%A8%A1%E5%9E%8B"

    asyncio.run(visit())


def test_names_and_messages_are_never_html(studio: Studio) -> None:
    add_run(studio, "<img src=x onerror=alert(1)>", message="<script>")

    async def visit() -> None:
        async with seen(studio) as user:
            await until(lambda: shows(user, "<img src=x"))
            for element in user.find(kind=ui.html).elements:
                assert "img" not in element.content
            await until(lambda: shows(user, "<b>little</b>"))  # of the doctor, in a label
            assert all(type(part) is ui.label for part in user.find(content="<b>little</b>").elements)

    asyncio.run(visit())


def test_two_ticked_runs_are_compared_over_filters_and_pages(
    studio: Studio, monkeypatch: pytest.MonkeyPatch, gone_to: list[str]
) -> None:
    monkeypatch.setattr(home_runs, "PAGE", 2)
    for name in ("first, one", "second", "third"):
        os.utime(add_run(studio, name, "failed" if name == "third" else "finished").recipe, (len(name),) * 2)

    async def visit() -> None:
        async with seen(studio) as user:
            await until(lambda: shows(user, "2 of 3 runs"))
            (compare,) = user.find(kind=ui.button, content="Compare").elements
            (state,) = user.find(kind=ui.select).elements
            (text,) = user.find(kind=ui.input).elements

            def tick_all() -> None:
                for box in user.find(kind=ui.checkbox).elements:
                    box.value = True

            text.value = "SECOND qlora"
            assert shows(user, "1 of 3 runs") and not shows(user, "third")
            tick_all()
            assert not compare.enabled
            text.value = ""
            state.value = "failed"
            assert shows(user, "third") and not shows(user, "second")
            tick_all()
            assert compare.enabled and compare.text == "Compare 2"
            user.find(kind=ui.button, content="Compare 2").click()
            assert len(gone_to) == 1
            assert set(gone_to[0].removeprefix("/compare?runs=").split(",")) == {"second", "third"}
            text.value = "nothing like it"
            assert shows(user, "No run is like that.") and compare.text == "Compare 2"

    asyncio.run(visit())


def test_the_queue_is_shown_ordered_stopped_and_what_failed_is_put_away(studio: Studio) -> None:
    add_run(studio, "tuned", "running")
    queue = studio.queue
    failed = queue.add("train", ["import sys; sys.exit('error: row 17 has no output')"], "Train a bad file")
    running = queue.add(
        "train", ["print('begun', flush=True); import time; time.sleep(60)"], "Train tuned", run="tuned"
    )
    waiting = [queue.add("export", ["0"], f"Export {n}") for n in range(2)]

    async def visit() -> None:
        async with seen(studio) as user:
            await until(lambda: shows(user, "3 of 10 updates"))
            for text in ("row 17 has no output", "Train tuned", "Export 0", "Queue"):
                assert shows(user, text)
            arrows = [
                part
                for part in user.find(kind=ui.button).elements
                if part.props.get("aria-label") == "Earlier: Export 1"
            ]
            assert arrows and arrows[0].enabled
            await until(lambda: "begun" in running.log.read_text())
            user.find(kind=ui.button, content="Put away").click()
            await until(lambda: failed.id not in [job.id for job in queue.jobs()])
            queue.move(waiting[1].id, -1)
            queue.cancel(waiting[1].id)
            user.find(kind=ui.button, content="Stop and save").click()
            await until(lambda: queue.job(running.id).state == "cancelled")
            await until(lambda: queue.job(waiting[0].id).state == "done")
            await until(lambda: not shows(user, "Queue"))

    asyncio.run(visit())


def test_what_is_made_of_a_finished_run_is_no_training(studio: Studio) -> None:
    add_run(studio, "tuned", "finished", update=10)
    job = studio.queue.add("export", ["import time; time.sleep(60)"], "tuned: merged", run="tuned")

    async def visit() -> None:
        async with seen(studio) as user:
            await until(lambda: shows(user, "tuned: merged"))
            await until(lambda: user.find(kind=ui.linear_progress).elements)
            assert not shows(user, "updates") and not shows(user, "Stop and save")
            (link,) = user.find(kind=ui.link, content="tuned: merged").elements
            assert link.props["href"] == "/export/tuned"
            user.find(kind=ui.button, content="Cancel").click()
            await until(lambda: studio.queue.job(job.id).state == "cancelled")

    asyncio.run(visit())


def test_drafts_are_gone_on_with_or_thrown_away(studio: Studio) -> None:
    studio.drafts.new()  # nothing chosen: not shown
    draft = studio.drafts.new({"model.name": "Qwen/Qwen3-0.6B", "data.train": "uploads/对话.jsonl"})

    async def visit() -> None:
        async with seen(studio) as user:
            await user.should_see("Go on with Qwen/Qwen3-0.6B · 对话.jsonl")
            (link,) = user.find(kind=ui.link, content="Go on with").elements
            assert link.props["href"] == f"/new/{draft.id}/model"
            user.find(kind=ui.button, content="Throw away").click()
            await user.should_see("Throw away this draft and its settings?")
            user.find(kind=ui.button, content="Cancel").click()
            await asyncio.sleep(0.1)
            assert len(studio.drafts.all()) == 2
            user.find(kind=ui.button, content="Throw away").click()
            await until(lambda: len(user.find(kind=ui.button, content="Throw away").elements) > 1)
            (sure,) = [
                part for part in user.find(kind=ui.button, content="Throw away").elements if "main" in part.classes
            ]
            UserInteraction(user, {sure}, None).click()
            await until(lambda: not shows(user, "Go on with"))
            assert [left.id for left in studio.drafts.all()] != [draft.id] and len(studio.drafts.all()) == 1

    asyncio.run(visit())


def test_a_doctor_without_an_answer_and_a_workspace_that_is_gone_are_said(studio: Studio, tmp_path: Path) -> None:
    object.__setattr__(studio, "desk", NoDoctor())

    async def visit() -> None:
        async with seen(studio) as user:
            await until(lambda: shows(user, "the doctor does not answer"))
            (tmp_path / ".studio" / "jobs").rename(tmp_path / "away")
            await until(lambda: shows(user, "No such file"))
            (tmp_path / "away").rename(tmp_path / ".studio" / "jobs")
            await until(lambda: not shows(user, "No such file"))

    asyncio.run(visit())


def test_a_sparkline_is_made_of_numbers_within_its_box() -> None:
    for values in ([3.0, 1.0, 2.0], [5.0, 5.0], [1e-30, 1e30, math.nan, math.inf, -1e30]):
        (line,) = ElementTree.fromstring(home_runs.sparkline(values))
        points = [tuple(map(float, pair.split(","))) for pair in line.get("points", "").split()]
        assert len(points) == sum(map(math.isfinite, values))
        assert all(0 <= x <= home_runs.WIDTH and 0 <= y <= home_runs.HEIGHT for x, y in points)
    (line,) = ElementTree.fromstring(home_runs.sparkline([3.0, 1.0]))
    assert line.get("points") == "2.0,2.0 118.0,26.0"  # y goes down, as the loss does
    assert home_runs.sparkline([1.0]) == home_runs.sparkline([]) == ""


@pytest.mark.parametrize(
    ("text", "state", "fits"),
    [
        ("", "all", True),
        ("A qlora", "running", True),
        ("c", "all", False),
        ("", "finished", False),
        ("", "failed", False),
    ],
)
def test_filters(text: str, state: str, fits: bool) -> None:
    run = Summary("a", "planning", 0, 0, "", 0.0, 0.0, "QLoRA", "builtin", None, None, (), None, None)
    assert home_runs._fits(run, text, state) is fits
