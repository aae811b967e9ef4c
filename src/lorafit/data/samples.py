"""Tokenised samples on the disk, read through a memory map: a million of them take no memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, overload

import numpy as np

from lorafit.records import Sample, Source

HASHED_AT_ONCE = 2**24


class Block(NamedTuple):
    """Samples one after another. token_ids: uint32 [tokens]; trained: bool [tokens]; lengths: int64 [samples]."""

    token_ids: np.ndarray
    trained: np.ndarray
    lengths: np.ndarray

    @classmethod
    def of(cls, samples: Sequence[Sample]) -> Block:
        return cls(
            np.concatenate([s.token_ids for s in samples] or [np.empty(0)]).astype(np.uint32),
            np.concatenate([s.trained for s in samples] or [np.empty(0, bool)]),
            np.array([len(s) for s in samples], dtype=np.int64),
        )

    def repeated(self, counts: Sequence[int]) -> Block:
        """Each sample as often as `counts` says."""
        ends = np.cumsum(self.lengths)
        samples = np.repeat(np.arange(len(ends)), counts)
        spans = zip((ends - self.lengths)[samples].tolist(), ends[samples].tolist(), strict=True)
        places = np.concatenate([np.empty(0, np.int64), *(np.arange(start, end) for start, end in spans)])
        return Block(self.token_ids[places], self.trained[places], self.lengths[samples])


class Samples(Sequence[Sample]):
    """The samples of one part of a run, as a `Writer` left them in `folder`; each is made when it is asked for.

    lengths, supervised: int64 [samples], tokens and supervised tokens of each.
    """

    def __init__(self, folder: Path, token_type: str, files: Sequence[str]) -> None:
        """files: the names that the samples' sources are numbered by."""
        self._token_ids = _mapped(folder / "token_ids", token_type)
        self._trained = _mapped(folder / "trained", "bool")
        self._offsets = np.fromfile(folder / "offsets", dtype=np.int64)
        self._sources = _mapped(folder / "sources", "int64").reshape(-1, 2)
        self._files = files
        self.supervised: np.ndarray = np.fromfile(folder / "supervised", dtype=np.int64)
        self.lengths: np.ndarray = np.diff(self._offsets)

    def __len__(self) -> int:
        return len(self.lengths)

    @overload
    def __getitem__(self, index: int) -> Sample: ...

    @overload
    def __getitem__(self, index: slice) -> list[Sample]: ...

    def __getitem__(self, index: int | slice) -> Sample | list[Sample]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        index = range(len(self))[index]  # counts negative ones from the end; raises IndexError beyond it
        start, end = self._offsets[index : index + 2].tolist()
        file, row = self._sources[index].tolist()
        # Copies, so that nothing that is kept holds the map open or looks at the disk later.
        token_ids = self._token_ids[start:end].astype(np.int64)
        return Sample(token_ids, self._trained[start:end].copy(), Source(self._files[file], row))

    def stretches(self, tokens: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """(token ids, lengths) of whole samples one after another, about `tokens` at a time; each sample once."""
        first = 0
        while first < len(self):
            end = max(first + 1, int(np.searchsorted(self._offsets, self._offsets[first] + tokens, side="right")) - 1)
            yield self._token_ids[self._offsets[first] : self._offsets[end]], self.lengths[first:end]
            first = end

    def digest(self) -> str:
        """SHA-256 over lengths, token ids and trained places: alike for alike samples, whatever type the ids have."""
        digest = hashlib.sha256(self.lengths.tobytes())
        for start in range(0, len(self._token_ids), HASHED_AT_ONCE):
            digest.update(self._token_ids[start : start + HASHED_AT_ONCE].astype(np.uint32).tobytes())
        digest.update(np.ascontiguousarray(self._trained).data)
        return digest.hexdigest()


class Writer:
    """Appends samples to the files of a new folder; `close` ends them."""

    def __init__(self, folder: Path, token_type: str, files: dict[str, int]) -> None:
        """files: numbers of source files, which grows (parts may have it in common)."""
        folder.mkdir()
        self._token_type, self._file_numbers = token_type, files
        self._out: dict[str, BinaryIO] = {
            name: (folder / name).open("wb") for name in ("token_ids", "trained", "offsets", "sources", "supervised")
        }
        self.samples = 0
        self._end = np.int64(0)
        self._out["offsets"].write(self._end.tobytes())

    def add(self, block: Block, sources: Sequence[Source]) -> None:
        """sources: of each sample."""
        if not sources:
            return
        ends = np.cumsum(block.lengths)
        before = np.concatenate(([0], np.cumsum(block.trained)))
        numbers = self._file_numbers
        places = [(numbers.setdefault(s.file, len(numbers)), s.row) for s in sources]
        self._write("token_ids", block.token_ids.astype(self._token_type))
        self._write("trained", block.trained)
        self._write("offsets", self._end + ends)
        self._write("sources", np.array(places, dtype=np.int64))
        self._write("supervised", before[ends] - before[ends - block.lengths])
        self._end += ends[-1]
        self.samples += len(sources)

    def _write(self, name: str, values: np.ndarray) -> None:
        self._out[name].write(np.ascontiguousarray(values).data)

    @property
    def bytes_written(self) -> int:
        return sum(file.tell() for file in self._out.values())

    def close(self) -> None:
        for file in self._out.values():
            file.close()


def token_type(vocabulary: int) -> str:
    """The narrowest type that holds every id below `vocabulary`."""
    return "uint16" if vocabulary <= 2**16 else "uint32"


def lengths_of(samples: Sequence[Sample]) -> np.ndarray:
    """int64 [samples]: tokens of each, without making each sample where they come from the disk."""
    return samples.lengths if isinstance(samples, Samples) else np.array([len(s) for s in samples], dtype=np.int64)


def _mapped(path: Path, dtype: str) -> np.ndarray:
    if not path.stat().st_size:  # an empty file cannot be mapped
        return np.empty(0, dtype=dtype)
    mapped: Any = np.memmap(path, dtype=dtype, mode="r")
    return np.asarray(mapped)  # a plain array: slicing a memmap costs microseconds
