"""New run, second step: the data, uploaded or chosen, and what is wrong with it before anything is trained."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from nicegui import ui
from nicegui.events import UploadEventArguments

from lorafit import builtin
from lorafit.errors import LorafitError
from lorafit.report.words import size
from lorafit.studio.drafts import Draft
from lorafit.studio.frame import button, card, heading, notice
from lorafit.studio.pages.new_choice import Choices, Steps, prepare_advice
from lorafit.studio.pages.new_report import show_report
from lorafit.studio.pages.steps import next_step
from lorafit.studio.studio import Studio
from lorafit.studio.words import t, t_core
from lorafit.studio.workspace import UPLOAD_BYTES

KEY, MODEL = "data.train", "model.name"
MOST_FILES = 7
OF_TRAIN = ("epochs", "batch_size")


def show(studio: Studio, draft: Draft) -> None:
    bar = Steps(draft, "data")
    heading(t("What should it learn from?"), 1)
    _Data(studio, draft, bar)
    next_step(draft, "data")


class _Data:
    """The choice of the data, and the report of what is chosen."""

    def __init__(self, studio: Studio, draft: Draft, bar: Steps) -> None:
        self._studio, self._draft, self._bar = studio, draft, bar
        self._looked = 0
        with card(t("Choose the data"), t("questions with answers, conversations, or texts")):
            self._upload()
            self._choices = Choices(self._choose)
            self._offer(builtin.NAME, t("Built-in data"), t("some 1,000 questions and answers, to try with"))
            with ui.element("div").classes("inline top"):
                self._name = ui.input(
                    t("Or a file, a folder, a pattern, or a data set on Hugging Face"), placeholder="uploads/*.jsonl"
                )
                self._name.props("outlined dense spellcheck=false").classes("grow").mark("data")
                button(t("Look at it"), self._take)
            self._name.on("keydown.enter", self._take)
            self._name.on("blur", self._take)
        self._found = ui.element("div").classes("setting-stack").props("aria-live=polite")
        ui.timer(0, self._begin, once=True)

    def _upload(self) -> None:
        upload = ui.upload(
            label=t("Drop a file here"),
            auto_upload=True,
            max_file_size=UPLOAD_BYTES,
            on_upload=self._uploaded,
            on_rejected=lambda: ui.notify(
                t("This file is too large to upload. Copy it into the workspace folder, and choose it there."),
                type="negative", multi_line=True,
            ),
        ).classes("drop").props("flat bordered hide-upload-btn").mark("upload")  # fmt: skip
        upload.on("failed", lambda: ui.notify(t("The upload did not arrive. Try it again."), type="negative"))
        with upload.add_slot("list"), ui.element("div").classes("drop-inner"):
            ui.icon("upload_file").classes("drop-icon").props("aria-hidden=true")
            ui.label(t("Drop a file here: JSON, JSONL, CSV, Parquet, or documents such as PDF and Markdown."))
            pick = ui.button(t("Choose a file …"), icon="folder_open").props("unelevated no-caps color=primary")
            pick.on("click", js_handler=f"() => getElement({upload.id}).$refs.qRef.pickFiles()")

    async def _uploaded(self, event: UploadEventArguments) -> None:
        workspace = self._studio.workspace
        try:
            path = await workspace.save_upload(event.file.name, event.file.iterate())
        except LorafitError as error:
            self._say(str(error))
            return
        finally:
            if isinstance(event.sender, ui.upload):
                event.sender.reset()
        name = workspace.shown(path)
        self._offer(name, path.name, t("uploaded just now"))
        await self._choose(name)

    def _offer(self, value: str, title: str, note: str) -> None:
        self._choices.add(value, title, note)

    async def _begin(self) -> None:
        workspace, draft = self._studio.workspace, self._draft
        files = await asyncio.to_thread(lambda: [(one, one.stat().st_size) for one in workspace.data_files()])
        if self._found.is_deleted:
            return
        for path, bytes_ in files[:MOST_FILES]:
            self._offer(workspace.shown(path), path.name, size(max(bytes_, 1000)))
        if chosen := draft.settings.get(KEY):
            if isinstance(chosen, str) and chosen != builtin.NAME:
                self._name.set_value(chosen)
            await self._choose(chosen)

    async def _take(self) -> None:
        typed = (self._name.value or "").strip()
        if typed and typed != self._draft.settings.get(KEY):
            await self._choose(typed)

    async def _choose(self, train: str | list[Any]) -> None:
        """It stays chosen when there is something wrong with it: the file or a setting can be mended."""
        draft = self._draft
        try:
            await asyncio.to_thread(self._studio.workspace.check_recipe, {"data": {"train": train}})
            draft.set(KEY, train)
            draft.save()
        except LorafitError as error:
            self._say(str(error))
            return
        self._bar.draw()
        if not self._found.is_deleted:
            self._choices.press(train if isinstance(train, str) else None)
        await self._look()

    async def _set(self, key: str, value: Any) -> None:
        """A setting of the data, and the report with it."""
        try:
            self._draft.set(key, value)
            self._draft.save()
        except LorafitError as error:
            self._say(str(error))
            return
        await self._look()

    async def _look(self) -> None:
        """The report of the data as it is set now. Of several that are asked for, the last is shown."""
        draft = self._draft
        self._looked = number = self._looked + 1
        train = draft.value(KEY)
        if draft.value(MODEL) is None:
            self._show(lambda: _no_model(draft))
            return
        self._show(_waiting)
        settings = {name: draft.value(f"train.{name}") for name in OF_TRAIN} | _data_settings(draft)
        try:
            report = await self._studio.desk.data(draft.value(MODEL), train, **settings)
        except LorafitError as error:
            if number == self._looked:
                self._say(str(error))
            return
        if number != self._looked:
            return
        prepare_advice(self._studio, draft)
        self._show(lambda: show_report(draft, report, self._set))

    def _show(self, build: Callable[[], object]) -> None:
        if not self._found.is_deleted:
            self._found.clear()
            with self._found:
                build()

    def _say(self, text: str) -> None:
        def build() -> None:
            with notice(t_core(text), "fault"):
                if "data.columns" in text:
                    ui.link(t("Name the columns: More settings, data.columns"), f"/new/{self._draft.id}/settings")

        self._show(build)


def _data_settings(draft: Draft) -> dict[str, Any]:
    """The `data` of the draft's recipe, but for what is asked for."""
    data = draft.content().get("data", {})
    return {name: value for name, value in data.items() if name != "train"}


def _waiting() -> None:
    with ui.row().classes("inline"):
        ui.spinner()
        ui.label(t("Reading the data as the model will see it …"))


def _no_model(draft: Draft) -> None:
    with notice(t("Choose a model first: its tokens and its template decide what it sees of the data."), "warning"):
        ui.link(t("To the model"), f"/new/{draft.id}/model")
