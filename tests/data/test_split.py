"""The held-out rows: the same in every run, and no question on both sides."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from lorafit.data.split import is_held_out
from lorafit.records import Conversation, Message, Source


def asked(question: str, answer: str = "an answer", *later: str) -> Conversation:
    turns = [
        Message("assistant" if place % 2 else "user", text) for place, text in enumerate((question, answer, *later))
    ]
    return Conversation(tuple(turns), Source("rows.json", 1))


def held_out_of(rows: list[Conversation], share: float) -> list[Conversation]:
    return [row for row in rows if is_held_out(row, share)]


@settings(deadline=None)
@given(question=st.text("aé小🦊 Ｗw?", min_size=1), share=st.floats(0, 0.5))
def test_case_width_and_spaces_do_not_matter(question: str, share: float) -> None:
    side = is_held_out(asked(question), share)
    wide = "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in question)
    for same in (question.upper().lower(), f"  {question}\n", question.replace(" ", " \t "), wide):
        assert is_held_out(asked(same), share) == side


@settings(deadline=None)
@given(
    question=st.text(min_size=1),
    answers=st.lists(st.sampled_from(["yes", "no", "maybe"]), min_size=2),
    share=st.floats(0, 0.5),
)
def test_all_answers_to_a_question_are_on_one_side(question: str, answers: list[str], share: float) -> None:
    rows = [asked(question, answer, "and then?", answer) for answer in answers]
    assert len(held_out_of(rows, share)) in {0, len(rows)}


def test_the_share_is_about_kept() -> None:
    rows = [asked(f"question {number}") for number in range(2000)]
    for share in (0.02, 0.1, 0.5):
        held_out = held_out_of(rows, share)
        # Five standard deviations of a binomial draw.
        assert abs(len(held_out) - 2000 * share) < 5 * (2000 * share * (1 - share)) ** 0.5


@settings(deadline=None)
@given(shares=st.tuples(st.floats(0, 0.5), st.floats(0, 0.5)).map(sorted))
def test_a_larger_share_keeps_what_was_held_out(shares: list[float]) -> None:
    rows = [asked(f"question {number}") for number in range(200)]
    small, large = (held_out_of(rows, share) for share in shares)
    assert {c.prompt for c in small} <= {c.prompt for c in large}


def test_the_split_is_the_same_for_ever() -> None:
    # Written down: another hash would move rows that were held out into the training of the next version.
    held_out = held_out_of([asked(f"question {number}") for number in range(60)], 0.1)
    assert [c.messages[0].content.removeprefix("question ") for c in held_out] == ["1", "49"]
