"""Rows that are refused: by their length, by what they mention, by numbers that are nowhere, as duplicates."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from lorafit.data.clean.duplicates import ExactDuplicates, SamePrompt
from lorafit.data.clean.near import NearDuplicates
from lorafit.data.clean.rows import RowRule
from lorafit.data.generate.answers import Row
from lorafit.records import Conversation

# A row stands alone when it is trained on: there is no passage any more that it could speak of.
MENTIONS = (
    *("the passage", "this passage", "the text above", "the above text", "the given text", "the provided text"),
    *(
        "according to the text",
        "mentioned in the text",
        "the provided context",
        "the provided document",
        "as mentioned above",
    ),
    *("这段文字", "这段话", "本段", "该段落", "上文", "上述文本", "上述内容", "根据文本", "文中提到", "文中所述"),
)
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_LIST_NUMBER = re.compile(r"^\s*\(?\d+[.)、:]\s*", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Checks:
    """What an answer has to be: between `shortest` and `longest` characters; without `mentions` (in the question too,
    unless the row holds the passage); with `numbers`, without a number that the passage does not have."""

    shortest: int = 1
    longest: int | None = None
    mentions: tuple[str, ...] = MENTIONS
    numbers: bool = False

    def fault(self, row: Row, passage: str) -> str | None:
        """Why a row is refused, in words under which it is counted; None where nothing is wrong."""
        answers = [answer for _, answer in row.turns]
        if any(len(answer) < self.shortest for answer in answers):
            return f"the answer has fewer than {self.shortest} characters"
        if self.longest is not None and any(len(answer) > self.longest for answer in answers):
            return f"the answer has more than {self.longest} characters"
        if not row.input and (said := self._mentioned("\n".join(text for turn in row.turns for text in turn))):
            return f"it mentions {said!r}"
        if self.numbers and passage and _numbers("\n".join(answers)) - _numbers(passage):
            return "the answer has a number that the passage does not have"
        return None

    def _mentioned(self, text: str) -> str | None:
        text = text.lower()
        return next((said for said in self.mentions if re.search(_whole(said), text)), None)


def _whole(phrase: str) -> str:
    """The pattern of a phrase that is no part of longer words; Han characters have no such borders."""
    return rf"(?<![a-z]){re.escape(phrase.lower())}(?![a-z])"


def _numbers(text: str) -> set[Decimal | str]:
    """The numbers of a text by value: 1,200.50 is 1200.5. The numbers of a list's items are none."""
    found: set[Decimal | str] = set()
    for written in _NUMBER.findall(_LIST_NUMBER.sub("", unicodedata.normalize("NFKC", text))):
        try:
            found.add(Decimal(written.replace(",", "")))
        except InvalidOperation:  # 2.13.0
            found.add(written)
    return found


class Duplicates:
    """Rows that ask what an earlier row asked; with `near`, those whose question and answer are both nearly an earlier
    row's (similarity from `near` on). known: rows that count as earlier, such as the seeds."""

    def __init__(self, near: float | None = None, known: Iterable[Conversation] = ()) -> None:
        self._rules: list[tuple[str, RowRule]] = [
            ("it equals an earlier row", ExactDuplicates()),
            ("it asks what an earlier row asks", SamePrompt()),
        ]
        if near is not None:
            self._rules.append(("it is nearly an earlier row", NearDuplicates(near)))
        for row in known:
            self.fault(row)

    def fault(self, row: Conversation) -> str | None:
        rows: Sequence[Conversation] = (row,)
        return next((reason for reason, rule in self._rules if rule.faults(rows)[0] is not None), None)
