"""Conversations that are answered in the background, whatever becomes of the page."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from lorafit.studio import answering
from lorafit.studio.answering import End, Talks
from lorafit.studio.conversations import Conversation
from lorafit.studio.refusal import StudioError
from lorafit.studio.speakers import Speaker, Weights
from lorafit.studio.workspace import Workspace

A, B = Speaker("a", Weights("M")), Speaker("b", Weights("M"))
closed: list[str] = []


async def stream(
    speaker: Speaker,
    messages: Sequence[Mapping[str, Any]],
    sampling: Mapping[str, Any],
    say: Callable[[str], None],
    end: End,
) -> AsyncGenerator[str]:
    """Says back what it is asked; asked "long" it never ends, and b has no answer to "b fails"."""
    try:
        say("loading")
        await asyncio.sleep(0.01)
        yield f"{speaker.name}: "
        if messages[-1]["content"] == "b fails" and speaker is B:
            raise StudioError("no more memory")
        while messages[-1]["content"] == "long":
            await asyncio.sleep(0.01)
            yield "x"
        yield f"{len(messages)} {sampling['max_tokens']}"
        end.reason, end.tokens = "length", 5
    finally:
        closed.append(speaker.name)


@pytest.fixture
def talks(tmp_path: Path) -> Talks:
    closed.clear()
    return Talks(Workspace(tmp_path), stream)


async def ask(talks: Talks, talk: Conversation, question: str, stop_after: float | None = None) -> None:
    talks.ask(talk, [A, B], question, {"max_tokens": 9})
    if stop_after is not None:
        await asyncio.sleep(stop_after)
        with pytest.raises(StudioError, match="still being answered"):
            talks.ask(talk, [A], "x", {})
        talks.stop(talk)
    while talks.is_busy(talk):
        await asyncio.sleep(0.01)


def test_all_answer_at_once_and_it_is_on_the_disk(talks: Talks, tmp_path: Path) -> None:
    talk = talks.new("Be brief.")
    asyncio.run(ask(talks, talk, "一?"))
    asyncio.run(ask(talks, talk, "two"))
    answers = talk.turns[1].answers
    assert [answers[name].text for name in "ab"] == ["a: 4 9", "b: 4 9"]
    assert (answers["a"].reason, answers["a"].tokens, answers["a"].loading) == ("length", 5, None)
    assert talks.open(talk.id) is talk, "all pages see one conversation"
    again = Talks(Workspace(tmp_path), stream).open(talk.id)
    assert again is not None and (again.system, again.turns) == (talk.system, talk.turns)


def test_what_fails_is_said_in_its_column(talks: Talks) -> None:
    talk = talks.new()
    asyncio.run(ask(talks, talk, "b fails"))
    answers = talk.turns[0].answers
    assert (answers["b"].text, answers["b"].fault, answers["b"].reason) == ("b: ", "no more memory", "")
    assert (answers["a"].text, answers["a"].fault) == ("a: 1 9", "")


def test_stopped_answers_keep_what_is_there(talks: Talks) -> None:
    talk = talks.new()
    asyncio.run(ask(talks, talk, "long", stop_after=0.2))
    assert sorted(closed) == ["a", "b"], "their requests are closed"
    assert all(answer.reason == "stopped" and answer.text.endswith("x") for answer in talk.turns[0].answers.values())


def test_answers_that_the_studio_did_not_live_to_end(talks: Talks, tmp_path: Path) -> None:
    talk = talks.new()
    asyncio.run(ask(talks, talk, "one"))
    path = tmp_path / ".studio" / "chat" / "conversations" / f"{talk.id}.json"
    content = json.loads(path.read_text())
    content["turns"][0]["answers"]["a"] |= {"reason": ""}
    path.write_text(json.dumps(content))
    again = Talks(Workspace(tmp_path), stream).open(talk.id)
    assert again is not None and again.turns[0].answers["a"].reason == "stopped"


@pytest.mark.parametrize("id", ["", "../../secret", "0" * 16, "broken"])
def test_what_is_no_conversation(talks: Talks, tmp_path: Path, id: str) -> None:
    folder = tmp_path / ".studio" / "chat" / "conversations"
    folder.mkdir(parents=True)
    (folder / "broken.json").write_text("{}")
    (folder / f"{'0' * 16}.json").write_text('{"turns": 3}')
    assert talks.open(id) is None


def test_a_full_disk_is_said_and_the_newest_are_kept(
    talks: Talks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answering, "KEPT", 2)
    for _ in range(4):
        asyncio.run(ask(talks, talks.new(), "x"))
    folder = tmp_path / ".studio" / "chat" / "conversations"
    assert len(list(folder.glob("*.json"))) == 2
    talk = talks.new()
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    folder.touch()
    asyncio.run(ask(talks, talk, "x"))
    assert "cannot be made" in talk.turns[0].answers["a"].fault
