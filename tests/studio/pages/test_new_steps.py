"""The steps model and data: their words, what they offer, and what they ask the desk for."""

from __future__ import annotations

import ast
import string
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from lorafit.studio import pages
from lorafit.studio.drafts import Drafts
from lorafit.studio.pages.new_data import _data_settings
from lorafit.studio.pages.new_model import _offered, count_words
from lorafit.studio.pages.new_report import _LEFT_OPEN
from lorafit.studio.studio import Studio
from lorafit.studio.words import CHINESE
from lorafit.studio.workspace import Workspace


def blanks(text: str) -> set[str | None]:
    return {name for _, name, _, _ in string.Formatter().parse(text)} - {None}


@pytest.mark.parametrize("page", ["new_model", "new_data", "new_report", "new_choice", "steps"])
def test_every_sentence_is_there_in_chinese_with_the_same_blanks(page: str) -> None:
    tree = ast.parse((Path(pages.__path__[0]) / f"{page}.py").read_text())
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    found = {
        ast.literal_eval(call.args[0]) for call in calls if isinstance(call.func, ast.Name) and call.func.id == "t"
    }
    assert [text for text in found if text not in CHINESE] == []
    assert [text for text in found if blanks(text) != blanks(CHINESE[text])] == []


def test_bases_of_earlier_runs_and_folders_are_offered(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    for folder in ("mine", "models/other", "exports/merged"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "config.json").touch()
    runs = [SimpleNamespace(model=name) for name in ("Qwen/Qwen3-0.6B", "builtin", "", "mine", "Qwen/Qwen3-0.6B")]
    studio = SimpleNamespace(workspace=workspace, runs=SimpleNamespace(summaries=lambda: runs))
    assert _offered(cast(Studio, studio)) == [
        ("Qwen/Qwen3-0.6B", "run"), ("mine", "folder"), ("models/other", "folder"), ("exports/merged", "folder"),
    ]  # fmt: skip


def test_the_report_is_asked_for_with_the_drafts_settings(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"data.train": "a.json", "data.max_length": 64, "data.clean.empty": "drop"}
    draft = Drafts(Workspace(tmp_path)).new({**settings, "train.epochs": 1.0})
    assert _data_settings(draft) == {"max_length": 64, "clean": {"empty": "drop"}}


@pytest.mark.parametrize(("count", "words"), [(999, "999"), (3_279_104, "3.28 M"), (8_190_735_360, "8.19 B")])
def test_parameters_are_rounded(count: int, words: str) -> None:
    assert count_words(count) == words


@pytest.mark.parametrize(
    ("setting", "is_open"),
    [
        ("FILE.jinja", True),
        ("{thinking: COLUMN}", True),
        ("...", True),
        ("512", False),
        ("drop", False),
        ("0.1", False),
    ],
)
def test_a_setting_that_the_reader_has_to_complete_has_no_button(setting: str, is_open: bool) -> None:
    assert bool(_LEFT_OPEN.search(setting)) == is_open
