"""The `data` part of a recipe."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from lorafit.data.clean.settings import CleanSettings
from lorafit.data.forms.layout import Role
from lorafit.settings import Settings

Share = Annotated[float, Field(ge=0.0, le=0.5)]
Name = Annotated[str, Field(min_length=1)]
Columns = dict[Role, Name]


class SourceSettings(Settings):
    source: Name
    """A file, folder, pattern, hub data set, or a name in dataset_info.json, as in data.train."""

    weight: float = Field(1.0, gt=0.0, le=1000.0)
    """How often each of its rows counts in an epoch: 2 is twice, 0.5 is half of the rows, drawn by the seed."""

    split: Name | None = None
    """The split to read, as `[split]` after the source."""

    columns: Columns = Field(default_factory=dict)
    """Its columns, where data.columns does not fit it."""

    limit: int | None = Field(None, ge=1)
    """Read only this many rows from its beginning."""

    @field_validator("columns")
    @classmethod
    def _pairs_up(cls, columns: Columns) -> Columns:
        return _paired(columns)


class DataSettings(Settings):
    train: Name | Annotated[list[Name | SourceSettings], Field(min_length=1)]
    """The training files: a file, folder, pattern, hub data set, name in dataset_info.json, a list, or `builtin`."""

    columns: Columns = Field(default_factory=dict)
    """Which column is what, where it is not recognised: {prompt: QUESTION, answer: ANSWER} or {messages: TURNS}."""

    held_out: Share | str = 0.05
    """Held-out rows: data as in data.train, or the share of it to split off by a hash of the prompt (0 for none)."""

    max_length: int = Field(2048, ge=8)
    """The longest sample in tokens."""

    too_long: Literal["cut", "drop", "split", "error"] = "cut"
    """What to do with a longer sample: cut its end, split it (texts, and dialogues at turns), drop it, or stop."""

    cut_answers: float = Field(0.2, ge=0.0, le=1.0)
    """The share of rows that may lose the end of their answer by being cut; above it the run stops."""

    text_length: int = Field(2000, ge=100)
    """The longest row, in characters, that plain text and documents are cut into at paragraphs."""

    template: str = "auto"
    """The chat template: auto (the tokenizer's, else human-assistant), human-assistant, alpaca, chatml, or a file."""

    bad_rows: Literal["error", "drop"] = "error"
    """What to do with rows that cannot be read: stop and name them, or drop them into rejected.jsonl."""

    limit: int | None = Field(None, ge=1)
    """Use only this many training rows, drawn by the seed."""

    processes: int | None = Field(None, ge=0)
    """Processes that tokenise: as many as there are processors when empty, 0 for none beside lorafit's own."""

    cache_gb: float = Field(20.0, ge=0.0)
    """Disk space for tokenised data in the cache, in GB (0: a temporary folder, deleted at the end)."""

    streaming: bool = False
    """Tokenise the training rows while training, window by window: for data larger than cache_gb allows."""

    stream_window: int = Field(50_000, ge=1)
    """Training rows of a window of the stream; they are shuffled within it."""

    clean: CleanSettings = CleanSettings()
    """What is cleaned, each rule with a switch of its own; without any, nothing is changed or dropped."""

    @field_validator("train", mode="before")
    @classmethod
    def _sources(cls, value: Any) -> Any:
        # Pydantic would name the fault by its place in a union, which says nothing to who wrote the recipe.
        known = SourceSettings.model_fields
        for source in value if isinstance(value, list) else []:
            unknown = [key for key in source if key not in known] if isinstance(source, dict) else []
            if unknown:
                raise ValueError(f"a source has no key {unknown[0]!r}; it has {', '.join(known)}")
        return value

    @field_validator("held_out", mode="before")
    @classmethod
    def _share(cls, value: Any) -> Any:
        # YAML reads 5e-2 as a text, and a text would be the name of a file.
        try:
            return float(value) if isinstance(value, str) else value
        except ValueError:
            return value

    @field_validator("columns")
    @classmethod
    def _pairs_up(cls, columns: Columns) -> Columns:
        return _paired(columns)

    @model_validator(mode="after")
    def _can_stream(self) -> DataSettings:
        if self.streaming and self.limit:
            raise ValueError(
                "limit draws from all rows, and a stream (streaming) does not read them beforehand; give the sources "
                "of data.train a limit instead"
            )
        return self


def _paired(columns: Columns) -> Columns:
    """Raises ValueError for half a question and answer: the other half would have to be guessed."""
    if "answer" in columns and not {"prompt", "messages"} & columns.keys():
        raise ValueError("an answer needs its question: name the column of `prompt` too")
    if "prompt" in columns and not {"answer", "chosen"} & columns.keys():
        raise ValueError("a prompt needs its answer: name the column of `answer` too (for text to go on with, `text`)")
    return columns
