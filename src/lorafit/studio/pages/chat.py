"""The chat: one question to several runs and their base side by side, and corrected answers kept as data.

The page watches a conversation (studio/answering.py) that its address names: opened again, it goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from urllib.parse import quote

from nicegui import context, ui

from lorafit.errors import LorafitError
from lorafit.studio.conversations import Answer
from lorafit.studio.corrections import add_correction, corrections_file, count_rows, rate
from lorafit.studio.frame import button, card, heading, main_button
from lorafit.studio.pages.chat_answer import AnswerView, Uses, as_text
from lorafit.studio.pages.chat_servers import ServerList
from lorafit.studio.pages.chat_settings import Sampling, show_templates
from lorafit.studio.speakers import BASE_OF
from lorafit.studio.studio import Studio
from lorafit.studio.words import t

DRAW_SECONDS = 0.1  # between two looks at answers that are being given
# Enter sends and Shift+Enter makes a line; the Enter that ends the input of a Chinese word does neither.
SEND_KEY = """(event) => {
    if (event.key !== 'Enter' || event.shiftKey || event.isComposing || event.keyCode === 229) return;
    event.preventDefault();
    emit();
}"""


def show(studio: Studio, names: list[str]) -> None:
    """names: of runs; `base` for the base of the first of them. Raises StudioError for one that nobody has."""
    page = _Chat(studio, names)
    context.client.on_delete(page.leave)


class _Chat:
    def __init__(self, studio: Studio, names: list[str]) -> None:
        self.studio, self.chats, self.talks = studio, studio.chats, studio.chats.talks
        self.page = context.client.id
        self.talk = self.talks.open(context.client.request.query_params.get("talk", "")) or self.talks.new()
        self.chosen = self.chats.speakers.chosen(names)
        self.growing: list[AnswerView] = []
        self._build()
        self._chosen_now()
        self._show_turns()
        ui.timer(DRAW_SECONDS, self._draw)

    # ------------------------------------------------------------------------------------------------ the screen

    def _build(self) -> None:
        with ui.element("div").classes("between"):
            heading(t("Chat"), 1)
            button(t("New conversation"), self._begin_anew, "restart_alt")
        self._choosing()
        self.sampling = Sampling(self.talk)
        with ui.expansion(t("The template they are asked with"), icon="code").classes("folded") as self.template:
            self.template.on_value_change(self._show_templates)
        self.turns = ui.element("div").classes("turns").props("role=log")
        self._composer()
        self._data()

    def _choosing(self) -> None:
        with card(t("Who answers")):
            picker = ui.select(
                {speaker.name: _shown(speaker.name) for speaker in self.chats.speakers.all()},
                multiple=True,
                with_input=True,
                value=[speaker.name for speaker in self.chosen],
                label=t("Runs and base models"),
                on_change=lambda event: self._choose(event.value),
            )
            picker.props("outlined use-chips").classes("full who")
            ui.label(
                t(
                    "Choose one or several: each answers the same question in a column of its own. "
                    "Runs of one base share its memory."
                )
            ).classes("dim small")
            self.servers = ServerList(self.studio)

    def _composer(self) -> None:
        with ui.element("div").classes("composer"):
            self.box = ui.textarea(placeholder=t("Ask something")).props("outlined autogrow autofocus dense")
            self.box.props["aria-label"] = t("Your question")
            self.box.props["hint"] = t("Enter sends, Shift+Enter makes a new line.")
            self.box.mark("question").on("keydown", self._send, js_handler=SEND_KEY)
            self.send = main_button(t("Send"), self._send, "send")
            self.stop = button(t("Stop"), lambda: self.talks.stop(self.talk), "stop")

    def _data(self) -> None:
        with card(t("Corrected answers as data")):
            ui.label(
                t(
                    "Correct an answer with the pencil, then keep it: the conversation up to it becomes a row of a "
                    "data set that a next run can learn from. Earlier answers in it are learned from only where you "
                    "corrected them or rated them as good."
                )
            ).classes("dim small")
            with ui.element("div").classes("inline"):
                first = next((speaker.name for speaker in self.chosen if not speaker.is_base), "chat")
                self.name = ui.input(t("Name of the data set"), value=first, on_change=self._count)
                self.name.props("outlined dense").classes("wide-input")
                self.count = ui.label().classes("dim")
                self.use = button(t("Use as data of a new run"), self._use, "arrow_forward")
        self._count()

    def _show_templates(self) -> None:
        self.template.clear()
        if self.template.value:
            with self.template:
                show_templates(self.chosen, _shown)

    def _show_turns(self) -> None:
        self.turns.clear()
        self.growing = []
        if not self.talk.turns:
            with self.turns:
                ui.label(t("Ask a question, and compare what they say.")).classes("dim")
        for number in range(len(self.talk.turns)):
            self._show_turn(number)

    def _show_turn(self, number: int) -> ui.element:
        turn = self.talk.turns[number]
        with self.turns, ui.element("div").classes("turn") as box:
            ui.label(turn.question).classes("question said")
            with ui.element("div").classes("answers"):
                for place, (name, answer) in enumerate(turn.answers.items()):
                    view = AnswerView(_shown(name), place, answer, self._uses(number, name, answer))
                    if not answer.is_over:
                        self.growing.append(view)
        return box

    def _draw(self) -> None:
        """Show what has come of answers since the last look."""
        self.growing = [view for view in self.growing if view.grow()]
        busy = self.talks.is_busy(self.talk)
        self.send.visible, self.stop.visible = not busy, busy

    # --------------------------------------------------------------------------------------------------- choosing

    def _choose(self, names: list[str]) -> None:
        try:
            self.chosen = self.chats.speakers.chosen(names)
        except LorafitError as error:  # its folder is gone since the page was opened
            ui.notify(str(error), type="negative")
            return
        self._chosen_now()
        self._address()

    def _chosen_now(self) -> None:
        self.chats.hold(self.page, self.chosen)
        self.servers.of(self.chosen)
        self._show_templates()

    def leave(self) -> None:
        self.chats.leave(self.page)

    def _address(self) -> None:
        """Name what is chosen in the address, and the conversation as soon as there is one."""
        runs = ",".join(quote(speaker.name, safe=":/") for speaker in self.chosen)
        talk = f"&talk={self.talk.id}" if self.talk.turns else ""
        ui.navigate.history.replace(f"/chat?runs={runs}{talk}")

    # ----------------------------------------------------------------------------------------------------- asking

    def _begin_anew(self) -> None:
        self.talks.stop(self.talk)
        self.talk = self.talks.new(self.talk.system)
        self.sampling.talk = self.talk
        self._show_turns()
        self._address()

    def _send(self) -> None:
        question = as_text(self.box.value).strip()
        if not question:
            return
        if self.talks.is_busy(self.talk):
            ui.notify(t("Wait for the answers, or stop them: then this can be sent."))
            return
        if not self.chosen:
            ui.notify(t("Choose who answers first."), type="warning")
            return
        try:
            self.talks.ask(self.talk, self.chosen, question, self.sampling.values())
        except LorafitError as error:
            ui.notify(str(error), type="negative")
            return
        self.box.value = ""
        if len(self.talk.turns) == 1:
            self.turns.clear()
        box = self._show_turn(len(self.talk.turns) - 1)
        ui.run_javascript(f"getHtmlElement({box.id}).scrollIntoView({{behavior: 'smooth'}})")
        self._address()

    # ------------------------------------------------------------------------------------- what is made of answers

    def _uses(self, number: int, name: str, answer: Answer) -> Uses:
        talk, workspace = self.talk, self.studio.workspace

        async def rated() -> None:
            prompt = talk.prompt(name, number)
            rating = {"rating": answer.rating, "sampling": answer.sampling}
            await _tried(lambda: rate(workspace, name, prompt, answer.text, **rating))
            await corrected()

        async def corrected() -> None:
            await _tried(lambda: self.talks.save(talk))

        async def keep() -> None:
            row, chosen = talk.row(name, number), self.name.value or ""
            if await _tried(lambda: add_correction(workspace, chosen, row)):
                answer.saved = answer.best
                await corrected()
                self._count()

        return Uses(rated, corrected, keep)

    def _count(self) -> None:
        try:
            rows = count_rows(path := corrections_file(self.studio.workspace, self.name.value or ""))
        except LorafitError as error:
            self.count.text = str(error)
            self.use.visible = False
            return
        self.count.text = t("Rows in {file}: {rows}", rows=rows, file=self.studio.workspace.shown(path))
        self.use.visible = rows > 0

    def _use(self) -> None:
        path = corrections_file(self.studio.workspace, self.name.value or "")
        settings = {"data.train": self.studio.workspace.shown(path)}
        if self.chosen:
            settings["model.name"] = self.chosen[0].weights.base
        ui.navigate.to(f"/new/{self.studio.drafts.new(settings).id}/model")


async def _tried(work: Callable[[], object]) -> bool:
    """Do what writes to the disk; False, and said, when it cannot be done."""
    try:
        await asyncio.to_thread(work)
    except LorafitError as error:
        ui.notify(str(error), type="negative")
        return False
    return True


def _shown(name: str) -> str:
    """A speaker's name on the screen."""
    if not name.startswith(BASE_OF):
        return name
    base = name.removeprefix(BASE_OF).rstrip("/")
    return t("{name} (base, not tuned)", name=base.rpartition("/")[2] or base)
