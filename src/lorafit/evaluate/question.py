"""What an evaluation asks: one line of questions.jsonl each, the same for every speaker."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from lorafit.data.kept import message_of
from lorafit.records import Message, Source


@dataclass(frozen=True, slots=True)
class Question:
    """A prompt and what a good answer is.

    number: its place, from 1. messages: turns that are rendered with the model's template and answered; where there are
    none, `text` is plain text that the model goes on with. references: good answers, one or several. choices: answers
    of which one is right, to be chosen by log-likelihood; the right one is the reference. category: for the breakdown.
    """

    number: int
    source: Source
    messages: tuple[Message, ...] = ()
    text: str = ""
    references: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    category: str = ""
    tools: tuple[Mapping[str, Any], ...] = ()

    @property
    def asked(self) -> str:
        """What is shown of it: the last turn of the user, or of a text what stands after its last empty line."""
        if not self.messages:
            return self.text.rstrip().rpartition("\n\n")[2]
        return next((m.content for m in reversed(self.messages) if m.role == "user"), self.messages[-1].content)

    def to_json(self) -> str:
        content = {key: value for key, value in asdict(self).items() if value not in ((), "")}
        return json.dumps(content, ensure_ascii=False).encode("utf-8", "backslashreplace").decode()

    @classmethod
    def from_json(cls, line: str) -> Question:
        content = json.loads(line)
        content["source"] = Source(**content["source"])
        content["messages"] = tuple(map(message_of, content.get("messages", ())))
        for name in ("references", "choices", "tools"):
            content[name] = tuple(content.get(name, ()))
        return cls(**content)
