"""What metrics look at: answers, the references they should equal, and how they ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from lorafit.errors import DataError
from lorafit.evaluate.metrics.tokens import Segment, caption_tokens, mteval_tokens, segmenter, words

Cut = tuple[list[list[str]], list[list[list[str]]]]  # tokens of each answer, tokens of each of its references


@dataclass(frozen=True)
class Texts:
    """Answers to prompts, in the order of the prompts. What is cut into tokens is cut once, for all metrics.

    references: one or several for each answer. ended: false where an answer was cut off at the length limit.
    schema: a JSON Schema that answers should keep. word_language: zh, ja or ko to cut words and not characters.
    Raises DataError where these do not fit each other.
    """

    answers: Sequence[str]
    references: Sequence[Sequence[str]] = ()
    ended: Sequence[bool] | None = None
    schema: Mapping[str, Any] | None = None
    word_language: str = ""

    def __post_init__(self) -> None:
        if not self.answers:
            raise DataError("There are no answers to score.")
        for name, column in (("references", self.references), ("ended", self.ended)):
            if column and len(column) != len(self.answers):
                raise DataError(f"There are {len(self.answers):,} answers and {len(column):,} entries in {name}.")
        for number, references in enumerate(self.references, start=1):
            if isinstance(references, str):
                raise DataError(f"References of answer {number} are one text; they must be a list of texts.")

    def check_references(self, metric: str, most: int | None = None) -> None:
        """Raises DataError that names the first answers without a reference, or with more than `most`."""
        if not self.references:
            raise DataError(f"{metric} compares answers with references, and there are none.")
        counts = [len(references) for references in self.references]
        without = [number for number, count in enumerate(counts, start=1) if not count]
        if without:
            raise DataError(
                f"{metric} needs a reference for each answer: {_named(without)} of {len(counts):,} has none."
            )
        many = [number for number, count in enumerate(counts, start=1) if most and count > most]
        if many:
            raise DataError(f"{metric} takes {most} reference for each answer: {_named(many)} has more.")

    @cached_property
    def segment(self) -> Segment:
        return segmenter(self.word_language)

    @cached_property
    def words(self) -> Cut:
        return self._cut(lambda text: words(text, self.segment))

    @cached_property
    def caption(self) -> Cut:
        return self._cut(lambda text: caption_tokens(text, self.segment))

    @cached_property
    def mteval(self) -> Cut:
        return self._cut(lambda text: mteval_tokens(text, self.segment))

    def _cut(self, cut: Segment) -> Cut:
        return [cut(answer) for answer in self.answers], [[cut(text) for text in texts] for texts in self.references]


def _named(numbers: Sequence[int], shown: int = 5) -> str:
    named = ", ".join(map(str, numbers[:shown]))
    return f"answer {named}" if len(numbers) <= shown else f"answer {named} and {len(numbers) - shown:,} more"
