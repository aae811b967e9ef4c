"""All settings that have no place of their own: by part of the recipe, made from its schema, to be searched."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

from nicegui import ui

from lorafit.studio.form import FormField
from lorafit.studio.frame import heading
from lorafit.studio.pages.setting_fields import Editor, field_input, mark, reason
from lorafit.studio.words import t, t_core

Groups = list[tuple[ui.element, list[tuple[FormField, ui.element]]]]


def more_settings(editor: Editor, fields: Iterable[FormField]) -> None:
    """A card that is built when it is opened: most people never do. fields: in the order of the recipe."""
    with ui.element("section").classes("card"):
        opened = ui.expansion(t("More settings")).classes("setting-fold").mark("more")
        with opened:
            inner = ui.element("div").classes("setting-stack")
    built = False

    async def build() -> None:
        nonlocal built
        if opened.value and not built:
            built = True
            with inner:
                _search(_groups(editor, fields))
            await editor.tell()

    opened.on_value_change(build)


def _groups(editor: Editor, fields: Iterable[FormField]) -> Groups:
    """(group, its (setting, element) pairs): a group for each part of the recipe."""
    groups = []
    for part, of_part in groupby(fields, key=lambda field: field.part):
        with ui.element("div").classes("setting-stack") as group:
            heading(_part_words(part), 3)
            with ui.element("div").classes("setting-grid"):
                groups.append((group, [(field, _other(editor, field)) for field in of_part]))
    return groups


def _other(editor: Editor, field: FormField) -> ui.element:
    with ui.element("div").classes("setting") as box:
        field_input(editor, field, field.name.rpartition(".")[2])
        ui.label(t_core(field.description)).classes("small")
        reason(editor, field.name)
        mark(editor, field.name)
    return box


def _search(groups: Groups) -> None:
    wanted = ui.input(t("Search the settings")).props("outlined dense clearable debounce=200 type=search")
    wanted.classes("setting-input").mark("search")
    none = ui.label(t("No setting has these words.")).classes("dim")
    none.set_visibility(False)
    wanted.move(target_index=0)

    def find() -> None:
        words = (wanted.value or "").lower().split()
        seen = False
        for group, boxes in groups:
            any_of_group = False
            for field, box in boxes:
                text = f"{field.name} {field.description} {t_core(field.description)}".lower()
                fits = all(word in text for word in words)
                box.set_visibility(fits)
                any_of_group |= fits
            group.set_visibility(any_of_group)
            seen |= any_of_group
        none.set_visibility(not seen)

    wanted.on_value_change(find)


def _part_words(part: str) -> str:
    return {
        "model": t("Model"),
        "data": t("Data"),
        "data.clean": t("Cleaning the data"),
        "adapter": t("Adapter"),
        "train": t("Training"),
        "evaluate": t("Evaluation"),
        "observe": t("Watching"),
    }.get(part, part)
