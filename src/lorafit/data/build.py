"""Rows to tokenised samples on the disk, in one stream: read, clean, split, render, tokenise, bound the length.

Nothing that grows with the data is kept in memory but a few bytes a row, the rows that `data.limit` draws from (as many
as it names), and what cleaning remembers.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
from array import array
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from lorafit.data.convert import Rejected
from lorafit.data.figures import lengths
from lorafit.data.parts import HELD_OUT, TRAINING, Parts
from lorafit.data.samples import Block, Samples, Writer, token_type
from lorafit.data.settings import DataSettings
from lorafit.data.sources import Mixture
from lorafit.data.split import prompt_number
from lorafit.data.template import Renderer
from lorafit.data.tokenise import BATCH, Batch, Processes, Tokenised, Tokeniser, tokenised
from lorafit.errors import DataError
from lorafit.records import Conversation, Record, Source

# So many first conversations of each part are kept: training ones to show, held-out ones to be answered.
KEPT = {TRAINING: 500, HELD_OUT: 10_000}
REJECTED = "rejected.jsonl"


class Build:
    """One pass over the data, or a window of it, into a folder; `run` gives what its header says of it."""

    def __init__(
        self,
        renderer: Renderer,
        settings: DataSettings,
        seed: int,
        folder: Path,
        limit_bytes: int,
        parts: Parts,
        processes: int | Processes | None = None,
        later: bool = False,
    ) -> None:
        """limit_bytes: how large the folder may become (0: as it likes). parts: where the rows come from.

        later: of a stream, a window after the first, which has no held-out rows and may be empty.
        """
        self._settings, self._seed, self._folder = settings, seed, folder
        self._limit_bytes, self._processes, self._later = limit_bytes, processes, later
        self._parts, self._rows_before = parts, parts.rows
        parts.reject = self._reject
        self._tokeniser = Tokeniser(renderer, settings.max_length, settings.too_long)
        self._files: dict[str, int] = {}
        kind = token_type(len(renderer.tokenizer))
        self._token_type = kind
        self._writers = {part: Writer(folder / part, kind, self._files) for part in (TRAINING, HELD_OUT)}
        self._rejected = (folder / REJECTED).open("w", encoding="utf-8", newline="\n")
        self._kept = {part: (folder / f"{part}.jsonl").open("w", encoding="utf-8") for part in self._writers}
        self._kept_count: Counter[str] = Counter()
        self._rejected_count: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()
        self._prompts = {part: array("Q") for part in self._writers}
        self._conversations: Counter[str] = Counter()
        self._fitted: Counter[str] = Counter()
        self._figures: Counter[str] = Counter()
        self._counted: Counter[str] = Counter()
        self._rendered = bytearray()  # uint32 [samples, 2]: tokens and trained tokens, before anything is cut
        self._longest = (0, Source("", 0))
        self._first: Conversation | None = None
        self._mixture = Mixture(settings)
        self._sources: dict[str, Counter[str]] = {s.name: Counter() for s in self._mixture.sources}

    @property
    def _name(self) -> str:
        train = self._settings.train
        return train if isinstance(train, str) else ", ".join(self._sources)

    def run(self) -> dict[str, Any]:
        """Raises DataError for bad rows, for too long ones (`too_long: error`), and with nothing to train on."""
        try:
            for batch, found in tokenised(self._tokeniser, self._batches(), self._processes):
                self._take(batch, found)
        finally:
            for file in (self._rejected, *self._kept.values()):
                file.close()
            for writer in self._writers.values():
                writer.close()
        self._check()
        return self._header()

    def _batches(self) -> Iterator[Batch]:
        waiting: dict[str, list[Conversation]] = {TRAINING: [], HELD_OUT: []}
        window = self._settings.stream_window if self._settings.streaming else None
        rows = self._parts.take(window)
        if self._later:
            rows = (row for row in rows if row[0] == TRAINING)
        else:
            rows = itertools.chain(rows, self._parts.held_out_file())
        for part, conversation in rows:
            self._conversations[part] += 1
            waiting[part].append(conversation)
            if len(waiting[part]) == BATCH:
                yield Batch(part, waiting[part])
                waiting[part] = []
        if not self._conversations[TRAINING] and not self._later:
            held = 0 if isinstance(self._settings.held_out, str) else self._conversations[HELD_OUT]
            raise DataError(
                f"{self._name}: all {held} rows fell into the held-out share; lower data.held_out."
                if held
                else f"{self._name}: cleaning left no row to train on; look at data.clean."
            )
        yield from (Batch(part, rest) for part, rest in waiting.items() if rest)

    def _take(self, batch: Batch, found: Tokenised) -> None:
        part, conversations = batch
        sources = [conversations[owner].source for owner in found.owners]
        if part == TRAINING:
            self._first = self._first or conversations[0]
            self._add_training(found.block, sources)
        else:
            self._writers[part].add(found.block, sources)
        if isinstance(self._settings.held_out, str):
            self._prompts[part].extend(map(prompt_number, conversations))
        for owner in dict.fromkeys(found.owners):
            if self._kept_count[part] == KEPT[part]:
                break
            self._kept_count[part] += 1
            self._kept[part].write(json.dumps(dataclasses.asdict(conversations[owner])) + "\n")
        if found.refused and self._settings.bad_rows == "error":
            raise DataError(found.refused[0][1])
        for reason, rejected in (("template", found.refused), ("length", found.unfit)):
            for place, problem in rejected:
                row = conversations[place]
                fields = {"messages": [{"role": m.role, "content": m.content} for m in row.messages]}
                self._reject(Rejected(Record(fields, row.source), reason, problem), part, reason)
        self._counted.update(found.counted)
        self._rendered += found.rendered.tobytes()
        self._fitted[part] += len(set(found.owners))
        self._figures.update(cut=found.cut, lost_end=found.lost_end, left_out=found.left_out)
        for tokens, row in zip(found.longest, conversations, strict=True):
            self._figures["too_long"] += tokens > self._settings.max_length
            if tokens > self._longest[0]:
                self._longest = (tokens, row.source)
        written = sum(writer.bytes_written for writer in self._writers.values())
        if self._limit_bytes and written > self._limit_bytes:
            raise DataError(
                f"{self._name}: the tokenised data is larger than data.cache_gb={self._settings.cache_gb:g} allows.\n"
                "Raise it, use fewer rows with data.limit, or read them as a stream with data.streaming=true."
                if not self._settings.streaming
                else f"{self._name}: {self._settings.stream_window:,} rows (data.stream_window) are larger than a "
                f"third of data.cache_gb={self._settings.cache_gb:g}.\nRaise it, or lower data.stream_window."
            )

    def _add_training(self, block: Block, sources: list[Source]) -> None:
        """The samples, each as often as its source's weight says."""
        even = self._mixture.is_even
        copies = [1 if even else self._mixture.copies(source, self._seed) for source in sources]
        for source, count, length in zip(sources, copies, block.lengths.tolist(), strict=True):
            figures = self._sources[self._mixture.source_of(source).name]
            figures.update(samples=count, tokens=count * length, left_out_by_weight=not count)
        if not even:
            block = block.repeated(copies)
            sources = [source for source, count in zip(sources, copies, strict=True) for _ in range(count)]
        self._writers[TRAINING].add(block, sources)

    def _reject(self, row: Rejected, part: str, reason: str) -> None:
        self._rejected_count[part] += 1
        self._reasons[reason] += 1
        self._rejected.write(row.to_json() + "\n")

    def _check(self) -> None:
        settings, figures = self._settings, self._figures
        if settings.too_long == "error" and figures["too_long"]:
            tokens, source = self._longest
            raise DataError(
                f"{figures['too_long']} samples are longer than data.max_length={settings.max_length}; the longest is "
                f"{source} with {tokens} tokens.\nRaise data.max_length, or choose data.too_long=cut, split or drop."
            )
        if not self._writers[TRAINING].samples and self._first is not None and not self._later:
            sample = self._tokeniser.renderer.sample(self._first)
            within = int(sample.trained[: settings.max_length].sum())
            raise DataError(
                f"{self._name}: no sample has a token to train on. The first ({self._first.source}) has "
                f"{len(sample)} tokens, of which {within} belong to an answer within "
                f"data.max_length={settings.max_length}.\nRaise data.max_length above the length of the prompts, or "
                "look at the rendering with `lorafit data`."
            )

    def _header(self) -> dict[str, Any]:
        figures = self._figures
        training, held_out = (
            Samples(self._folder / part, self._token_type, list(self._files)) for part in (TRAINING, HELD_OUT)
        )
        return {
            "token_type": self._token_type,
            "files": list(self._files),
            "goes_on": self._parts.goes_on,
            "summary": {
                "train": self._name,
                "sources": {name: dict(counted) for name, counted in self._sources.items()},
                "held_out": self._settings.held_out,
                "template": self._tokeniser.renderer.template.name,
                "rows": self._parts.rows - self._rows_before,
                "rejected": self._rejected_count.total(),
                "rejected_in": dict(self._rejected_count),
                "rejected_for": dict(self._reasons),
                "conversations": {part: self._conversations[part] for part in self._writers},
                "kept": {part: self._fitted[part] for part in self._writers},
                "also_in_training": int(np.isin(self._prompts[HELD_OUT], self._prompts[TRAINING]).sum()),
                "forms": {name: dict(counted) for name, counted in self._forms_of_sources().items()},
                "counted": {name: count for name, count in self._counted.items() if count},
                "lengths": lengths(np.frombuffer(self._rendered, dtype=np.uint32).reshape(-1, 2)),
                "cut": figures["cut"],
                "cut_within_answer": figures["lost_end"],
                "parts_left_out": figures["left_out"],
                "max_length": self._settings.max_length,
                "training": statistics(training),
                "held_out_rows": statistics(held_out),
                "cleaning": self._parts.cleaner.receipt.to_json(),
            },
        }

    def _forms_of_sources(self) -> dict[str, Counter[str]]:
        """Rows of each form, for each source."""
        forms: dict[str, Counter[str]] = {}
        for file, counted in self._parts.forms.items():
            forms.setdefault(self._mixture.source_of(Source(file, 0)).name, Counter()).update(counted)
        return forms


def statistics(samples: Samples) -> dict[str, Any]:
    """Figures of a part, in tokens."""
    if not samples:
        return {"samples": 0}
    return {
        "samples": len(samples),
        "tokens": int(samples.lengths.sum()),
        "supervised_tokens": int(samples.supervised.sum()),
        "shortest": int(samples.lengths.min()),
        "median": int(np.median(samples.lengths)),
        "longest": int(samples.lengths.max()),
        "shortest_answer": int(samples.supervised.min()),
    }
