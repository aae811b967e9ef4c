"""Samples on the disk: what was written is what is read, in little memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lorafit.data.samples import Block, Samples, Writer, lengths_of, token_type
from lorafit.records import Sample, Source

ROWS = st.lists(
    st.lists(st.tuples(st.integers(0, 60_000), st.booleans()), min_size=1, max_size=9), min_size=0, max_size=9
)


def made(rows: list[list[tuple[int, bool]]]) -> list[Sample]:
    return [
        Sample(
            np.array([token for token, _ in row], dtype=np.int64),
            np.array([trained for _, trained in row]),
            Source(f"file {number % 2}", number),
        )
        for number, row in enumerate(rows, start=1)
    ]


def kept(samples: list[Sample], folder: Path, kind: str = "uint16", at_once: int = 2) -> Samples:
    files: dict[str, int] = {}
    writer = Writer(folder, kind, files)
    for start in range(0, len(samples), at_once):
        some = samples[start : start + at_once]
        writer.add(Block.of(some), [sample.source for sample in some])
    writer.close()
    return Samples(folder, kind, list(files))


def plain(sample: Sample) -> tuple[list[int], list[bool], Source]:
    return sample.token_ids.tolist(), sample.trained.tolist(), sample.source


@settings(deadline=None, max_examples=40)
@given(rows=ROWS, at_once=st.integers(1, 4))
def test_what_was_written_is_read(tmp_path_factory: pytest.TempPathFactory, rows: list, at_once: int) -> None:
    samples = made(rows)
    read = kept(samples, tmp_path_factory.mktemp("samples") / "part", at_once=at_once)
    assert list(map(plain, read)) == list(map(plain, samples))
    assert [plain(sample) for sample in read[1:]] == [plain(sample) for sample in samples[1:]]
    assert all(read[i].token_ids.dtype == np.int64 and read[i].trained.dtype == bool for i in range(len(read)))
    assert lengths_of(read).tolist() == lengths_of(samples).tolist() == list(map(len, samples))
    assert read.supervised.tolist() == [sample.supervised_tokens for sample in samples]


def test_places_are_counted_as_in_a_list(tmp_path: Path) -> None:
    read = kept(made([[(1, False)], [(2, True)]]), tmp_path / "part")
    assert plain(read[-1]) == plain(read[1])
    with pytest.raises(IndexError):
        read[2]
    with pytest.raises(IndexError):
        read[-3]


def test_the_digest_is_of_the_content_and_not_of_how_it_is_kept(tmp_path: Path) -> None:
    rows = [[(1, False), (2, True)], [(3, True)]]
    digest = kept(made(rows), tmp_path / "narrow").digest()
    assert kept(made(rows), tmp_path / "wide", "uint32", at_once=1).digest() == digest
    others = ([[(1, False), (2, False)], [(3, True)]], [[(1, False), (2, True), (3, True)]], rows[::-1], rows[:1])
    digests = {kept(made(other), tmp_path / str(number)).digest() for number, other in enumerate(others)}
    assert len(digests) == 4
    assert digest not in digests


def test_ids_are_as_narrow_as_the_vocabulary_allows() -> None:
    assert np.iinfo(token_type(2**16)).max == 2**16 - 1
    assert np.iinfo(token_type(2**16 + 1)).max > 2**16


@settings(deadline=None, max_examples=40)
@given(rows=ROWS, data=st.data())
def test_a_block_repeats_whole_samples(rows: list, data: st.DataObject) -> None:
    samples = made(rows)
    counts = data.draw(st.lists(st.integers(0, 3), min_size=len(rows), max_size=len(rows)))
    repeated = Block.of(samples).repeated(counts)
    expected = Block.of([sample for sample, count in zip(samples, counts, strict=True) for _ in range(count)])
    for one, other in zip(repeated, expected, strict=True):
        assert one.tolist() == other.tolist()
