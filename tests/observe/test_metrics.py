"""metrics.jsonl: a whole line an event, seen at once, and every line JSON."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

from lorafit.errors import RunError
from lorafit.observe.metrics import MetricsFile
from lorafit.records import Event, note, warning


def strict(text: str) -> Any:
    def refuse(constant: str) -> None:
        raise ValueError(constant)

    return json.loads(text, parse_constant=refuse)


def test_updates_and_measurements_are_written_and_seen_at_once(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    with MetricsFile(path) as metrics:
        metrics(note("not a figure"))
        metrics(Event("update", {"update": 1, "loss": 2.5}))
        metrics(warning("not a figure"))
        metrics(Event("held_out", {"update": 1, "held_out_loss": 2.25}))
        lines = path.read_text().splitlines()
    assert [strict(line) for line in lines] == [{"update": 1, "loss": 2.5}, {"update": 1, "held_out_loss": 2.25}]


def test_what_is_there_is_kept(tmp_path: Path) -> None:
    for number in (1, 2):
        with MetricsFile(tmp_path / "metrics.jsonl") as metrics:
            metrics(Event("update", {"update": number}))
    assert (tmp_path / "metrics.jsonl").read_text() == '{"update": 1}\n{"update": 2}\n'


def test_a_loss_that_is_no_number_is_null(tmp_path: Path) -> None:
    with MetricsFile(tmp_path / "metrics.jsonl") as metrics:
        metrics(Event("update", {"update": 1, "loss": float("nan"), "gradient_norm": float("inf")}))
    content = strict((tmp_path / "metrics.jsonl").read_text())
    assert content == {"update": 1, "loss": None, "gradient_norm": None}


class FullDisk:
    def write(self, text: str) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    close = flush = lambda self: self.write("")


def test_a_full_disk_is_said(tmp_path: Path) -> None:
    metrics = MetricsFile(tmp_path / "metrics.jsonl")
    metrics._file.close()
    metrics._file = FullDisk()  # type: ignore[assignment]
    with pytest.raises(RunError, match="No space left"):
        metrics(Event("update", {"update": 1}))
    with pytest.raises(RunError, match="No space left"):
        metrics.__exit__(None, None, None)


def test_a_full_disk_does_not_hide_what_went_wrong_before(tmp_path: Path) -> None:
    metrics = MetricsFile(tmp_path / "metrics.jsonl")
    metrics._file.close()
    metrics._file = FullDisk()  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt), metrics:
        raise KeyboardInterrupt


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(RunError, match="Read-only"):
        MetricsFile(tmp_path / "metrics.jsonl")
