"""The screens of results, as NiceGUI's simulated user sees them: no browser, no command is started."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from nicegui import ui
from nicegui.elements.mixins.text_element import TextElement
from nicegui.testing import User, user_simulation
from starlette.requests import Request

from lorafit.errors import LorafitError
from lorafit.run import write_json
from lorafit.studio.drafts import Drafts
from lorafit.studio.frame import frame
from lorafit.studio.pages import compare, evaluations, result, samples, study
from lorafit.studio.queue import Queue
from lorafit.studio.refusal import StudioError
from lorafit.studio.runs import Runs
from lorafit.studio.studio import Studio
from lorafit.studio.workspace import Workspace
from tests.studio.outcomes import ROWS, add_outcome, metric
from tests.studio.pages.seeing import until


@pytest.fixture
def studio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Studio:
    monkeypatch.setattr(evaluations, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(Queue, "_conduct", lambda self: None)  # what is queued stays so
    workspace = Workspace(tmp_path)
    nothing: Any = None
    return Studio(workspace, Runs(workspace), Queue(workspace), Drafts(workspace), nothing, nothing)


@contextlib.asynccontextmanager
async def seen(build: Callable[[], None], language: str = "en") -> AsyncIterator[User]:
    def root(request: Request) -> None:
        with frame(request, "Result"):
            build()

    async with user_simulation(root) as user:
        user.http_client.headers["accept-language"] = language
        await user.open("/")
        yield user


def texts(user: User) -> list[str]:
    """Every text on the screen, in order."""
    assert user.client is not None
    return [element.text for element in user.client.elements.values() if isinstance(element, TextElement)]


async def until_shown(user: User, *wanted: str) -> None:
    await until(lambda: all(any(text in shown for shown in texts(user)) for text in wanted))


def test_scores_losses_and_answers_are_shown(studio: Studio) -> None:
    add_outcome(studio.workspace, "one", {0: 2.0, 3: 1.0})

    async def visit() -> None:
        async with seen(lambda: result.show(studio, "one")) as user:
            await until_shown(user, "2.000 → 1.000", "7.389 → 2.718", "after update 3")
            await until_shown(user, "50.0%", "75.0%", "better by 25.0 points (95 % interval 15.0 to 35.0)")
            await until_shown(user, *(row[0] for row in ROWS), "<b>红</b>", "1–4 of 4", "None yet.")
            await until_shown(user, "better: token F1 +100.0 points", "worse: token F1 -100.0 points")

    asyncio.run(visit())


def test_the_table_is_filtered_sorted_searched_and_paged(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples, "ROWS", 2)
    add_outcome(studio.workspace, "one", {})
    prompts = {row[0] for row in ROWS}

    async def visit() -> None:
        async with seen(lambda: result.show(studio, "one")) as user:

            async def shows(*wanted: int) -> None:
                await until(lambda: [text for text in texts(user) if text in prompts] == [ROWS[n][0] for n in wanted])

            await shows(0, 1)
            user.find("Next").click()
            await shows(2, 3)
            (toggle,) = user.find(ui.toggle).elements
            assert list(toggle.options.values()) == ["All 4", "Better 2", "Worse 1", "Same 1"]
            toggle.value = "worse"
            await shows(1)
            toggle.value = "all"
            (order,) = (one for one in user.find(ui.select).elements if one.value == "asked")
            order.value = "worst"
            await shows(1, 3)
            user.find("Search the texts").type("颜色")
            await shows(2)
            user.find("Search the texts").clear()
            user.find("Search the texts").type("nowhere")
            await until_shown(user, "No prompt fits this filter.")

    asyncio.run(visit())


def test_an_opened_row_shows_all_turns_and_marks_what_differs(studio: Studio) -> None:
    long = "the same words over and over again " * 20
    rows = [("Say it", f"{long}to the end", "", 0.0, f"{long}to an end", 0.9)]
    add_outcome(studio.workspace, "one", {}, rows)

    async def visit() -> None:
        async with seen(lambda: result.show(studio, "one")) as user:
            await until_shown(user, f"{long[:20]}")
            assert not any(long in text for text in texts(user))
            user.find("Show all").click()
            await until_shown(user, "Be brief.", long.strip(), "Show less")
            marked = {
                element.tag: element.text.strip()
                for element in user.client.elements.values()  # type: ignore[union-attr]
                if isinstance(element, TextElement) and element.tag in ("ins", "del")
            }
            assert marked == {"ins": "an", "del": "the"}

    asyncio.run(visit())


def test_evaluations_appear_when_they_are_done(studio: Studio) -> None:
    run = add_outcome(studio.workspace, "one", {})
    example = {
        "kind": "regression", "source": "test.jsonl, row 7",
        "prompt": "Why?", "references": ["because"], "change": -0.5,
        "answers": {"base": {"text": "because", "score": 1.0}, "tuned": {"text": "<i>no</i>", "score": 0.5}},
    }  # fmt: skip
    part = {
        "name": "general", "kind": "forgetting", "by": "bleu", "metrics": [metric("bleu", 0.5, 0.3, real=True)],
        "examples": [example],
    }  # fmt: skip

    async def visit() -> None:
        async with seen(lambda: result.show(studio, "one")) as user:
            await until_shown(user, "None yet.")
            (run.evaluation / "test").mkdir()
            write_json(run.evaluation / "test/evaluation.json", {"speakers": ["base", "tuned"], "parts": [part]})
            await until_shown(user, "Something was forgotten", "BLEU 50.0% → 30.0%: worse by 20.0 points")
            assert not any("Why?" in text for text in texts(user))
            for fold in ("Scores and examples", "Worst regressions (1)"):
                (opened,) = (one for one in user.find(ui.expansion).elements if one.text == fold)
                opened.open()
            await until_shown(user, "Why?", "<i>no</i>", "test.jsonl, row 7", "BLEU -50.0 points")

    asyncio.run(visit())


def test_the_form_puts_the_command_into_the_queue(studio: Studio) -> None:
    add_outcome(studio.workspace, "one", {})
    (studio.workspace.uploads / "test.jsonl").write_text("{}\n")

    async def visit() -> None:
        async with seen(lambda: result.show(studio, "one")) as user:
            (form,) = (one for one in user.find(ui.expansion).elements if one.text == "Start an evaluation")
            form.open()
            await until_shown(user, "lorafit evaluate runs/one")
            kinds = next(one for one in user.find(ui.toggle).elements if "task" in one.options)
            kinds.value = "data"
            await until_shown(user, "Name a data file")
            user.find("Start").click()
            await user.should_see("Name a data file")
            assert studio.queue.jobs() == []
            (file,) = (one for one in user.find(ui.select).elements if one.props.get("label") == "Data file")
            file.value = "uploads/test.jsonl"
            user.find("Only the first rows").type("5")
            await until_shown(user, "lorafit evaluate runs/one --data=uploads/test.jsonl --limit=5")
            next(one for one in user.find(ui.button).elements if one.text == "Start")
            user.find(kind=ui.button, content="Start").click()
            await until(studio.queue.jobs)
            await until_shown(user, "queued", "Evaluate one: uploads/test.jsonl")

    asyncio.run(visit())
    (job,) = studio.queue.of_run("one")
    assert job.arguments == ("evaluate", "runs/one", "--data=uploads/test.jsonl", "--limit=5")


def test_a_run_without_scores_says_so_in_the_readers_language(studio: Studio) -> None:
    run = add_outcome(studio.workspace, "one", {0: 2.0})
    (run.evaluation / "scores.json").unlink()

    async def visit() -> None:
        async with seen(lambda: result.show(studio, "one"), "zh-CN") as user:
            await until_shown(user, "这次训练没有打分", "留出集损失", "开始一次评测")

    asyncio.run(visit())


def test_runs_are_compared_by_what_differs(studio: Studio) -> None:
    add_outcome(studio.workspace, "one", {0: 2.0, 3: 1.0}, rank=4)
    add_outcome(studio.workspace, "other", {0: 2.0, 3: 1.5}, tuned=0.9, rank=8)

    async def visit() -> None:
        async with seen(lambda: compare.show(studio, ["one", "other", "one"])) as user:
            await until_shown(user, "adapter.rank", "held-out loss", "1.500", "90.0%", "best", "near")
            assert "model.name" not in texts(user) and not any("Not measured alike" in text for text in texts(user))
            (chart,) = user.find(ui.echart).elements
            assert [(one["name"], one["data"]) for one in chart.options["series"]] == [
                ("one", [[0.0, 2.0], [3.0, 1.0]]),
                ("other", [[0.0, 2.0], [3.0, 1.5]]),
            ]

    asyncio.run(visit())


def test_one_run_alone_cannot_be_compared_and_an_unknown_one_is_refused(studio: Studio) -> None:
    add_outcome(studio.workspace, "one", {})

    async def visit() -> None:
        async with seen(lambda: compare.show(studio, ["one"])) as user:
            await until_shown(user, "Choose two or more runs.")

    asyncio.run(visit())
    with pytest.raises(StudioError, match="no run"):
        compare.show(studio, ["one", "gone"])


def test_a_study_shows_its_table_and_follows_its_runs(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study, "LOOK_SECONDS", 0.05)
    folder = studio.workspace.root / "studies/ranks"
    folder.mkdir(parents=True)

    def write(losses: list[float]) -> None:
        runs = [
            {
                "name": f"rank-{rank}-seed-{seed}", "settings": {"adapter.rank": rank}, "seed": seed,
                "state": "finished" if n < len(losses) else "queued", "message": "", "seconds": 60.0,
                "figures": {"held_out_loss": losses[n]} if n < len(losses) else {},
            }
            for n, (rank, seed) in enumerate(((4, 0), (4, 1), (8, 0), (8, 1)))
        ]  # fmt: skip
        content = {"recipe": {}, "files": {}, "axes": {"adapter.rank": [4, 8]}, "seeds": [0, 1], "runs": runs}
        write_json(folder / "study.json", content)

    write([])

    async def visit() -> None:
        async with seen(lambda: study.show(studio, "studies/ranks")) as user:
            await until_shown(user, "No run is finished yet.", "0 of 4", "queued")
            write([1.5, 1.7, 1.0, 1.2])
            await until_shown(user, "4 of 4", "1.60 ±0.14", "1.10 ±0.14", "lowest held-out loss: rank 8")
            assert user.client is not None
            paths = [e.props["d"] for e in user.client.elements.values() if e.tag == "path"]
            assert any(paths) and all(set(path) <= set("MLHh0123456789. ") for path in paths)

    asyncio.run(visit())


def test_what_is_no_study_is_said(studio: Studio) -> None:
    async def visit() -> None:
        async with seen(lambda: study.show(studio, "runs")) as user:
            await until_shown(user, "holds no study.json")

    asyncio.run(visit())
    with pytest.raises(LorafitError, match="stays in there"):
        study.show(studio, "../elsewhere")
