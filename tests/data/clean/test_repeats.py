"""Repetition: loops are found, ordinary text, lists and short answers are not."""

from __future__ import annotations

import pytest
from tests.data.clean.rows import document, row

from lorafit.data.clean.repeats import Repeats, measures

ENGLISH = (
    "A lighthouse stands on the cliff above our village. Its keeper climbs one hundred and twelve steps every evening "
    "to light the lamp, and comes down when fishing boats are safe in harbour. Last winter a storm broke two windows, "
    "so carpenters from the next town brought thick glass and new frames. Children like to visit him on Sundays "
    "because he tells stories about whales, pirates and islands that nobody else has seen."
)
CHINESE = (
    "村子上方的悬崖上立着一座灯塔。守塔人每天傍晚爬上一百一十二级台阶点灯，等渔船都平安回港才下来。去年冬天的暴风打碎了两扇窗户，"
    "邻镇木匠送来厚玻璃和新窗框。孩子们喜欢星期天去看他，因为他会讲鲸鱼、海盗以及没人见过的岛屿。"
)


@pytest.mark.parametrize("text", [ENGLISH, CHINESE, "1. red\n2. red\n3. red", "好 " * 30, ""])
def test_ordinary_and_short_text_passes(text: str) -> None:
    assert Repeats().faults([row("Tell me.", text)]) == [None]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("\n".join([ENGLISH[:120]] * 3 + [ENGLISH, "a", "b", "c"]), "characters in repeated lines"),
        ("\n".join(f"{word}" if i % 2 else "same" for i, word in enumerate(ENGLISH.split())), "repeated lines"),
        (ENGLISH + " Of course." * 20, "the commonest run of 2 words"),
        ("我不知道。" * 20 + CHINESE, "the commonest run of 2 words"),
        (ENGLISH + " " + ENGLISH[:180], "repeated runs of 5 words"),
        (CHINESE + CHINESE[:60], "repeated runs of 5 words"),
    ],
)
def test_what_repeats_is_named(text: str, what: str) -> None:
    rule = Repeats()
    problem = rule.faults([document(text)])[0]
    assert problem is not None
    assert problem.startswith(what)
    assert rule.found == {what: 1}


def test_a_long_question_may_repeat_itself() -> None:
    assert Repeats().faults([row("the same line\n" * 50, ENGLISH)]) == [None]


def test_shares_are_those_counted_by_hand() -> None:
    # 50 different words of two letters, and the first five once more: 5 of 55.
    said = [f"{chr(97 + i // 26)}{chr(97 + i % 26)}" for i in range(50)]
    shares = {what: share for what, share, _ in measures(" ".join(said + said[:5]))}
    assert shares["repeated runs of 5 words"] == pytest.approx(5 / 55)
    assert shares["repeated runs of 6 words"] == 0
    assert shares["the commonest run of 2 words"] == pytest.approx(2 * 2 / 55)
