"""Settings on a page: what is typed goes into the draft at once, what the recipe says of it comes back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from nicegui import context, ui
from nicegui.elements.mixins.validation_element import ValidationElement
from nicegui.elements.mixins.value_element import ValueElement
from nicegui.events import ValueChangeEventArguments

from lorafit.errors import LorafitError
from lorafit.studio.drafts import Draft
from lorafit.studio.form import FormField, faults_of, parse, recipe_fields, written
from lorafit.studio.studio import Studio
from lorafit.studio.words import t, t_core

Told = Callable[[str], None]


class Editor:
    """A draft and what of it a page shows. changed: called after every change, when it is saved. disagree: told what is
    wrong with several settings together, or nothing."""

    def __init__(self, studio: Studio, draft: Draft) -> None:
        self.studio, self.draft = studio, draft
        self.changed: list[Callable[[], None]] = []
        self.disagree: Told = _nothing
        self._redraws: list[Callable[[], None]] = []
        self._faults: dict[str, Told] = {}
        self._refused: dict[str, str] = {}
        self._told = 0
        self._client = context.client

    def advised(self, name: str) -> dict[str, Any] | None:
        """The advice on a setting: key, value, reason and source; None where there is none."""
        settings = (self.draft.advice or {}).get("settings", ())
        return next((setting for setting in settings if setting["key"] == name), None)

    def start_value(self, name: str) -> Any:
        """The advised value, else the default."""
        advised = self.advised(name)
        return advised["value"] if advised else recipe_fields()[name].default

    def watch(self, redraw: Callable[[], None], fault: Told | None = None, name: str = "") -> None:
        """Have something drawn anew after every change; fault: told what is wrong with `name`, or nothing."""
        self._redraws.append(redraw)
        if fault:
            self._faults[name] = fault

    async def set(self, values: Mapping[str, Any]) -> None:
        """Put values into the draft and save it. What the workspace refuses is said at its field, and not taken."""
        mended = [name for name in values if self._refused.pop(name, "")]
        values = {name: value for name, value in values.items() if self.draft.value(name) != value}
        values = {**kept_scale(self.draft, values), **values}
        if not values and not mended:
            return
        try:
            await asyncio.to_thread(self.studio.workspace.check_recipe, values)
            for name, value in values.items():
                self.draft.set(name, value)
            self.draft.save()
        except LorafitError as error:
            self._refused |= {name: fault_words(name, str(error).removeprefix(f"{name}: ")) for name in values}
        for redraw in self._redraws:
            redraw()
        for changed in self.changed:
            changed()
        await self.tell()

    async def tell(self) -> None:
        """Say every fault of the draft at its field."""
        self._told += 1
        turn = self._told
        check = self.studio.workspace.check_recipe
        found = await asyncio.to_thread(faults_of, self.draft.content(), check)
        if turn != self._told:  # a later one knows better
            return
        with self._client:  # what was clicked may be drawn anew by now
            told = {name: fault_words(name, text) for name, text in reversed(found) if name} | self._refused
            for name, fault in self._faults.items():
                fault(told.get(name, ""))
            self.disagree("\n".join(t_core(text) for name, text in found if not name))


def fault_words(name: str, text: str) -> str:
    """What is wrong with a setting in the reader's language, without its name before it."""
    return t_core(f"{name}: {text}").removeprefix(name).lstrip(":： ")


def kept_scale(draft: Draft, values: Mapping[str, Any]) -> dict[str, Any]:
    """The alpha that goes with a new rank: the update is multiplied by alpha/rank, which stays as it is."""
    numbers = [values.get("adapter.rank"), draft.value("adapter.rank"), draft.value("adapter.alpha")]
    if "adapter.alpha" in values or not all(isinstance(number, int | float) and number > 0 for number in numbers):
        return {}
    rank, before, alpha = numbers
    return {"adapter.alpha": alpha * rank / before}


def _nothing(text: str) -> None:
    """Where nobody is told."""


def field_input(editor: Editor, field: FormField, label: str) -> ValueElement[Any]:
    """The element that a setting is changed with. label: what it is called, for the eye and for a screen reader."""
    value = editor.draft.value(field.name)

    async def change(event: ValueChangeEventArguments[Any]) -> None:
        await editor.set({field.name: _taken(field, event.value)})

    if field.kind == "switch":
        element: ValueElement[Any] = ui.switch(label, value=value is True, on_change=change)
    elif field.kind in ("choice", "choices"):
        element = _select(field, label, value, change)
    else:
        element = _typed(field, label, value, change)
    element.mark(field.name)
    if isinstance(element, ValidationElement):
        element.without_auto_validation()  # which would take away what is said of the value

    seen = value

    def redraw() -> None:
        nonlocal seen
        before, seen = seen, editor.draft.value(field.name)
        if seen != before and _taken(field, element.value) != seen:  # else it is being typed in
            element.set_value(_shown(field, seen))

    def fault(text: str) -> None:
        if isinstance(element, ValidationElement):
            element.error = text or None

    editor.watch(redraw, fault, field.name)
    return element


