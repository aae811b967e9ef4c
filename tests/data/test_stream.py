"""A stream: windows in the order of the files, each in an order of its own; going on anywhere; bad rows; the disk."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.conftest import alpaca_rows

from lorafit.data.batches import iterate_samples
from lorafit.data.clean import CleanSettings, stage
from lorafit.data.prepare import Prepared, prepare
from lorafit.data.stream import Stream
from lorafit.data.template import Renderer, choose_template
from lorafit.errors import DataError
from lorafit.records import Sample

WINDOW, BATCH, SEED = 7, 4, 5
ROWS = 31
# Of 31 rows, windows of 7, 7, 7, 7 and 3: 12 updates of 4 reach into the second pass, 20 into the third.
UPDATES = 20


@pytest.fixture
def renderer(tokenizer: Any) -> Renderer:
    return Renderer(tokenizer, choose_template(tokenizer))


def write(folder: Path, *rows: dict[str, Any]) -> str:
    """In two files, so that a window holds rows of both."""
    (folder / "rows").mkdir(exist_ok=True)
    for name, part in (("1.jsonl", rows[:10]), ("2.jsonl", rows[10:])):
        (folder / "rows" / name).write_text("".join(json.dumps(row) + "\n" for row in part), encoding="utf-8")
    return str(folder / "rows")


def streamed(renderer: Renderer, path: str, window: int = WINDOW, **settings: Any) -> Prepared:
    asked = {"held_out": 0.0, "max_length": 200, "processes": 0, "seed": SEED, **settings}
    return prepare(renderer, path, streaming=True, stream_window=window, **asked)


def stream_of(prepared: Prepared) -> Stream:
    assert prepared.stream is not None
    return prepared.stream


def by_hand(samples: list[list[Sample]]) -> Iterator[Sample]:
    """samples: of each window."""
    number = 0
    while True:
        for index, window in enumerate(samples):
            for place in np.random.default_rng((SEED, number, index)).permutation(len(window)):
                yield window[place]
        number += 1


def same(ours: list[Sample], theirs: list[Sample]) -> bool:
    return len(ours) == len(theirs) and all(
        one.source == other.source
        and np.array_equal(one.token_ids, other.token_ids)
        and np.array_equal(one.trained, other.trained)
        for one, other in zip(ours, theirs, strict=True)
    )


def windows_of(renderer: Renderer, path: str, window: int = WINDOW, **settings: Any) -> list[list[Sample]]:
    """The samples of each window, from the rows prepared without a stream."""
    asked = {"held_out": 0.0, "max_length": 200, "processes": 0, "seed": SEED, **settings}
    samples = list(prepare(renderer, path, **asked).training.samples)
    rows = list(dict.fromkeys(sample.source for sample in samples))
    parts = [set(rows[start : start + window]) for start in range(0, len(rows), window)]
    return [[sample for sample in samples if sample.source in part] for part in parts]


def test_the_updates_are_those_of_the_windows_one_after_another(renderer: Renderer, tmp_path: Path) -> None:
    path = write(tmp_path, *alpaca_rows(ROWS))
    windows = windows_of(renderer, path)
    assert [len(window) for window in windows] == [7, 7, 7, 7, 3]
    expected = by_hand(windows)
    found = list(iterate_samples(streamed(renderer, path).examples, BATCH, UPDATES, SEED))
    assert len(found) == UPDATES
    for _, chosen in found:
        assert same(chosen, list(islice(expected, BATCH)))
    # Sample 31 is the first of the second pass; the last of update 8 (from 1) is sample 32.
    assert [epoch for epoch, _ in found] == [math.floor((BATCH * n - 1) / ROWS) for n in range(1, UPDATES + 1)]


def test_another_process_makes_the_same_of_it(renderer: Renderer, tmp_path: Path) -> None:
    path = write(tmp_path, *alpaca_rows(ROWS))
    here = stream_of(streamed(renderer, path)).updates(BATCH, UPDATES, SEED)
    there = stream_of(streamed(renderer, path, processes=1)).updates(BATCH, UPDATES, SEED)
    assert all(same(one, other) for (_, one), (_, other) in zip(here, there, strict=True))


@pytest.mark.parametrize("done", [1, 7, 8, 12, 16, 19])
def test_it_goes_on_from_any_update(renderer: Renderer, tmp_path: Path, done: int) -> None:
    """From within a window, from its border (7 updates are 28 samples) and from the second and third pass.

    With what was known when it stopped, and without.
    """
    path = write(tmp_path, *alpaca_rows(ROWS))
    before = stream_of(streamed(renderer, path))
    before.begin(tmp_path / "rejected.jsonl")
    whole = list(before.updates(BATCH, UPDATES, SEED))
    stopped = stream_of(streamed(renderer, path))
    stopped.begin(tmp_path / "rejected.jsonl")
    assert len(list(islice(stopped.updates(BATCH, UPDATES, SEED), done))) == done
    for state in (json.loads(json.dumps(stopped.state())), None):
        again = stream_of(streamed(renderer, path))
        again.begin(tmp_path / "rejected.jsonl", state)
        rest = list(again.updates(BATCH, UPDATES, SEED, done))
        assert [epoch for epoch, _ in rest] == [epoch for epoch, _ in whole[done:]]
        assert all(same(ours, theirs) for (_, ours), (_, theirs) in zip(rest, whole[done:], strict=True))
        assert again.state() == before.state()


def test_windows_before_it_are_not_tokenised_again(
    renderer: Renderer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, *alpaca_rows(ROWS))
    stream = stream_of(streamed(renderer, path))
    list(islice(stream.updates(BATCH, UPDATES, SEED), 14))
    rendered: list[int] = []
    real = Renderer.samples_of

    def counted(self: Renderer, conversations: Any) -> Any:
        rendered.append(len(conversations))
        return real(self, conversations)

    monkeypatch.setattr(Renderer, "samples_of", counted)
    again = stream_of(streamed(renderer, path))
    again.begin(tmp_path / "rejected.jsonl", stream.state())
    # Update 14 begins with sample 56, which is place 4 of the fourth window of the second pass.
    assert len(list(again.updates(BATCH, 15, SEED, 14))) == 1
    assert rendered in ([7], [7, 3])


def test_held_out_dropped_and_split_rows_do_not_disturb_it(renderer: Renderer, tmp_path: Path) -> None:
    """A window counts rows after cleaning and the split, before the length makes none or several samples of one."""
    rows: list[dict[str, Any]] = [*alpaca_rows(30)]
    rows[3] = rows[12] = {"instruction": "?" * 900, "output": "No."}
    rows[20] = {"messages": [{"role": r, "content": f"{r} {n} " * 8} for n in range(6) for r in ("user", "assistant")]}
    rows[22] = rows[2]
    path = write(tmp_path, *rows)
    settings = {
        "too_long": "split",
        "held_out": 0.3,
        "max_length": 160,
        "cut_answers": 1.0,
        "clean": CleanSettings(exact_duplicates="drop"),
    }
    once = prepare(renderer, path, processes=0, seed=SEED, **settings)  # type: ignore[arg-type]
    held = {sample.source for sample in once.held_out.samples}
    dropped = [row.record.source for row in once.rejected]
    assert len(held) > 3 and len(dropped) == 3
    prepared = streamed(renderer, path, window=5, **settings)
    stream = stream_of(prepared)
    rejected = tmp_path / "rejected.jsonl"
    rejected.write_bytes(prepared.rejected.file.read_bytes())
    stream.begin(rejected)
    one_pass = len(once.training)
    found = [sample for _, chosen in stream.updates(1, 2 * one_pass, SEED) for sample in chosen]
    key = [(s.source.file, s.source.row, s.token_ids.tobytes()) for s in once.training.samples]
    for number in range(2):
        part = found[number * one_pass : (number + 1) * one_pass]
        assert sorted((s.source.file, s.source.row, s.token_ids.tobytes()) for s in part) == sorted(key)
    assert stream.figures["rejected"] == 3
    told = [json.loads(line) for line in rejected.read_text(encoding="utf-8").splitlines()]
    assert sorted((row["file"], row["row"]) for row in told) == sorted((place.file, place.row) for place in dropped)
    # What is appended after a run was stopped comes once.
    again = stream_of(streamed(renderer, path, window=5, **settings))
    again.begin(rejected, None)
    list(again.updates(1, one_pass, SEED))
    assert [json.loads(line) for line in rejected.read_text(encoding="utf-8").splitlines()] == told
    assert {s.source for s in prepared.held_out.samples} < held


def test_a_bad_row_stops_where_it_is_needed_or_is_dropped(
    renderer: Renderer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "BATCH", 1)  # cleaning reads no rows ahead
    rows: list[dict[str, Any]] = [*alpaca_rows(ROWS)]
    rows[18] = {"instruction": "?"}
    path = write(tmp_path, *rows)
    found = stream_of(streamed(renderer, path)).updates(BATCH, UPDATES, SEED)
    assert len(list(islice(found, 3))) == 3  # 12 of the 14 samples of two windows
    with pytest.raises(DataError, match=r"1 of 19 rows cannot be used:\n.*2\.jsonl, row 9"):
        next(found)
    stream = stream_of(streamed(renderer, path, bad_rows="drop"))
    expected = by_hand(windows_of(renderer, path, bad_rows="drop"))
    for _, chosen in stream.updates(BATCH, UPDATES, SEED):
        assert same(chosen, list(islice(expected, BATCH)))
    assert stream.figures["rejected"] == 1


def test_a_row_that_the_template_refuses_stops_only_its_window(chat_tokenizer: Any, tmp_path: Path) -> None:
    chat_tokenizer = type(chat_tokenizer)(
        tokenizer_object=chat_tokenizer.backend_tokenizer,
        eos_token="<|im_end|>",
        chat_template="{% if 'NO' in messages[0].content %}{{ raise_exception('refused') }}{% endif %}"
        + chat_tokenizer.chat_template,
    )
    renderer = Renderer(chat_tokenizer, choose_template(chat_tokenizer))
    rows = alpaca_rows(ROWS)
    rows[18] = {"instruction": "NO", "output": "Yes."}
    found = iter(stream_of(streamed(renderer, write(tmp_path, *rows))).updates(BATCH, UPDATES, SEED))
    assert len(list(islice(found, 3))) == 3  # 12 of the 14 samples of two windows
    with pytest.raises(DataError, match=r"2\.jsonl, row 9"):
        next(found)


def test_windows_go_when_they_are_used(renderer: Renderer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path / "cache"
    monkeypatch.setenv("LORAFIT_CACHE", str(cache))
    stream = stream_of(streamed(renderer, write(tmp_path, *alpaca_rows(ROWS))))
    seen = []
    updates = stream.updates(BATCH, UPDATES, SEED)
    for _ in updates:
        seen.append(len(list(cache.glob(".stream-*/*"))))
        if len(seen) == 18:
            break
    assert 1 <= max(seen) <= 2
    updates.close()
    assert not list(cache.glob(".stream-*"))


def test_fewer_rows_than_a_window_are_an_ordinary_run(renderer: Renderer, tmp_path: Path) -> None:
    path = write(tmp_path, *alpaca_rows(ROWS))
    assert streamed(renderer, path, window=ROWS - 1).stream is not None
    prepared = streamed(renderer, path, window=ROWS)
    assert prepared.stream is None
    assert prepared.examples is prepared.training.samples
    assert len(prepared.training) == ROWS


def test_the_digest_stands_for_all_rows_and_not_only_the_first_window(renderer: Renderer, tmp_path: Path) -> None:
    rows = alpaca_rows(ROWS)
    digest = stream_of(streamed(renderer, write(tmp_path, *rows))).digest()
    assert stream_of(streamed(renderer, write(tmp_path, *rows))).digest() == digest
    before = stream_of(streamed(renderer, write(tmp_path, *rows)))
    list(before.updates(BATCH, UPDATES, SEED))
    last = {**rows[-1], "output": "Another answer."}
    other = stream_of(streamed(renderer, write(tmp_path, *rows[:-1], last)))
    assert other.digest() != digest
    other.begin(tmp_path / "rejected.jsonl", before.state())
    assert other.state()["lengths"] == [WINDOW]


def test_a_window_that_is_too_large_or_too_often_cut_is_an_error(renderer: Renderer, tmp_path: Path) -> None:
    rows = alpaca_rows(ROWS)
    rows[16:20] = [{"instruction": f"Count {n}.", "output": "one two three " * 40} for n in range(4)]
    path = write(tmp_path, *rows)
    with pytest.raises(DataError, match=r"7 rows \(data\.stream_window\) are larger than a third"):
        streamed(renderer, path, cache_gb=1e-6)
    with pytest.raises(DataError, match=r"larger than data\.cache_gb=1e-06 .*\n.*data\.limit.*data\.streaming=true"):
        prepare(renderer, path, 0.0, 200, cache_gb=1e-6)
    stream = stream_of(streamed(renderer, path, cut_answers=0.1))
    with pytest.raises(DataError, match=r"4 of 21 rows \(19%\) lose the end of their answer"):
        list(stream.updates(BATCH, UPDATES, SEED))


def test_files_that_change_meanwhile_are_noticed(renderer: Renderer, tmp_path: Path) -> None:
    stream = stream_of(streamed(renderer, write(tmp_path, *alpaca_rows(ROWS))))
    updates = stream.updates(BATCH, UPDATES, SEED)
    next(updates)
    write(tmp_path, *alpaca_rows(ROWS), *alpaca_rows(1, start=ROWS))  # the first pass has read them already
    with pytest.raises(DataError, match="have changed while they were trained on"):
        list(updates)
