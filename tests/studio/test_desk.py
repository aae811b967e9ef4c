"""The desk: one question after the other, the newest plan first, and a worker that may die."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from lorafit.studio import desk as module
from lorafit.studio.desk import Desk
from lorafit.studio.refusal import StudioError
from lorafit.studio.workspace import Workspace

# Speaks as deskwork.py does, and does what a model's name says.
STAND_IN = """
import json, os, sys, time
count = 0
print("words of a library", flush=True)
for line in sys.stdin.buffer:
    number, _, request = line.partition(b" ")
    given = json.loads(request)["given"]
    name = given.get("name") or given.get("model") or given["recipe"]["model"]["name"]
    if name.startswith("exit"):
        os._exit(int(name[4:]))
    reply = {"refused": "no such model", "code": 3} if name == "refused" else {"answer": {"name": name}}
    if name == "broken":
        reply = {"broken": "KeyError: 'x'"}
    if name == "slow":
        time.sleep(0.3)
    if name in ("pid", "counted"):
        count += 1
        reply = {"answer": {"count": count}}
    if name == "environment":
        reply = {"answer": {key: os.environ.get(key, "") for key in ("LORAFIT_TOKEN", "PYTHONSAFEPATH")}}
    if name == "pid":
        reply = {"answer": {"pid": os.getpid()}}
    sys.stdout.buffer.write(number + b" " + json.dumps(reply).encode() + b"\\n")
    sys.stdout.buffer.flush()
