"""Samples of the hardware: what is in a line, what a failing source does, how large the file gets."""

from __future__ import annotations

import itertools
import json
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import torch

from lorafit.observe import hardware
from lorafit.observe.hardware import HardwareSampler
from lorafit.observe.run_facts import read_lines
from lorafit.records import Event


class NVMLError(Exception):
    pass


class Driver:
    """Stands in for the module of nvidia-ml-py; the second of its two GPUs tells no power."""

    NVMLError = NVMLError
    NVML_TEMPERATURE_GPU = 0

    def __init__(self) -> None:
        self.lost = False

    def nvmlInit(self) -> None:
        pass

    def nvmlDeviceGetCount(self) -> int:
        return 2

    def nvmlDeviceGetHandleByIndex(self, index: int) -> str:
        return f"gpu {index}"

    def nvmlDeviceGetMemoryInfo(self, handle: str) -> SimpleNamespace:
        if self.lost:
            raise RuntimeError("GPU is lost")
        return SimpleNamespace(total=100, free=60, used=40)

    def nvmlDeviceGetUtilizationRates(self, handle: str) -> SimpleNamespace:
        return SimpleNamespace(gpu=75, memory=10)

    def nvmlDeviceGetTemperature(self, handle: str, sensor: int) -> int:
        return 61

    def nvmlDeviceGetPowerUsage(self, handle: str) -> int:
        if handle == "gpu 1":
            raise NVMLError("Not Supported")
        return 70_500


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Driver:
    driver = Driver()
    monkeypatch.setitem(sys.modules, "pynvml", driver)  # type: ignore[arg-type]
    return driver


@pytest.fixture
def no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)  # type: ignore[arg-type]


def sampled(path: Path, samples: int, warn: Callable[[str], None], **options: Any) -> list[Event]:
    """What a sampler passes on until it has taken so many samples."""
    events: list[Event] = []
    enough = threading.Event()

    def observe(event: Event) -> None:
        events.append(event)
        if len(events) >= samples:
            enough.set()

    with HardwareSampler(path, 0.01, observe, warn, **options):
        assert enough.wait(10)
    return events


@pytest.mark.usefixtures("no_driver")
def test_a_sample_is_taken_at_once_written_and_passed_on(tmp_path: Path) -> None:
    path, warnings, seen = tmp_path / "hardware.jsonl", [], threading.Event()
    began = time.time()
    with HardwareSampler(path, 3600, lambda event: seen.set(), warnings.append):
        assert seen.wait(10)
        (line,) = path.read_text().splitlines()
    values = json.loads(line)
    assert began - 1 <= values["time"] <= time.time() + 1
    assert abs(values["resident_bytes"] / psutil.Process().memory_info().rss - 1) < 0.5
    assert 0 < values["available_bytes"] <= psutil.virtual_memory().total
    assert (values["cpu_share"], values["gpus"], warnings) == (None, [], [])


@pytest.mark.usefixtures("no_driver")
def test_what_is_passed_on_is_what_is_written(tmp_path: Path) -> None:
    path = tmp_path / "hardware.jsonl"
    events = sampled(path, 3, pytest.fail, available=lambda: 123)
    assert {event.kind for event in events} == {"hardware"}
    assert [event.values for event in events] == [json.loads(line) for line in path.read_text().splitlines()]
    assert events[0].values["available_bytes"] == 123
    assert all(event.values["cpu_share"] >= 0 for event in events[1:])


@pytest.mark.usefixtures("driver")
def test_every_gpu_is_asked_and_what_one_does_not_tell_is_null(tmp_path: Path) -> None:
    first, second = sampled(tmp_path / "hardware.jsonl", 1, pytest.fail)[0].values["gpus"]
    assert first == {
        "index": 0,
        "memory_used_bytes": 40,
        "memory_total_bytes": 100,
        "utilization": 0.75,
        "temperature_c": 61,
        "power_w": 70.5,
    }
    assert second == {**first, "index": 1, "power_w": None}


def test_a_source_that_fails_is_said_once_and_the_others_go_on(tmp_path: Path, driver: Driver) -> None:
    driver.lost = True
    warnings: list[str] = []
    events = sampled(tmp_path / "hardware.jsonl", 3, warnings.append)
    assert warnings == ["samples of the hardware: NVML fails (RuntimeError: GPU is lost)"]
    assert all(event.values["gpus"] == [] and event.values["resident_bytes"] for event in events)


@pytest.mark.usefixtures("no_driver")
def test_a_gpu_without_the_package_is_said_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    warnings: list[str] = []
    sampled(tmp_path / "hardware.jsonl", 3, warnings.append)
    assert len(warnings) == 1 and "pynvml" in warnings[0]


@pytest.mark.usefixtures("no_driver")
def test_apples_gpu_tells_what_its_driver_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.mps, "driver_allocated_memory", lambda: 77)
    assert sampled(tmp_path / "hardware.jsonl", 1, pytest.fail)[0].values["mps_driver_bytes"] == 77


@pytest.mark.usefixtures("no_driver")
def test_a_file_that_cannot_be_written_is_said_once(tmp_path: Path) -> None:
    warnings: list[str] = []
    events = sampled(tmp_path / "missing" / "hardware.jsonl", 3, warnings.append)
    assert len(warnings) == 1 and "hardware.jsonl" in warnings[0] and len(events) >= 3


def test_the_file_stays_small_and_tells_of_the_whole_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "LARGEST_BYTES", 2000)
    path = tmp_path / "hardware.jsonl"
    sampler = HardwareSampler(path, 2, lambda event: None, pytest.fail)
    for number in range(4000):
        sampler._write(json.dumps({"time": 1e9 + 2 * number}) + "\n")
        assert number % 100 or path.stat().st_size <= 2000
    times = [(values["time"] - 1e9) / 2 for values in read_lines(path)[-1000:]]
    assert times[0] == 0
    assert times[-20:] == list(range(3980, 4000))  # the newest as they were taken
    assert max(after - before for before, after in itertools.pairwise(times)) < 800  # and no long time without any


def test_a_clock_that_was_set_back_does_not_make_it_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "LARGEST_BYTES", 2000)
    path = tmp_path / "hardware.jsonl"
    sampler = HardwareSampler(path, 2, lambda event: None, pytest.fail)
    for number in range(300):
        sampler._write(json.dumps({"time": 1e9 - number}) + "\n")
    assert path.stat().st_size <= 2000
    assert read_lines(path)[-1:] == [{"time": 1e9 - 299}]


@pytest.mark.usefixtures("no_driver")
def test_the_line_of_a_killed_process_is_passed_over_and_then_mended(tmp_path: Path) -> None:
    path = tmp_path / "hardware.jsonl"
    assert read_lines(path)[-3:] == []
    path.write_text('{"time": 1.0}\n{"time": 2.0}\n{"time": 3.0}\n{"time": 4')
    assert read_lines(path)[-2:] == [{"time": 2.0}, {"time": 3.0}]
    sampled(path, 1, pytest.fail)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [values["time"] for values in lines[:3]] == [1.0, 2.0, 3.0] and "resident_bytes" in lines[3]
