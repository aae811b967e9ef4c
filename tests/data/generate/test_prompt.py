"""The prompts that come with lorafit are whole, and a user's own says what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from lorafit.data.generate import built_in, language_of, load_prompt
from lorafit.errors import DataError

VALUES = {
    "passage": "米拉住在柳树街。",
    "headings": ["Streets", "Willow"],
    "file": "a.md",
    "place": "",
    "rows": 7,
    "examples": [{"instruction": "Say <it>.", "output": ""}, {"instruction": "Sing.", "output": "La."}],
}


def test_the_kinds() -> None:
    assert sorted(built_in()) == ["classification", "dialogue", "instructions", "qa", "summary", "variety"]


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("kind", sorted(built_in()))
def test_built_in_prompts_render(kind: str, language: str) -> None:
    prompt = load_prompt(kind, language)
    other = load_prompt(kind, "zh" if language == "en" else "en")
    for field in ("made_from", "rows", "input"):
        assert getattr(prompt.head, field) == getattr(other.head, field)
    system, user = prompt.messages(VALUES)
    assert language_of(system.content) == language
    assert prompt.head.about
    assert "JSON" in user.content
    assert "{{" not in user.content
    for shown in ("米拉住在柳树街。", "7") if prompt.head.made_from == "passage" else ("Say <it>.", "La.", "7"):
        assert shown in user.content


def test_a_prompt_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "own.jinja"
    path.write_text("{{ passage }}?", encoding="utf-8")
    assert [message.content for message in load_prompt(str(path)).messages(VALUES)] == ["米拉住在柳树街。?"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("---\nfrom: seeds\n---\n{{ passage }}", "uses passage"),
        ("{{ rows }}", "does not use {{ passage }}"),
        ("---\nrows: 0\n---\n{{ passage }}", "rows"),
        ("---\nrow: 2\n---\n{{ passage }}", "row: .*Its keys are about, from, rows"),
        ("---\n- [\n---\n{{ passage }}", "not YAML"),
        ("---\nrows: 1\n---\n{{ passage }}\n{% if %}", "line 5"),
        ("{{ passage }}{{ secret }}", "uses secret"),
    ],
)
def test_wrong_prompts(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "own.jinja"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=said):
        load_prompt(str(path))


@pytest.mark.parametrize("code", ["{{ passage.__class__.__mro__ }}", "{{ headings.append(1) }}", "{{ 1 // 0 }}"])
def test_templates_are_kept_in_a_sandbox(tmp_path: Path, code: str) -> None:
    path = tmp_path / "own.jinja"
    path.write_text("{{ passage }}" + code, encoding="utf-8")
    with pytest.raises(DataError, match="fails"):
        load_prompt(str(path)).messages(VALUES)


def test_unknown_names() -> None:
    with pytest.raises(DataError, match="neither a file nor one of classification, dialogue"):
        load_prompt("quiz")


def test_languages() -> None:
    assert language_of("The word 中文 means Chinese.") == "en"
    assert language_of("使用 Python 编写的程序需要安装依赖。") == "zh"
    assert language_of("") == "en"
