"""The review of a new run and its start, as NiceGUI's simulated user sees them."""

from __future__ import annotations

import asyncio
import shlex
from pathlib import Path

import pytest
from nicegui.testing.user_navigate import UserNavigate

from lorafit.recipe import load_recipe
from lorafit.studio.drafts import Draft
from lorafit.studio.pages import new_review
from lorafit.studio.pages.new_review import command, start, step_of, suggested_name
from lorafit.studio.refusal import StudioError
from lorafit.studio.studio import Studio
from tests.studio.pages.drafting import GB, Desk, advice, element, plan, seen, studio_in, write
from tests.studio.pages.seeing import shows, until


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def studio(tmp_path: Path, desk: Desk) -> Studio:
    return studio_in(tmp_path, desk)


@pytest.fixture
def draft(studio: Studio) -> Draft:
    draft = studio.drafts.new({"model.name": "builtin", "data.train": "builtin", "train.epochs": 1})
    draft.advice = advice()
    draft.save()
    return draft


@pytest.fixture
def gone_to(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Where a click would have led to."""
    gone: list[str] = []
    monkeypatch.setattr(UserNavigate, "to", lambda self, target: gone.append(target))
    return gone


def test_the_command_line_makes_the_same_recipe(draft: Draft) -> None:
    settings = {
        "data.columns": {"prompt": "it's", "answer": "回答"},
        "data.held_out": "my rows/test.jsonl",
        "data.clean.languages": ["en", "no"],
        "adapter.targets": r"layers\\.\d+: x",
        "data.template": "12",
        "train.learning_rate": 2e-5,
        "train.self_check": False,
    }
    for name, value in settings.items():
        draft.set(name, value)
    lorafit, verb, *overrides = shlex.split(command(draft))
    assert (lorafit, verb) == ("lorafit", "train")
    assert load_recipe(None, overrides) == draft.recipe()


def test_start_queues_the_recipe_under_its_name_and_removes_the_draft(
    studio: Studio, draft: Draft, gone_to: list[str]
) -> None:
    async def visit() -> None:
        async with seen(new_review.show, studio, draft) as user:
            await until(lambda: shows(user, "Fits on this CPU"))
            assert shows(user, "Train builtin on builtin: LoRA on 16 bits.")
            await write(user, "name", "first run 一")
            await until(lambda: shows(user, "name: first run 一"))  # in the recipe
            user.find(marker="start").click()
            user.find(marker="start").click()
            await until(lambda: gone_to)

    asyncio.run(visit())
    (job,) = studio.queue.jobs()
    assert (job.kind, job.run, job.arguments) == ("train", "first run 一", ("train", f"{job.folder}/recipe.yaml"))
    recipe = load_recipe(job.folder / "recipe.yaml")
    assert (recipe.name, recipe.output, recipe.train.epochs) == ("first run 一", "runs", 1)
    assert gone_to == ["/run/first%20run%20%E4%B8%80"]
    assert studio.drafts.all() == []


@pytest.mark.parametrize("impatient", [False, True])
def test_who_comes_before_the_advice_starts_with_it_or_knowingly_without(
    studio: Studio, gone_to: list[str], impatient: bool
) -> None:
    draft = studio.drafts.new({"model.name": "builtin", "data.train": "builtin"})

    async def visit() -> None:
        async with seen(new_review.show, studio, draft) as user:
            assert not shows(user, "What will be done")
            if impatient:
                user.find("Go on without advice").click()
            await until(lambda: shows(user, "What will be done"))
            user.find(marker="start").click()
            await until(lambda: gone_to)

    asyncio.run(visit())
    recipe = load_recipe(studio.queue.jobs()[0].folder / "recipe.yaml")
    assert recipe.adapter.rank == (16 if impatient else 8)


def test_without_a_name_one_is_made(studio: Studio, draft: Draft, gone_to: list[str]) -> None:
    draft.set("data.train", "uploads/a b.jsonl")
    draft.advice = advice()  # the one before was of other data
    (studio.workspace.uploads / "a b.jsonl").write_text("{}\n")
    assert suggested_name(draft).startswith("builtin-a-b-lora-20")

    async def visit() -> None:
        async with seen(new_review.show, studio, draft) as user:
            user.find(marker="start").click()
            await until(lambda: gone_to)

    asyncio.run(visit())
    assert (studio.queue.jobs()[0].run or "").startswith("builtin-a-b-lora-20")


@pytest.mark.parametrize("name", ["taken", "../out", "a/b", ".hidden", "-x", "x" * 201, "line\nbreak"])
def test_a_name_that_cannot_be_is_refused_at_once(studio: Studio, draft: Draft, gone_to: list[str], name: str) -> None:
    (studio.workspace.runs / "taken").mkdir()

    async def visit() -> None:
        async with seen(new_review.show, studio, draft) as user:
            await write(user, "name", name)
            await until(lambda: element(user, "name").error)
            user.find(marker="start").click()
            await asyncio.sleep(0.05)

    asyncio.run(visit())
    assert gone_to == [] and studio.queue.jobs() == [] and draft.value("name") is None


def test_a_run_that_does_not_fit_is_started_only_when_confirmed(
    studio: Studio, draft: Draft, desk: Desk, gone_to: list[str]
) -> None:
    desk.plans = [plan("no", needed=9 * GB)]

    async def visit() -> None:
        async with seen(new_review.show, studio, draft) as user:
            await until(lambda: shows(user, "The step Plan says what would make it fit."))
            user.find(marker="start").click()
            await until(lambda: shows(user, "The plan needs 9.00 GB of 8.00 GB."))
            user.find(marker="not-yet").click()
            await until(lambda: not shows(user, "The plan needs 9.00 GB of 8.00 GB."))
            assert studio.queue.jobs() == [] and gone_to == []
            user.find(marker="start").click()
            await until(lambda: shows(user, "Start anyway"))
            user.find("Start anyway").click()
            await until(lambda: gone_to)

    asyncio.run(visit())
    assert len(studio.queue.jobs()) == 1


def test_faults_lead_to_where_they_are_mended(studio: Studio, draft: Draft) -> None:
    draft.set("train.epochs", -1)
    draft.set("data.held_out", "/etc/passwd")

    async def visit() -> None:
        async with seen(new_review.show, studio, draft) as user:
            await until(lambda: shows(user, "data.held_out: '/etc/passwd' is not a path within"))
            assert shows(user, "Mend it: Settings")
            draft.unset("data.held_out")
            user.find(marker="start").click()
            await until(lambda: shows(user, "train.epochs: found -1"))

    asyncio.run(visit())
    assert studio.queue.jobs() == []
    assert [step_of(name) for name in ("model.name", "data.train", "train.epochs", "")] == [
        "model", "data", "settings", "settings"]  # fmt: skip


def test_what_is_missing_is_said_before_all_else(studio: Studio) -> None:
    async def visit() -> None:
        async with seen(new_review.show, studio, studio.drafts.new()) as user:
            assert shows(user, "model.name: not chosen yet") and shows(user, "Mend it: Data")
            assert not shows(user, "The command")

    asyncio.run(visit())


def test_a_draft_is_started_once(studio: Studio, draft: Draft) -> None:
    start(studio, draft, "one")
    with pytest.raises(StudioError, match="no such draft"):
        start(studio, draft, "two")
    assert [job.run for job in studio.queue.jobs()] == ["one"]
