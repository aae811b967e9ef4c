"""The plan of a new run, as NiceGUI's simulated user sees it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from lorafit.studio.drafts import Draft
from lorafit.studio.pages import new_plan
from lorafit.studio.pages.new_plan import Planner, plan_strip
from lorafit.studio.refusal import StudioError
from lorafit.studio.studio import Studio
from tests.studio.pages.drafting import GB, Desk, element, plan, seen, studio_in, write
from tests.studio.pages.seeing import shows, until

LEANER = {"sentence": "the base in 4 bits (QLoRA)", "overrides": ["model.quantization=nf4"], "saved": 3 * GB,
          "time": 1.204, "fits": True}  # fmt: skip
FASTER = {"sentence": "nothing computed twice", "overrides": ["train.recompute=none", "train.share_prefixes=false"],
          "saved": -GB, "time": None, "fits": False}  # fmt: skip


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def studio(tmp_path: Path, desk: Desk) -> Studio:
    return studio_in(tmp_path, desk)


@pytest.fixture
def draft(studio: Studio) -> Draft:
    return studio.drafts.new({"model.name": "builtin", "data.train": "builtin"})


def test_a_plan_that_fits_says_where_the_memory_goes_and_how_long_it_takes(studio: Studio, draft: Draft) -> None:
    async def visit() -> None:
        async with seen(new_plan.show, studio, draft) as user:
            for text in (
                "Fits on this CPU: 2.00 GB of 8.00 GB.",
                "base weights",
                "All 198 updates: 3.3 to 6.6 minutes",
                "sixteen examples",
                "No single setting would help noticeably.",
            ):
                await until(lambda text=text: shows(user, text))
            assert not shows(user, "exit code 3")

    asyncio.run(visit())


def test_a_plan_that_does_not_fit_has_its_remedies_to_take(studio: Studio, draft: Draft, desk: Desk) -> None:
    first = plan("no", needed=10 * GB, changes=[LEANER, FASTER])
    desk.plans = [first, first, plan()]

    async def visit() -> None:
        async with seen(new_plan.show, studio, draft) as user:
            for text in ("Does not fit on this CPU: 10.0 GB of 8.00 GB, 2.00 GB too much.", "exit code 3",
                         "3.00 GB less memory", "20% longer", "then it fits", "not enough alone"):  # fmt: skip
                await until(lambda text=text: shows(user, text))
            user.find(marker="use model.quantization=nf4").click()
            await until(lambda: shows(user, "Fits on this CPU"))

    asyncio.run(visit())
    assert draft.settings["model.quantization"] == "nf4"
    assert desk.planned()[-1]["model"] == {"name": "builtin", "quantization": "nf4"}


def test_another_device_is_planned_for_and_kept(studio: Studio, draft: Draft, desk: Desk) -> None:
    desk.plans = [plan(), plan(), plan("no", needed=9 * GB)]

    async def visit() -> None:
        async with seen(new_plan.show, studio, draft) as user:
            await until(lambda: len(desk.planned()) == 2)
            await write(user, "device", "RTX 4090")
            await until(lambda: desk.asked[-1][2] == "RTX 4090")
            await until(lambda: shows(user, "Does not fit"))
            assert not shows(user, "exit code 3")  # which is of this machine

    asyncio.run(visit())
    assert '"gpu": "RTX 4090"' in draft.file.read_text()


def test_a_plan_that_cannot_be_made_says_why_and_is_made_again(studio: Studio, draft: Draft, desk: Desk) -> None:
    draft.gpu = "rtx9999"
    desk.plans = [StudioError("no such device is known"), plan()]

    async def visit() -> None:
        async with seen(new_plan.show, studio, draft) as user:
            await until(lambda: shows(user, "no such device is known"))
            assert element(user, "device").value == "rtx9999"
            await write(user, "device", "this")
            await until(lambda: shows(user, "Fits on this CPU"))
            assert not shows(user, "no such device is known")

    asyncio.run(visit())


def test_a_card_without_a_large_enough_piece_and_without_speed(studio: Studio, draft: Draft, desk: Desk) -> None:
    desk.plans = [plan("no", needed=7 * GB, update_seconds=None, run_seconds=None, paged=GB, changes=[])]

    async def visit() -> None:
        async with seen(new_plan.show, studio, draft) as user:
            for text in ("of 8.00 GB no piece is left", "No time can be told", "1.00 GB of optimizer state"):
                await until(lambda text=text: shows(user, text))

    asyncio.run(visit())


def test_of_several_changes_only_the_last_is_planned_and_an_old_plan_is_not_drawn(
    studio: Studio, draft: Draft, desk: Desk
) -> None:
    desk.plans = [plan("tight", needed=7 * GB), plan()]

    async def visit() -> None:
        strips: list[Planner] = []
        async with seen(lambda a, b: strips.append(plan_strip(a, b)), studio, draft) as user:
            await until(lambda: shows(user, "Tight on this CPU: 7.00 GB of 8.00 GB."))
            for epochs in (4, 5, 6):
                draft.set("train.epochs", epochs)
                strips[0].again(0.05)
            await until(lambda: shows(user, "Fits on this CPU"))
            desk.plans, desk.slow = [plan("no")], 0.1
            strips[0].again(0)
            await until(lambda: len(desk.planned()) == 3)
            desk.plans, desk.slow = [plan(needed=3 * GB)], 0.0
            strips[0].again(0)
            await until(lambda: shows(user, "3.00 GB of 8.00 GB"))
            await asyncio.sleep(0.15)
            assert shows(user, "3.00 GB of 8.00 GB")

    asyncio.run(visit())
    assert [recipe["train"]["epochs"] for recipe in desk.planned()[1:]] == [6, 6, 6]


def test_nothing_is_planned_before_there_is_a_model(studio: Studio, desk: Desk) -> None:
    async def visit() -> None:
        async with seen(new_plan.show, studio, studio.drafts.new()) as user:
            assert shows(user, "Choose a model and data first.")

    asyncio.run(visit())
    assert desk.asked == []
