"""What a conversation is: questions, what each speaker answered, and what is made of them."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Any, Literal

Message = dict[str, Any]
Rating = Literal["good", "bad"]


@dataclass(slots=True)
class Answer:
    """What one speaker said. corrected: what it should have said; fault: why there is no answer, or only a part;
    reason: `stop`, `length` when it was cut, `stopped` by the user; saved: the text that is a row of a data set;
    loading: the last line of the server's log while the model loads."""

    text: str = ""
    corrected: str | None = None
    rating: Rating | None = None
    fault: str = ""
    reason: str = ""
    tokens: int = 0
    seconds: float = 0.0
    sampling: dict[str, Any] = field(default_factory=dict)
    saved: str | None = None
    loading: str | None = None

    @property
    def is_over(self) -> bool:
        return bool(self.reason or self.fault)

    @property
    def best(self) -> str:
        """What the conversation goes on from."""
        return self.text if self.corrected is None else self.corrected


@dataclass(slots=True)
class Turn:
    question: str
    answers: dict[str, Answer] = field(default_factory=dict)


@dataclass(slots=True, weakref_slot=True, eq=False)
class Conversation:
    """Questions, and each speaker's answers by its name; a speaker knows those turns alone that it answered."""

    id: str = field(default_factory=lambda: secrets.token_hex(8))
    system: str = ""
    turns: list[Turn] = field(default_factory=list)

    def prompt(self, speaker: str, turn: int) -> list[Message]:
        """What a speaker is asked at a turn: the system prompt, what it was asked and answered before, the question."""
        messages = [{"role": "system", "content": self.system.strip()}] if self.system.strip() else []
        for before in self.turns[:turn]:
            if _has_answer(before, speaker):
                answer = before.answers[speaker].best
                messages += [_message("user", before.question), _message("assistant", answer)]
        return [*messages, _message("user", self.turns[turn].question)]

    def row(self, speaker: str, turn: int) -> list[Message]:
        """The conversation up to a speaker's answer, the corrected one where there is one: a row of training data.

        An answer before it that was neither corrected nor rated as good has weight 0: it is read, and not trained on.
        """
        messages = [*self.prompt(speaker, turn), _message("assistant", self.turns[turn].answers[speaker].best)]
        answered = [each.answers[speaker] for each in self.turns[:turn] if _has_answer(each, speaker)]
        said = [message for message in messages[:-1] if message["role"] == "assistant"]
        for message, answer in zip(said, answered, strict=True):
            if answer.corrected is None and answer.rating != "good":
                message["weight"] = 0
        return messages


def _has_answer(turn: Turn, speaker: str) -> bool:
    return speaker in turn.answers and bool(turn.answers[speaker].best)


def _message(role: str, content: str) -> Message:
    return {"role": role, "content": content}
