"""What TensorBoard's own reader finds in the event files."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("tensorboard")
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from lorafit.observe.tensorboard import TensorBoard
from lorafit.records import Event, note


def reader(folder: Path) -> EventAccumulator:
    return EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()


def curve(folder: Path, tag: str) -> list[tuple[int, float]]:
    return [(point.step, point.value) for point in reader(folder).Scalars(tag)]


def update(number: int, loss: float) -> Event:
    return Event("update", {"update": number, "loss": loss})


def hparams(folder: Path, tag: str) -> HParamsPluginData:
    content = reader(folder).SummaryMetadata(tag).plugin_data.content
    return HParamsPluginData.FromString(content)


def test_curves_are_in_the_file_at_once(tmp_path: Path) -> None:
    with TensorBoard(tmp_path / "tensorboard", {}) as sink:
        sink(Event("held_out", {"update": 0, "held_out_loss": 3.0}))
        sink(update(1, 2.5))
        sink(note("no figure"))
        sink(Event("hardware", {"cpu_share": 0.25, "gpus": [{"index": 0, "power_w": 70.0}]}))
        assert curve(tmp_path / "tensorboard", "loss/train") == [(1, 2.5)]
        assert curve(tmp_path / "tensorboard", "loss/held_out") == [(0, 3.0)]
        assert curve(tmp_path / "tensorboard", "usage/cpu_share") == [(1, 0.25)]
        assert curve(tmp_path / "tensorboard", "usage/gpu0_power_w") == [(1, 70.0)]


def test_a_resumed_run_goes_on_in_the_same_curve(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), TensorBoard(tmp_path, {}) as sink:
        for number in range(1, 6):
            sink(update(number, float(number)))
        raise KeyboardInterrupt
    with TensorBoard(tmp_path, {}, first_update=3) as sink:
        for number in range(4, 8):
            sink(update(number, 10.0 * number))
    expected = [(1, 1.0), (2, 2.0), (3, 3.0), (4, 40.0), (5, 50.0), (6, 60.0), (7, 70.0)]
    assert curve(tmp_path, "loss/train") == expected


def test_a_run_that_begins_anew_hides_what_was_there(tmp_path: Path) -> None:
    for loss in (1.0, 2.0):
        with TensorBoard(tmp_path, {}) as sink:
            sink(update(1, loss))
    assert curve(tmp_path, "loss/train") == [(1, 2.0)]


def test_hparams_have_dotted_names_and_the_held_out_loss_as_metric(tmp_path: Path) -> None:
    asked = {"recipe": {"train": {"epochs": 3.0, "self_check": True}, "name": "名字"}, "git": None}
    with TensorBoard(tmp_path, asked) as sink:
        found = hparams(tmp_path, metadata.SESSION_START_INFO_TAG).session_start_info.hparams
        assert {name: value.number_value or value.string_value for name, value in found.items()} == {
            "recipe.train.epochs": 3.0,
            "recipe.train.self_check": "true",
            "recipe.name": "名字",
            "git": "null",
        }
        sink(update(1, 1.0))
        assert metadata.SESSION_END_INFO_TAG not in reader(tmp_path).Tags()["tensors"]
    metrics = hparams(tmp_path, metadata.EXPERIMENT_TAG).experiment.metric_infos
    assert [metric.name.tag for metric in metrics] == ["loss/held_out"]
    assert hparams(tmp_path, metadata.SESSION_END_INFO_TAG).HasField("session_end_info")


def test_a_full_disk_is_an_error_of_the_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(data: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    sink = TensorBoard(tmp_path, {})
    monkeypatch.setattr(sink._records, "write", full)
    with pytest.raises(OSError, match="No space left"):
        sink(update(1, 1.0))
