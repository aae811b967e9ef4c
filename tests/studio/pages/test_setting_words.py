"""The words of the steps settings, plan and review: every setting, every sentence of these pages, has its Chinese."""

from __future__ import annotations

import ast
import string
from pathlib import Path

import pytest

from lorafit.report.memory import PARTS
from lorafit.studio import pages
from lorafit.studio.form import fields_of
from lorafit.studio.words import CHINESE
from lorafit.studio.words.settings import DESCRIPTIONS, PAGES

PAGE_FILES = ("steps", "setting_advice", "setting_fields", "setting_more", "new_settings", "new_plan", "new_review")


def sentences(file: Path) -> set[str]:
    """The first argument of every call of `t`, which has to be a literal."""
    calls = [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)]
    return {ast.literal_eval(call.args[0]) for call in calls if isinstance(call.func, ast.Name) and call.func.id == "t"}


def test_every_setting_has_its_description_in_chinese() -> None:
    assert [field.name for field in fields_of() if not DESCRIPTIONS.get(field.description)] == []


def test_no_description_is_left_of_a_setting_that_is_gone() -> None:
    assert DESCRIPTIONS.keys() - {field.description for field in fields_of()} == set()


def test_every_part_of_a_plan_has_its_name_in_chinese() -> None:
    assert [part for part in PARTS if part not in CHINESE] == []


@pytest.mark.parametrize("page", PAGE_FILES)
def test_every_sentence_of_a_page_is_there_in_chinese_with_the_same_blanks(page: str) -> None:
    def blanks(text: str) -> set[str | None]:
        return {name for _, name, _, _ in string.Formatter().parse(text)} - {None}

    found = sentences(Path(pages.__path__[0]) / f"{page}.py")
    assert found
    assert [text for text in found if text not in CHINESE] == []
    assert [text for text in found if blanks(text) != blanks(CHINESE[text])] == []


def test_no_sentence_is_left_of_a_page_that_is_gone() -> None:
    said = set().union(*(sentences(Path(pages.__path__[0]) / f"{page}.py") for page in PAGE_FILES))
    assert PAGES.keys() - said == set()
