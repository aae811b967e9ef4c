"""New run, third step: the advice with its reasons, the settings that most people change, and all others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from nicegui import ui

from lorafit.recipe import METHODS
from lorafit.studio.drafts import Draft
from lorafit.studio.form import FormField, method_of, recipe_fields, written
from lorafit.studio.frame import card, heading, notice
from lorafit.studio.pages.new_plan import plan_strip
from lorafit.studio.pages.setting_advice import advice_card, is_due, method_words
from lorafit.studio.pages.setting_fields import Editor, field_input, mark, reason
from lorafit.studio.pages.setting_more import more_settings
from lorafit.studio.pages.steps import next_step, steps
from lorafit.studio.studio import Studio
from lorafit.studio.words import t

COMMON = (
    "adapter.rank",
    "train.learning_rate",
    "train.epochs",
    "train.batch_size",
    "data.max_length",
    "adapter.targets",
    "data.held_out",
    "evaluate.prompts",
)
METHOD = ("model.quantization", "adapter.method")  # what a method stands for
# Asked on other steps; where runs are kept is the studio's own.
ELSEWHERE = {"output": "", "name": "review", "model.name": "model", "data.train": "data"}


def show(studio: Studio, draft: Draft) -> None:
    steps(draft, "settings")
    heading(t("Method and settings"), 1)
    with ui.element("div").classes("setting-stack") as page:
        pass

    def build() -> None:
        page.clear()
        with page:
            _page(studio, draft, build)

    build()


def _page(studio: Studio, draft: Draft, again: Callable[[], None]) -> None:
    editor = Editor(studio, draft)
    advice_card(studio, draft, again, lambda: strip.again())
    strip = plan_strip(studio, draft, at_once=not is_due(draft))
    editor.changed.append(strip.again)
    disagree = ui.element("div").classes("setting-stack")

    def told(text: str) -> None:
        disagree.clear()
        if text:
            with disagree:
                notice(t("These settings do not go together: {text}", text=text), "fault")

    editor.disagree = told
    with card(t("The settings that matter most")), ui.element("div").classes("setting-grid"):
        _method(editor)
        for name in COMMON:
            _common(editor, name)
    more_settings(editor, more_fields())
    next_step(draft, "settings")
    ui.timer(0, editor.tell, once=True)


def more_fields() -> Iterator[FormField]:
    """The settings that are not asked for elsewhere."""
    apart = {*COMMON, *METHOD, *ELSEWHERE}
    return (field for name, field in recipe_fields().items() if name not in apart)


# ---------------------------------------------------------------- the method


def _method(editor: Editor) -> None:
    draft = editor.draft
    with ui.element("div").classes("setting setting-wide"):
        heading(t("Method"), 3)
        now = method_of(*(draft.value(name) for name in METHOD))
        options = {name: method_words(name) for name in METHODS}
        chosen = ui.select(options, label=t("How the model is trained"), value=now or None)
        chosen.props("outlined dense options-dense hide-bottom-space").classes("setting-input").mark("method")
        _sentence(
            t("LoRA trains a small adapter and leaves the model itself as it is."),
            t("Lighter, QLoRA: the model in 4 bits takes the least memory and more time, and is a little coarser."),
            t("Heavier, full fine-tuning: every weight learns; it takes several times the memory and forgets most."),
        )
        advised = method_words(method_of(*(editor.start_value(name) for name in METHOD)))
        for name in METHOD:
            reason(editor, name, advised)
        with ui.element("div").classes("inline"):
            for name in METHOD:
                mark(editor, name)

    async def change() -> None:
        if chosen.value:
            await editor.set(method_values(editor, chosen.value))

    def redraw() -> None:
        chosen.set_value(method_of(*(draft.value(name) for name in METHOD)) or None)

    chosen.on_value_change(change)
    editor.watch(redraw)


def method_values(editor: Editor, method: str) -> dict[str, Any]:
    """The settings of a method. The rate of the advice is for adapters or for all weights, ten times apart: when the
    choice changes between them, it becomes `auto`, and the advised one again on the way back."""
    rate, values = "train.learning_rate", dict[str, Any](METHODS[method])
    advised = editor.advised(rate)
    if advised and editor.draft.value(rate) in (advised["value"], "auto"):
        same = values["adapter.method"] == editor.start_value("adapter.method")
        values[rate] = advised["value"] if same else "auto"
    return values


# ---------------------------------------------------------------- the others


def _common(editor: Editor, name: str) -> None:
    field = recipe_fields()[name]
    title, label, what, small, large = _plain_words(name)
    with ui.element("div").classes("setting") as box:
        heading(title, 3)
        if name == "adapter.targets":
            _layers(editor, field, label)
        elif name == "adapter.rank":
            _rank(editor, field, label)
        else:
            field_input(editor, field, label)
        _sentence(what, small, large)
        reason(editor, name)
        mark(editor, name)
    if name.startswith("adapter."):
        note = ui.label(t("Full fine-tuning has no adapter: this is not used.")).classes("warn-text small")
        note.move(box)

        def redraw() -> None:
            note.set_visibility(editor.draft.value("adapter.method") == "none")

        redraw()
        editor.watch(redraw)


def _plain_words(name: str) -> tuple[str, str, str, str, str]:
    """(title, label, what it is, too small, too large) of a common setting."""
    return {
        "adapter.rank": (
            t("Size of the adapter"),
            t("Rank"),
            t("How much the adapter can hold."),
            t("Too small: it cannot hold what the data teaches, and the loss stays high."),
            t("Too large: more memory, and a few rows are sooner learnt by heart."),
        ),
        "train.learning_rate": (
            t("Learning rate"),
            t("Rate, such as 2e-4, or auto"),
            t("How far each update moves the weights."),
            t("Too small: the loss hardly falls, and the answers stay as they were."),
            t("Too large: the loss jumps or rises, and the model forgets what it could do."),
        ),
        "train.epochs": (
            t("Passes over the data"),
            t("Epochs"),
            t("How often every row is seen."),
            t("Too few: the model has not yet learnt the answers."),
            t("Too many: it learns the rows by heart, and the held-out loss rises again."),
        ),
        "train.batch_size": (
            t("Rows in one update"),
            t("Batch size"),
            t("How many rows make one update. It hardly changes the memory: an update is cut into passes."),
            t("Too small: every update follows a few rows, and the loss is restless."),
            t("Too large: there are too few updates to learn from."),
        ),
        "data.max_length": (
            t("Longest sample"),
            t("Tokens"),
            t("Longer samples are cut, split or dropped (data.too_long)."),
            t("Too small: the ends of long answers are never learnt."),
            t("Too large: one long sample decides how much memory the whole run needs."),
        ),
        "adapter.targets": (
            t("Adapted layers"),
            t("Layers"),
            t("Which layers of the model get an adapter."),
            t("Too few: less can be learnt, whatever the rank."),
            t("All of them: somewhat more memory and time; this is what papers and we advise."),
        ),
        "data.held_out": (
            t("Rows held out"),
            t("A share such as 0.05, or a file"),
            t("Rows that are not trained on, to measure what was learnt. 0 for none."),
            t("Too few: the score is a matter of luck, and learning by heart is noticed late."),
            t("Too many: these rows are missing from training, and measuring takes longer."),
        ),
        "evaluate.prompts": (
            t("Answers compared"),
            t("Held-out questions"),
            t("Questions that the model answers before and after training, side by side."),
            t("Too few: a difference between the two can be chance."),
            t("Too many: writing the answers may take longer than the training."),
        ),
    }[name]


def _sentence(what: str, small: str, large: str) -> None:
    ui.label(what)
    with ui.element("ul").classes("setting-sides dim"):
        for text in (small, large):
            with ui.element("li"):
                ui.label(text)


def _rank(editor: Editor, field: FormField, label: str) -> None:
    field_input(editor, field, label)
    note = ui.label().classes("dim small")

    def redraw() -> None:
        alpha = written(recipe_fields()["adapter.alpha"], editor.draft.value("adapter.alpha"))
        note.set_text(t("adapter.alpha goes with it, now {alpha}: the adapter keeps its weight.", alpha=alpha))

    redraw()
    editor.watch(redraw)


def _layers(editor: Editor, field: FormField, label: str) -> None:
    field_input(editor, field, label)
    words = {
        "all-linear": t("all-linear: every linear layer"),
        "attention": t("attention: the layers of attention"),
        "attention-qv": t("attention-qv: of these the queries and values"),
    }
    ui.label("; ".join(words[choice] for choice in field.choices if choice in words)).classes("dim small")
