"""What a speaker is asked, and the row of data that becomes of a conversation."""

from __future__ import annotations

from lorafit.studio.conversations import Answer, Conversation, Turn


def user(text: str) -> dict[str, object]:
    return {"role": "user", "content": text}


def said(text: str, **more: object) -> dict[str, object]:
    return {"role": "assistant", "content": text, **more}


def talk() -> Conversation:
    return Conversation(
        system=" Be brief. ",
        turns=[
            Turn("one", {"a": Answer("a1", reason="stop"), "b": Answer("b1", corrected="b1!", reason="stop")}),
            Turn("two", {"a": Answer("", fault="no"), "b": Answer("b2", rating="good", reason="stop")}),
            Turn("three", {"b": Answer("b3", rating="bad", reason="stop")}),
            Turn("four", {"a": Answer("a4", reason="stop"), "b": Answer("b4", corrected="b4!", reason="stop")}),
        ],
    )


def test_each_speaker_knows_the_turns_that_it_answered_as_they_were_corrected() -> None:
    system = {"role": "system", "content": "Be brief."}
    assert talk().prompt("a", 3) == [system, user("one"), said("a1"), user("four")]
    assert talk().prompt("b", 1) == [system, user("one"), said("b1!"), user("two")]
    assert talk().prompt("new", 3) == [system, user("four")]
    assert Conversation(system=" ", turns=[Turn("one")]).prompt("a", 0) == [user("one")]


def test_a_row_is_not_trained_on_answers_that_nobody_found_good() -> None:
    row = talk().row("b", 3)[1:]
    assert row == [
        user("one"),
        said("b1!"),
        user("two"),
        said("b2"),
        user("three"),
        said("b3", weight=0),
        user("four"),
        said("b4!"),
    ]
    assert talk().prompt("b", 3)[-2] == said("b3"), "the prompt itself is as it was"
