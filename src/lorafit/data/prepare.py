"""Files to samples: tokenised once into the cache (`build`), opened from it after that. What was left out is kept."""

from __future__ import annotations

import functools
import hashlib
import uuid
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from lorafit.data.build import REJECTED, Build
from lorafit.data.cache import Cache, cache_folder, key_of, read_header
from lorafit.data.kept import RejectedRows, read_conversations
from lorafit.data.length import TooLong, bound_loss
from lorafit.data.parts import HELD_OUT, TRAINING, Parts
from lorafit.data.problems import Problem, problems_of
from lorafit.data.readers.hub import HubSet
from lorafit.data.readers.opened import DataFile
from lorafit.data.samples import Samples
from lorafit.data.settings import DataSettings, SourceSettings
from lorafit.data.sources import Progress, resolve
from lorafit.data.stream import WINDOWS_ON_DISK, Stream
from lorafit.data.template import Renderer
from lorafit.errors import DataError
from lorafit.records import Conversation

VERSIONS = ("lorafit", "transformers", "tokenizers", "jinja2")
# What does not change the samples: they are looked at anew each time.
NOT_IN_KEY = ("cache_gb", "cut_answers", "processes")


@dataclass(frozen=True, slots=True)
class Part:
    """The samples of a part of a run, and the first of its conversations (up to `build.KEPT`), in the same order.

    A conversation may have several samples.
    """

    conversations: tuple[Conversation, ...]
    samples: Samples

    def __len__(self) -> int:
        return len(self.samples)


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a run trains on and measures itself with; `summary` is data.json. folder: the cache entry it lies in.

    cached: whether it had been tokenised before. stream: where training goes through one; `training`, the rejected rows
    and the summary are then those of its first window.
    """

    training: Part
    held_out: Part
    rejected: RejectedRows
    summary: dict[str, Any]
    problems: tuple[Problem, ...]
    folder: Path
    cached: bool
    stream: Stream | None = None

    @property
    def examples(self) -> Samples | Stream:
        """What training goes through."""
        return self.stream or self.training.samples

    @property
    def warnings(self) -> tuple[str, ...]:
        """The problems that are more than a note."""
        return tuple(problem.text for problem in self.problems if problem.severity != "note")


def prepare(
    renderer: Renderer,
    train: str | list[str | SourceSettings],
    held_out: str | float,
    max_length: int,
    too_long: TooLong = "cut",
    bad_rows: Literal["error", "drop"] = "error",
    limit: int | None = None,
    seed: int = 0,
    **more: Any,
) -> Prepared:
    """`prepare_data` with the settings named one by one (`more`: further ones of DataSettings), unchecked."""
    settings = DataSettings.model_construct(
        train=train,
        held_out=held_out,
        max_length=max_length,
        too_long=too_long,
        bad_rows=bad_rows,
        limit=limit,
        **more,
    )
    return prepare_data(renderer, settings, seed)


def prepare_data(
    renderer: Renderer, settings: DataSettings, seed: int = 0, progress: Progress | None = None
) -> Prepared:
    """Tokenise the training and held-out rows, or open what was tokenised before from the same.

    progress: see `sources`; not called where nothing is read. Raises DataError for bad files or rows, for samples that
    are too long (`too_long: error`), when more answers lose their end than `cut_answers` allows, and when no training
    sample has a token to train on.
    """
    cache = Cache(cache_folder(), round(settings.cache_gb * 1e9))
    limit_bytes = cache.limit // WINDOWS_ON_DISK if settings.streaming else cache.limit
    made_from = _made_from(renderer, settings, seed)
    key = key_of(made_from)
    entry = cache.find(key)
    cached = entry is not None
    if entry is None:
        parts = Parts(settings, seed, progress)
        entry = cache.store(
            key,
            lambda folder: Build(renderer, settings, seed, folder, limit_bytes, parts, settings.processes).run(),
        )
    header = read_header(entry)
    training, held_out = (
        Part(read_conversations(entry, part), Samples(entry / part, header["token_type"], header["files"]))
        for part in (TRAINING, HELD_OUT)
    )
    rejected = RejectedRows(entry / REJECTED, header["summary"]["rejected"])
    summary = header["summary"]
    bound_loss(settings, summary["cut_within_answer"], sum(summary["conversations"].values()))
    stream = None
    if header["goes_on"]:
        digest = key_of({"sources": made_from["sources"], "first": training.samples.digest()})
        stream = Stream(
            renderer, settings, seed, training.samples, summary, rejected.file, cache.folder, limit_bytes, digest
        )
    dialogue = next((row for row in training.conversations if not row.is_text), None)
    damaged = (Problem("warning", note) for note in cache.notes)
    problems = (*damaged, *problems_of(renderer, summary, rejected, dialogue))
    return Prepared(training, held_out, rejected, summary, problems, entry, cached, stream)


def _made_from(renderer: Renderer, settings: DataSettings, seed: int) -> dict[str, Any]:
    """All that decides the samples, as JSON has it."""
    tokenizer = renderer.tokenizer
    parts = (False, True) if isinstance(settings.held_out, str) else (False,)
    sources = [source for held_out in parts for source in resolve(settings, held_out)]
    # Without a revision a data set may be another one tomorrow.
    unpinned = any(isinstance(file, HubSet) and not file.revision for source in sources for file in source.files)
    return {
        "unpinned": str(uuid.uuid4()) if unpinned else None,
        "sources": [(s.name, s.weight, s.limit, repr(s.given), [_content(file) for file in s.files]) for s in sources],
        "settings": settings.model_dump(mode="json", exclude=set(NOT_IN_KEY)),
        "seed": seed if settings.limit or any(source.weight != 1 for source in sources) else None,
        "template": renderer.template.jinja,
        "special_tokens": {name: str(token) for name, token in tokenizer.special_tokens_map.items()},
        "tokenizer": hashlib.sha256(tokenizer.backend_tokenizer.to_str().encode()).hexdigest(),
        "versions": {name: metadata.version(name) for name in VERSIONS},
        "code": _code(),
    }


def _content(file: DataFile | HubSet) -> str:
    """SHA-256 of a whole file, or the revision of a data set."""
    if isinstance(file, HubSet):
        return f"{file.name} {file.revision}"
    try:
        with file.path.open("rb") as content:
            return f"{file.name} {hashlib.file_digest(content, 'sha256').hexdigest()}"
    except OSError as error:
        raise DataError(f"The data file {file.name} cannot be read: {error.strerror or error}.") from error


@functools.cache
def _code() -> str:
    """A hash of the code that prepares: what it made before it was changed must not be taken for what it would make."""
    digest = hashlib.sha256()
    for file in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()
