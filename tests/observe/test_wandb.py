"""Weights & Biases offline, with the real package: what it keeps for `wandb sync`, and what it must not touch."""

from __future__ import annotations

import json
import signal
import struct
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("wandb")
from wandb.proto.wandb_internal_pb2 import Record

from lorafit.observe.wandb import WeightsAndBiases
from lorafit.records import Event, note

BLOCK = 2**15
PIECE = struct.Struct("<IHB")
FULL, LAST = 1, 4


def records(folder: Path) -> list[Record]:
    """The records of a run that has ended; wandb's own process writes the last of them after `finish` has returned."""
    until = time.monotonic() + 10
    while time.monotonic() < until:
        found = written(next(folder.glob("*.wandb")))
        if any(record.HasField("exit") for record in found):
            return found
        time.sleep(0.02)
    raise AssertionError("the run never ended")


def written(path: Path) -> list[Record]:
    """The records of a .wandb file: after 7 bytes, in blocks of 32 KiB, pieces with checksum, length and kind, which is
    LevelDB's log format."""
    content = path.read_bytes()
    assert content[:4] == b":W&B"
    found, place, whole = [], 7, b""
    while place + PIECE.size < len(content):
        left = BLOCK - place % BLOCK
        if left < PIECE.size:  # too little for another piece
            place += left
            continue
        _, length, kind = PIECE.unpack_from(content, place)
        place += PIECE.size
        whole += content[place : place + length]
        place += length
        if kind in (FULL, LAST):
            found.append(Record.FromString(whole))
            whole = b""
    return found


def history(folder: Path) -> list[dict[str, float]]:
    return [
        {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
        for record in records(folder)
        if record.HasField("history")
    ]


def run_once(folder: Path, updates: range) -> Path:
    """The folder that wandb made for this process."""
    before = set(folder.glob("offline-run-*"))
    with WeightsAndBiases(folder, "project", "名字", "offline", {"recipe": {"train": {"epochs": 3}}}) as sink:
        for number in updates:
            sink(Event("update", {"update": number, "loss": 1 / number}))
            sink(Event("hardware", {"cpu_share": 0.5, "gpus": []}))
        sink(note("no figure"))
    (made,) = set(folder.glob("offline-run-*")) - before
    return made


def test_offline_run_and_its_resumption(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    watched = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGWINCH)
    before = [signal.getsignal(number) for number in watched], sys.excepthook, sys.exit, sys.stdout
    first = run_once(tmp_path / "wandb", range(1, 4))
    assert ([signal.getsignal(number) for number in watched], sys.excepthook, sys.exit, sys.stdout) == before
    assert capfd.readouterr() == ("", "")

    lines = history(first)
    assert [(line["_step"], line["loss/train"], line["usage/cpu_share"]) for line in lines] == [
        (1, 1.0, 0.5),
        (2, 1 / 2, 0.5),
        (3, 1 / 3, 0.5),
    ]
    (run,) = [record.run for record in records(first) if record.HasField("run")]
    config = {item.key: json.loads(item.value_json) for item in run.config.update}
    assert (run.project, run.display_name, config["recipe"]) == ("project", "名字", {"train": {"epochs": 3}})
    assert not run.host and not run.git.commit

    second = run_once(tmp_path / "wandb", range(4, 6))
    (again,) = [record.run for record in records(second) if record.HasField("run")]
    assert again.run_id == run.run_id
    assert [line["_step"] for line in history(second)] == [4, 5]