def mark(editor: Editor, name: str) -> None:
    """Whose value a setting has: the advice's, the default, or another with a button that takes it back."""
    row = ui.element("div").classes("setting-mark")
    start, advised = editor.start_value(name), editor.advised(name) is not None
    seen: list[Any] = []

    async def back() -> None:
        await editor.set({name: start})

    def draw() -> None:
        value = editor.draft.value(name)
        if seen == [value]:
            return
        seen[:] = [value]
        row.clear()
        with row:
            ui.label(name).classes("setting-name")
            if value == start:
                style = "setting-advised" if advised else "dim small"
                ui.label(t("as advised") if advised else t("default")).classes(style)
                return
            ui.label(t("changed")).classes("warn-text small")
            words = t("Back to the advice: {value}") if advised else t("Back to the default: {value}")
            words = words.format(value=written(recipe_fields()[name], start) or t("empty"))
            ui.button(words, on_click=back).props("flat dense no-caps").classes("setting-back small")

    draw()
    editor.watch(draw)


def reason(editor: Editor, name: str, shown: str = "") -> None:
    """Why the advice has this value, and who says so. shown: the value in words."""
    advised = editor.advised(name)
    if advised and advised["reason"]:
        source = advised["source"]
        cited = t(", ").join(t_core(text) for text in (source["name"], source["where"]) if text)
        with ui.element("div").classes("setting-reason small"):
            ui.label(t("Advice: {value}.", value=shown or written(recipe_fields()[name], advised["value"]))).classes(
                "strong"
            )
            ui.label(t_core(advised["reason"]))
            with ui.label(cited).classes("dim"):
                ui.tooltip(t_core(source["says"]))


def _select(field: FormField, label: str, value: Any, change: Callable[..., Any]) -> ui.select:
    several = field.kind == "choices"
    had = value if several and isinstance(value, list) else [value]
    options = [*field.choices, *(one for one in had if one not in field.choices)]
    element = ui.select(options, label=label, value=had if several else value, multiple=several, on_change=change)
    element.props("outlined dense options-dense hide-bottom-space").classes("setting-input")
    return element


def _typed(field: FormField, label: str, value: Any, change: Callable[..., Any]) -> ui.input | ui.textarea:
    text = written(field, value)
    if field.kind in ("list", "yaml") and not field.choices and isinstance(field.default, list | dict):
        element: ui.input | ui.textarea = ui.textarea(label, value=text, on_change=change).props("autogrow")
    else:
        element = ui.input(label, value=text, on_change=change, autocomplete=list(field.choices))
    hint = _hint(field)
    element.props("outlined dense debounce=500 hide-bottom-space").classes("setting-input")
    if hint:
        element.props["hint"] = hint
    if field.kind in ("whole", "number") and not field.choices:
        element.props("inputmode=decimal")
    return element


def _hint(field: FormField) -> str:
    """What may be written here, in a few words."""
    bounds = t(", ").join(_bound(bound) for bound in (field.lowest, field.highest) if bound)
    words = t(", ").join(field.choices)
    kinds = {"whole": t("a whole number"), "number": t("a number"), "list": t("separated by commas")}
    kind = t("as YAML, such as {example}", example="{a: b}") if isinstance(field.default, dict) else ""
    told = t(", ").join(part for part in (kinds.get(field.kind, kind), bounds) if part)
    if words:
        told = t("{number}, or one of: {words}", number=told, words=words) if told else words
    empty = t("may be empty") if field.default is None and not field.required else ""
    return t("; ").join(part for part in (told, empty) if part)


def _bound(bound: str) -> str:
    """`>= 1` in words."""
    sign, _, number = bound.partition(" ")
    words = {">=": t("at least {n}"), ">": t("more than {n}"), "<=": t("at most {n}"), "<": t("less than {n}")}
    return words[sign].format(n=number)


def _taken(field: FormField, value: Any) -> Any:
    """What an element holds as a value of the recipe: an empty field is the default."""
    if not isinstance(value, str):
        return value
    return parse(field, value) if value.strip() else field.default


def _shown(field: FormField, value: Any) -> Any:
    return value if field.kind in ("switch", "choice", "choices") else written(field, value)
