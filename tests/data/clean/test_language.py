"""The language of answers, with the model that the package ships."""

from __future__ import annotations

import pytest
from tests.data.clean.rows import row

from lorafit.data.clean.language import WrongLanguage

SAID = {
    "en": "The keeper climbs the stairs every evening to light the lamp.",
    "zh": "机器学习是人工智能的一个分支，它让计算机从数据中学习规律。",
    "ja": "灯台守は毎晩、階段を上って明かりをつけます。",
    "ko": "등대지기는 매일 저녁 계단을 올라가 불을 켭니다.",
    "fr": "Le gardien monte l'escalier chaque soir pour allumer la lampe.",
}


@pytest.mark.parametrize("wanted", SAID)
def test_only_the_wanted_language_passes(wanted: str) -> None:
    rule = WrongLanguage([wanted], 0.65)
    problems = rule.faults([row("Say it.", text) for text in SAID.values()])
    assert [problem is None for problem in problems] == [code == wanted for code in SAID]
    assert set(rule.found) == set(SAID) - {wanted}


def test_the_question_does_not_matter_and_too_little_is_not_judged() -> None:
    rule = WrongLanguage(["en"], 0.65)
    assert (
        rule.faults([row(SAID["zh"], SAID["en"]), row("?", "好的"), row("?", "Oui."), row("?", "3.14159 2.71828")])
        == [None] * 4
    )


def test_han_characters_alone_are_not_japanese() -> None:
    rule = WrongLanguage(["zh"], 0.1)
    assert rule.faults([row("情感？", "根据输入的推文内容，情感是积极、自豪和成功。")]) == [None]


def test_a_higher_confidence_drops_less() -> None:
    mixed = row("?", "Bonjour means hello, and merci means thank you, mon ami.")
    counts = [sum(p is not None for p in WrongLanguage(["de"], c).faults([mixed])) for c in (0.01, 1.0)]
    assert counts == [1, 0]
