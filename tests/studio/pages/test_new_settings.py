"""The settings of a new run, as NiceGUI's simulated user sees them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from lorafit.studio.drafts import Draft
from lorafit.studio.form import recipe_fields
from lorafit.studio.pages import new_plan, new_settings
from lorafit.studio.pages.new_settings import COMMON, ELSEWHERE, METHOD, method_values, more_fields
from lorafit.studio.pages.setting_advice import advise, band_words
from lorafit.studio.pages.setting_fields import Editor, kept_scale
from lorafit.studio.refusal import StudioError
from lorafit.studio.studio import Studio
from tests.studio.pages.drafting import Desk, advice, element, seen, studio_in, write
from tests.studio.pages.seeing import shows, until


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.setattr(new_plan, "WAIT", 0.02)
    return Desk()


@pytest.fixture
def studio(tmp_path: Path, desk: Desk) -> Studio:
    return studio_in(tmp_path, desk)


@pytest.fixture
def draft(studio: Studio) -> Draft:
    made = studio.drafts.new({"model.name": "builtin", "data.train": "builtin"})
    made.follow(advice())
    made.save()
    return made


def test_every_setting_has_one_place() -> None:
    places = [*COMMON, *METHOD, *ELSEWHERE, *(field.name for field in more_fields())]
    assert sorted(places) == sorted(recipe_fields())


def test_the_advice_is_shown_with_its_reasons_and_nothing_of_it_is_taken_for_html(studio: Studio, draft: Draft) -> None:
    async def visit() -> None:
        async with seen(new_settings.show, studio, draft) as user:
            for text in ("LoRA, as it fits.", "<b>few</b> rows", "because of adapter.rank", "Advice: 8.", "as advised"):
                assert shows(user, text), text
            await until(lambda: shows(user, "Fits on this CPU: 2.00 GB of 8.00 GB."))

    asyncio.run(visit())


def test_advice_is_asked_for_where_there_is_none(studio: Studio, desk: Desk) -> None:
    draft = studio.drafts.new({"model.name": "builtin", "data.train": "builtin", "train.epochs": 9.0})

    async def visit() -> None:
        async with seen(new_settings.show, studio, draft) as user:
            await until(lambda: shows(user, "LoRA, as it fits."))
            assert element(user, "adapter.rank").value == "8"
            assert element(user, "train.epochs").value == "9"  # the user's own stays
            assert shows(user, "Back to the advice: 3")
            await until(desk.planned)
            assert desk.planned()[0]["adapter"] == {"rank": 8, "alpha": 16.0}

    asyncio.run(visit())
    assert studio.drafts.open(draft.id).advice is not None


def test_without_advice_one_can_go_on(studio: Studio, desk: Desk) -> None:
    desk.advised = StudioError("No method trains it.")
    draft = studio.drafts.new({"model.name": "builtin", "data.train": "builtin"})

    async def visit() -> None:
        async with seen(new_settings.show, studio, draft) as user:
            await until(lambda: shows(user, "No method trains it."))
            await until(lambda: shows(user, "Fits on this CPU"))
            desk.advised = advice()
            user.find("Ask again").click()
            await until(lambda: shows(user, "LoRA, as it fits."))

    asyncio.run(visit())


def test_the_same_advice_is_asked_for_once_and_old_advice_is_dropped(studio: Studio, desk: Desk) -> None:
    draft = studio.drafts.new({"model.name": "builtin", "data.train": "builtin"})

    async def ask() -> None:
        await asyncio.gather(advise(studio, draft), advise(studio, draft))
        assert [asked[0] for asked in desk.asked] == ["advice"]
        late = asyncio.create_task(advise(studio, draft))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        draft.set("data.train", "uploads/other.json")
        await late

    asyncio.run(ask())
    assert draft.advice is None and "adapter.rank" not in draft.settings


def test_a_change_is_saved_planned_and_can_be_taken_back(studio: Studio, draft: Draft, desk: Desk) -> None:
    async def visit() -> None:
        async with seen(new_settings.show, studio, draft) as user:
            await until(desk.planned)
            await write(user, "train.epochs", "5")
            await until(lambda: shows(user, "Back to the advice: 3"))
            assert "epochs: 5" in draft.yaml() and '"train.epochs": 5' in draft.file.read_text()
            await until(lambda: desk.planned()[-1]["train"].get("epochs") == 5)
            user.find("Back to the advice: 3").click()
            await until(lambda: element(user, "train.epochs").value == "3")
            assert draft.value("train.epochs") == 3
            await write(user, "train.epochs", "")  # the default
            await until(lambda: "train.epochs" not in draft.settings)

    asyncio.run(visit())


def test_a_wrong_value_is_said_at_its_field_in_the_recipes_words(studio: Studio, draft: Draft) -> None:
    async def visit() -> None:
        async with seen(new_settings.show, studio, draft) as user:
            await write(user, "train.epochs", "many")
            await until(lambda: element(user, "train.epochs").error)
            assert element(user, "train.epochs").error.startswith("found 'many'")
            assert element(user, "adapter.rank").error is None
            await write(user, "train.epochs", "2")
            await until(lambda: element(user, "train.epochs").error is None)

    asyncio.run(visit())


def test_a_path_outside_and_code_are_refused_and_not_taken(studio: Studio, draft: Draft) -> None:
    async def visit() -> None:
        async with seen(new_settings.show, studio, draft) as user:
            await write(user, "data.held_out", "/etc/passwd")
            await until(lambda: element(user, "data.held_out").error)
            assert "data.held_out" not in draft.settings
            with user:
                element(user, "more").set_value(True)
            await until(lambda: shows(user, "observe.wandb"))
            await write(user, "evaluate.metrics", "mine.py:score")
            await until(lambda: element(user, "evaluate.metrics").error)
            assert "evaluate.metrics" not in draft.settings

    asyncio.run(visit())


def test_settings_that_do_not_agree_are_said_above(studio: Studio, draft: Draft) -> None:
    draft.set("data.limit", 5)
    draft.set("data.streaming", True)

    async def visit() -> None:
        async with seen(new_settings.show, studio, draft) as user:
            await until(lambda: shows(user, "These settings do not go together: limit draws from all rows"))

    asyncio.run(visit())


def test_more_settings_can_be_searched_in_the_readers_language(studio: Studio, draft: Draft) -> None:
    async def visit() -> None:
        async with seen(new_settings.show, studio, draft, "zh") as user:
            with user:
                element(user, "more").set_value(True)
            await until(lambda: shows(user, "data.clean.unicode"))
            for words, there, gone in (
                ("留出损失", "train.patience", "train.seed"),
                ("data clean email", "data.clean.personal_kinds", "data.clean.unicode"),
            ):
                await write(user, "search", words)
                await until(lambda gone=gone: not shows(user, gone))
                assert shows(user, there)
            await write(user, "search", "没有这样的词")
            await until(lambda: shows(user, "没有包含这些词的设置。"))
            await write(user, "search", "")
            await write(user, "data.clean.personal_kinds", ["email"])
            await until(lambda: draft.value("data.clean.personal_kinds") == ["email"])

    asyncio.run(visit())


def test_a_method_is_two_settings_and_the_advised_rate_only_for_its_kind(studio: Studio, draft: Draft) -> None:
    rate = "train.learning_rate"

    async def visit() -> None:
        async with seen(new_settings.show, studio, draft) as user:
            with user:
                editor = Editor(studio, draft)
                assert method_values(editor, "qlora") == {
                    "model.quantization": "nf4", "adapter.method": "lora", rate: 0.004}  # fmt: skip
                assert method_values(editor, "full")[rate] == "auto"
                draft.set(rate, 1e-3)  # the user's own is left alone
                assert rate not in method_values(editor, "full")
                element(user, "method").set_value("full")
            await until(lambda: draft.settings.get("adapter.method") == "none")
            await until(lambda: shows(user, "Full fine-tuning has no adapter: this is not used."))

    asyncio.run(visit())


def test_alpha_goes_with_the_rank(draft: Draft) -> None:
    assert kept_scale(draft, {"adapter.rank": 32}) == {"adapter.alpha": 64.0}
    assert kept_scale(draft, {"adapter.rank": 32, "adapter.alpha": 1.0}) == {}
    assert kept_scale(draft, {"adapter.rank": "wide"}) == {}
    assert kept_scale(draft, {"train.epochs": 1}) == {}


def test_times_are_told_in_their_largest_unit(studio: Studio, draft: Draft) -> None:
    async def visit() -> None:
        async with seen(new_settings.show, studio, draft) as user:
            with user:
                told = [band_words(*band) for band in ((0.05, 1.234), (59, 131), (3000, 9000), (1e5, 2e5))]
        assert told == ["0.05 to 1.2 seconds", "0.98 to 2.2 minutes", "0.83 to 2.5 hours", "1.2 to 2.3 days"]

    asyncio.run(visit())