"""


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Desk], Awaitable[Any]]], Any]:
    """Runs a coroutine function with a desk whose worker is the stand-in."""
    monkeypatch.setattr(module, "WORKER", (sys.executable, "-c", STAND_IN))

    async def with_desk(work: Callable[[Desk], Awaitable[Any]]) -> Any:
        desk = Desk(Workspace(tmp_path))
        try:
            return await work(desk)
        finally:
            processes = [process for one in (desk._front, desk._adviser) if (process := one._process) is not None]
            desk.close()
            for process in processes:
                await process.wait()

    return lambda work: asyncio.run(with_desk(work))


def recipe(name: str) -> dict[str, Any]:
    return {"model": {"name": name}}


def test_answers_and_refusals(asked: Any) -> None:
    async def work(desk: Desk) -> None:
        assert await desk.model("builtin") == {"name": "builtin"}
        with pytest.raises(StudioError, match=r"^no such model$") as caught:
            await desk.model("refused")
        assert caught.value.exit_code == 3
        with pytest.raises(StudioError, match=r"mistake: KeyError: 'x'.*desk\.log"):
            await desk.model("broken")
        assert await desk.model("last") == {"name": "last"}

    asked(work)


def test_paths_outside_never_reach_the_worker(asked: Any) -> None:
    async def work(desk: Desk) -> None:
        for question in (
            desk.model("/etc"),
            desk.data("builtin", "../rows.json"),
            desk.data("builtin", "rows.json", held_out="/etc/passwd"),
            desk.advice("builtin", ["rows.json", "/etc/passwd"]),
            desk.plan({"model": {"name": "builtin"}, "evaluate": {"metrics": ["code.py:run"]}}),
        ):
            with pytest.raises(StudioError, match=r"path within|code of its own"):
                await question
        assert desk._front._process is None and desk._adviser._process is None

    asked(work)


def test_the_newest_plan_wins_and_each_page_has_its_own(asked: Any) -> None:
    async def work(desk: Desk) -> None:
        first = asyncio.ensure_future(desk.plan(recipe("slow"), of="a"))
        await asyncio.sleep(0.15)  # it is being worked on
        questions = [desk.plan(recipe(name), of="a") for name in ("one", "two", "three")]
        found = await asyncio.gather(*questions, desk.plan(recipe("other"), of="b"), return_exceptions=True)
        assert [type(answer) for answer in found[:2]] == [asyncio.CancelledError] * 2
        assert found[2:] == [{"name": "three"}, {"name": "other"}] and await first == {"name": "slow"}

    asked(work)


def test_an_answer_that_nobody_waits_for_is_not_given_to_another(asked: Any) -> None:
    async def work(desk: Desk) -> None:
        gone = asyncio.ensure_future(desk.model("slow"))
        await asyncio.sleep(0.15)
        gone.cancel()
        assert await desk.model("next") == {"name": "next"}

    asked(work)


def test_the_same_advice_is_made_once_at_a_time(asked: Any) -> None:
    async def work(desk: Desk) -> None:
        gone = asyncio.ensure_future(desk.advice("counted", "rows.json"))
        await asyncio.sleep(0.01)
        gone.cancel()  # its page was left
        both = await asyncio.gather(desk.advice("counted", "rows.json"), desk.advice("counted", "rows.json"))
        assert both == [{"count": 1}, {"count": 1}]
        assert await desk.advice("counted", "rows.json") == {"count": 2}, "the files may have changed"


def test_workers_are_started_before_they_are_asked(asked: Any) -> None:
    async def work(desk: Desk) -> None:
        await asyncio.gather(desk.expect_advice(), desk.expect_advice())
        process = desk._adviser._process
        assert process is not None and desk._front._process is None
        await desk.advice("counted", "rows.json")
        await desk.expect_advice()
        assert desk._adviser._process is process
        await desk.expect_questions()
        other = desk._front._process
        await desk.model("first")
        assert other is not None and desk._front._process is other is not process

    asked(work)


def test_nobody_waits_for_an_advice(asked: Any) -> None:
    async def work(desk: Desk) -> None:
        advice = asyncio.ensure_future(desk.advice("slow", "rows.json"))
        await desk.model("first")
        await asyncio.wait_for(desk.plan(recipe("builtin")), 0.25)
        assert not advice.done()
        assert await advice == {"name": "slow"}

    asked(work)


def test_a_worker_that_dies_is_told_of_and_followed_by_another(asked: Any) -> None:
    async def work(desk: Desk) -> None:
        first = (await desk.model("pid"))["pid"]
        with pytest.raises(StudioError, match=r"ended \(exit code 9\).*try again"):
            await desk.model("exit9")
        second = (await desk.model("pid"))["pid"]
        assert second != first
        process = desk._front._process
        assert process is not None
        process.kill()  # between two questions
        await process.wait()
        assert (await desk.model("pid"))["pid"] != second

    asked(work)


def test_a_worker_that_ended_by_itself_is_no_fault(asked: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    once = tmp_path / "ended"
    ends_once = f"import os, pathlib\nif not os.path.exists({str(once)!r}):\n    pathlib.Path({str(once)!r}).touch()\n"
    monkeypatch.setattr(module, "WORKER", (sys.executable, "-c", f"{ends_once}    os._exit(0)\n{STAND_IN}"))

    async def work(desk: Desk) -> None:
        assert await desk.model("builtin") == {"name": "builtin"}

    asked(work)
    assert once.exists()


def test_the_machine_is_examined_once(asked: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    count = tmp_path / "count"
    code = f"open({str(count)!r}, 'a').write('x'); print('{{\"lines\": []}}'); raise SystemExit(4)"
    monkeypatch.setattr(module, "DOCTOR", (sys.executable, "-c", code))

    async def work(desk: Desk) -> None:
        assert await asyncio.gather(desk.machine(), desk.machine()) == [{"lines": []}] * 2
        assert count.read_text() == "x"
        await desk.machine(again=True)
        assert count.read_text() == "xx"
        monkeypatch.setattr(module, "DOCTOR", (sys.executable, "-c", "raise SystemExit(1)"))
        with pytest.raises(StudioError, match="exit code 1"):
            await desk.machine(again=True)

    asked(work)


def test_the_real_worker_answers_and_ends_with_its_input(tmp_path: Path) -> None:
    asks = b'7 {"work": "model", "given": {"name": "builtin"}}\n8 {"work": "model", "given": {"name": "./none"}}\n'
    command = [sys.executable, "-m", "lorafit.studio.deskwork"]
    with subprocess.Popen(command, cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as worker:
        assert worker.stdin is not None and worker.stdout is not None
        worker.stdin.write(asks)
        worker.stdin.flush()
        assert worker.stdout.readline().startswith(b'7 {"answer": {"name": "builtin"')
        assert worker.stdout.readline().startswith(b'8 {"refused": "model.name: no folder ./none')
        worker.stdin.close()
        assert worker.wait(10) == 0


def test_the_desk_does_not_import_torch() -> None:
    modules = "lorafit.studio.desk, lorafit.studio.drafts"
    code = f"import sys, {modules}; print([m for m in ('torch', 'transformers') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_the_worker_has_no_token_and_takes_no_module_from_the_workspace(
    asked: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LORAFIT_TOKEN", "s3cret")
    assert asked(lambda desk: desk.model("environment")) == {"LORAFIT_TOKEN": "", "PYTHONSAFEPATH": "1"}
