"""A run that streams: it trains on what the windows hold, stops and goes on to the same bits, and says what it read."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lorafit import Recipe, finetune, resume
from lorafit.data.clean import stage
from lorafit.errors import DataError, RecipeError, RunError
from lorafit.records import Sample
from lorafit.run import read_json
from lorafit.train import loop, updates
from tests.conftest import alpaca_rows, metrics, status
from tests.test_resuming import assert_same_end, lines, newest

ROWS, WINDOW, BATCH, UPDATES, SEED = 40, 9, 6, 16, 3


@pytest.fixture
def make(recipe: Callable[..., Recipe], data_file: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Recipe]:
    """make(name, data={...}): 16 updates of 6 over 40 rows, in windows of 9, 9, 9, 9 and 4."""
    monkeypatch.setattr(loop, "LOOKED_AT", 2)  # a window is a matter of minutes where it is not this small
    data_file.write_text("".join(json.dumps(row) + "\n" for row in alpaca_rows(ROWS)), encoding="utf-8")

    def build(name: str, **data: Any) -> Recipe:
        settings = {"held_out": 0.0, "streaming": True, "stream_window": WINDOW, "processes": 0, **data}
        train = {"batch_size": BATCH, "max_updates": UPDATES, "seed": SEED, "checkpoint_every": 5, "self_check": False}
        adapter, evaluate = {"dropout": 0.2}, {"prompts": 0}
        return recipe(name=name, data=settings, train=train, adapter=adapter, evaluate=evaluate)

    return build


@pytest.fixture
def stop(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """stop(4) interrupts in that update; stop(0) no more."""
    real = updates.train_step

    def at(after: int) -> None:
        def step(*args: Any, **kwargs: Any) -> Any:
            if args[5] + 1 == after:
                os.kill(os.getpid(), signal.SIGINT)
            return real(*args, **kwargs)

        monkeypatch.setattr(updates, "train_step", step)

    return at


def test_it_trains_as_on_the_windows_one_after_another(
    make: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bit-identical to an ordinary run that is handed the samples in the order that was worked out by hand."""
    ours = finetune(make("stream")).folder

    def by_hand(samples: Any, batch_size: int, updates: int, seed: int, first: int) -> Iterator[tuple[float, Any]]:
        assert len(samples) == ROWS and first == 0
        ordered: list[Sample] = []
        for number in range(3):
            for index, start in enumerate(range(0, ROWS, WINDOW)):
                window = samples[start : start + WINDOW]
                ordered += [window[i] for i in np.random.default_rng((seed, number, index)).permutation(len(window))]
        rest = iter(ordered)
        for update in range(updates):
            yield float((batch_size * (update + 1) - 1) // ROWS), list(islice(rest, batch_size))

    monkeypatch.setattr(loop, "iterate_samples", by_hand)
    monkeypatch.setattr(loop, "count_updates", lambda *_: UPDATES)
    theirs = finetune(make("by-hand", streaming=False)).folder
    losses = [line["loss"] for line in metrics(ours) if "loss" in line]
    assert len(losses) == UPDATES
    assert losses == [line["loss"] for line in metrics(theirs) if "loss" in line]
    assert lines(ours) == lines(theirs)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs") / "whole"


@pytest.mark.parametrize("after", [2, 3, 6, 13])
def test_a_stopped_stream_ends_as_one_that_was_not(
    make: Callable[..., Recipe], stop: Callable[[int], None], after: int, kept: Path
) -> None:
    """32 rows in windows of 9, 9, 9 and 5: within a window, at a border, in the second and in the third pass."""
    if not kept.exists():
        finetune(make("whole", held_out=0.2)).folder.rename(kept)
    whole = kept
    stop(after)
    half = finetune(make("half", held_out=0.2))
    assert half.interrupted and half.outcome.update == after
    stop(0)
    result = resume(half.folder)
    assert result.outcome.update == UPDATES and not result.interrupted
    assert_same_end(whole, half.folder)
    assert any(line.get("epoch") == 2 for line in lines(whole))
    assert read_json(whole / "data.json")["stream"] == read_json(half.folder / "data.json")["stream"]


def test_bad_rows_are_counted_once_though_a_run_is_stopped(
    make: Callable[..., Recipe], stop: Callable[[int], None], data_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "BATCH", 1)
    rows = [*alpaca_rows(ROWS)]
    for place in (1, 12, 30):
        rows[place] = {"instruction": "?"}
    data_file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    stop(4)
    half = finetune(make("half", bad_rows="drop")).folder
    stop(0)
    resume(half)
    told = [json.loads(line)["row"] for line in (half / "rejected.jsonl").read_text(encoding="utf-8").splitlines()]
    assert told == [2, 13, 31]
    figures = read_json(half / "data.json")["stream"]
    assert (figures["rows"], figures["rejected"], figures["conversations"]) == (ROWS, 3, ROWS - 3)


def test_a_bad_row_ends_the_run_with_its_state_saved(
    make: Callable[..., Recipe], data_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And once it is mended, the run would have to be another one: the files are other ones."""
    monkeypatch.setattr(stage, "BATCH", 1)
    rows = [*alpaca_rows(ROWS)]
    rows[30] = {"instruction": "?"}
    data_file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    with pytest.raises(DataError, match="row 31"):
        finetune(make("bad"))
    folder = data_file.parent / "runs" / "bad"
    assert status(folder)["state"] == "failed"
    assert newest(folder).name == "000004"  # 27 samples are in the windows before
    with pytest.raises(DataError, match="row 31"):
        resume(folder)
    rows[30] = alpaca_rows(ROWS)[30]
    data_file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    with pytest.raises(RunError, match="the training rows are other ones"):
        resume(folder)
    assert resume(folder, anyway=True).outcome.update == UPDATES


def test_without_a_length_it_is_refused_before_anything_is_written(make: Callable[..., Recipe], tmp_path: Path) -> None:
    recipe = make("endless")
    endless = recipe.model_copy(update={"train": recipe.train.model_copy(update={"max_updates": None})})
    with pytest.raises(RecipeError, match=r"set train\.max_updates"):
        finetune(endless)
    assert not (tmp_path / "runs").exists()
    with pytest.raises(RecipeError, match=r"limit draws from all rows"):
        make("limited", limit=5)
