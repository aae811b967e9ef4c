"""Every sentence of the studio's own screens has its Chinese, with the same places to fill."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import lorafit.studio
from lorafit.studio.words import CHINESE, preferred, said_in

ROOM = Path(lorafit.studio.__file__).parent


def calls() -> Iterator[tuple[str, ast.Call]]:
    for file in sorted(ROOM.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("t", "said_in"):
                yield f"{file.relative_to(ROOM)}:{node.lineno}", node


def sentences() -> dict[str, str]:
    """{sentence: the first place where it is said}."""
    found: dict[str, str] = {}
    for place, call in calls():
        for argument in call.args:
            for part in ast.walk(argument):
                if isinstance(part, ast.Constant) and isinstance(part.value, str) and part.value not in ("en", "zh"):
                    found.setdefault(part.value, place)
    return found


def test_every_sentence_has_its_chinese() -> None:
    missing = {text: place for text, place in sentences().items() if text and text not in CHINESE}
    assert not missing


def test_both_have_the_same_places_to_fill() -> None:
    places = re.compile(r"\{(\w+)")
    for english, chinese in CHINESE.items():
        assert set(places.findall(english)) == set(places.findall(chinese)), english


def test_the_language_is_the_chosen_one_else_the_browsers_else_english() -> None:
    assert preferred("zh", "en-US,en") == "zh"
    assert preferred(None, "fr-FR, zh-CN;q=0.8, en;q=0.5") == "zh"
    assert preferred("xx", "fr") == "en"
    assert said_in("zh", "Runs") == "训练记录" and said_in("en", "Runs") == "Runs"
