"""Samples of memory, processor and GPU, taken on a thread while a run trains: hardware.jsonl."""

from __future__ import annotations

import contextlib
import importlib
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil

from lorafit.records import Event
from lorafit.run import write_text

# At 2 seconds and with one GPU some 6 hours.
LARGEST_BYTES = 4 * 2**20
LAST_SAMPLE_SECONDS = 5.0

Values = dict[str, Any]


def _available() -> int:
    return int(psutil.virtual_memory().available)


class HardwareSampler:
    """Within its block a thread takes a sample at once and then every `every` seconds.

    Each goes to `path` as a JSON line, which a reader sees at once and a killed process leaves behind, and to `observe`
    as Event("hardware"). Its columns, null for what this machine does not tell: `time` (Unix seconds), `resident_bytes`
    and `cpu_share` (of all cores since the sample before; null in the first) of this process, `available_bytes` in
    the system, and `gpus`, for each that NVML knows: `index` (NVML's), `memory_used_bytes`, `memory_total_bytes`,
    `utilization` (a share), `temperature_c`, `power_w`; on MPS also `mps_driver_bytes`.

    The file stays below 4 MiB, however long the run: when it is full, its newer half stays as it was taken, and of the
    older half half the samples at most, evenly spaced from the beginning of the run.

    available: bytes that this process could still take; by default what the system says. A source that fails is null,
    and `warn` is told of it once; training never notices.
    """

    def __init__(
        self,
        path: Path,
        every: float,
        observe: Callable[[Event], None],
        warn: Callable[[str], None],
        available: Callable[[], int] = _available,
    ) -> None:
        self._path, self._every, self._observe, self._warn = path, every, observe, warn
        self._sources: dict[str, Callable[[], Values]] = {
            "this process": _ProcessSource(),
            "the system's memory": lambda: {"available_bytes": available()},
            "NVML": _NvmlSource(),
            "MPS": _mps,
        }
        self._said: set[str] = set()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="hardware", daemon=True)

    def __enter__(self) -> HardwareSampler:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join(LAST_SAMPLE_SECONDS)  # a driver may hang, and the run must still end

    def _run(self) -> None:
        with self._saying_once(str(self._path)):
            _drop_half_line(self._path)
        while True:
            values = self._sample()
            with self._saying_once(str(self._path)):
                self._write(json.dumps(values) + "\n")
            with self._saying_once("what watches the samples"):
                self._observe(Event("hardware", values))
            if self._ended.wait(self._every):
                return

    def _sample(self) -> Values:
        values: Values = {
            "time": round(time.time(), 3),
            "resident_bytes": None,
            "available_bytes": None,
            "cpu_share": None,
            "gpus": [],
        }
        for name, source in self._sources.items():
            with self._saying_once(name):
                values |= source()
        return values

    def _write(self, line: str) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(line)
            size = file.tell()
        if size > LARGEST_BYTES:
            lines = self._path.read_text(encoding="utf-8").splitlines(keepends=True)
            write_text(self._path, "".join(_thinned(lines)))

    @contextlib.contextmanager
    def _saying_once(self, what: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # noqa: BLE001 a driver may fail in any way, and must not stop training
            if what not in self._said:
                self._said.add(what)
                reason = " ".join(str(error).split())
                self._warn(f"samples of the hardware: {what} fails ({type(error).__name__}: {reason})")


class _ProcessSource:
    def __init__(self) -> None:
        self._process = psutil.Process()
        self._cores = psutil.cpu_count() or 1
        self._first = True

    def __call__(self) -> Values:
        percent = self._process.cpu_percent()  # of one core, since the call before
        share = None if self._first else round(percent / 100 / self._cores, 4)
        self._first = False
        return {"resident_bytes": self._process.memory_info().rss, "cpu_share": share}


class _NvmlSource:
    """Every GPU of the machine; none where NVML is not there, which is said where torch sees a GPU."""

    def __init__(self) -> None:
        self._nvml: Any = None
        self._handles: list[Any] | None = None

    def __call__(self) -> Values:
        if self._handles is None:
            self._handles = []
            self._open()
        return {"gpus": [self._gpu(index, handle) for index, handle in enumerate(self._handles)]}

    def _open(self) -> None:
        try:
            nvml = importlib.import_module("pynvml")
            nvml.nvmlInit()
        except Exception:  # no package, no library or no driver, each with an error of its own
            torch = sys.modules.get("torch")
            if torch is not None and torch.cuda.is_available():
                raise
            return
        self._nvml = nvml
        self._handles = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())]

    def _gpu(self, index: int, handle: Any) -> Values:
        nvml = self._nvml

        def known(ask: Callable[[], float]) -> float | None:
            try:
                return ask()
            except nvml.NVMLError:  # not every card tells everything: a slice of one has no temperature of its own
                return None

        return {
            "index": index,
            "memory_used_bytes": known(lambda: nvml.nvmlDeviceGetMemoryInfo(handle).used),
            "memory_total_bytes": known(lambda: nvml.nvmlDeviceGetMemoryInfo(handle).total),
            "utilization": known(lambda: nvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100),
            "temperature_c": known(lambda: nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU)),
            "power_w": known(lambda: nvml.nvmlDeviceGetPowerUsage(handle) / 1000),  # NVML: milliwatts
        }


def _mps() -> Values:
    torch = sys.modules.get("torch")
    if torch is None or not torch.backends.mps.is_available():
        return {}
    return {"mps_driver_bytes": torch.mps.driver_allocated_memory()}


def _thinned(lines: list[str]) -> list[str]:
    half = len(lines) // 2
    old, times = lines[:half], [json.loads(line)["time"] for line in lines[:half]]
    apart = 2 * (times[-1] - times[0]) / half
    kept, due = [], times[0]
    for line, taken in zip(old, times, strict=True):
        if taken >= due:
            kept.append(line)
            due = taken + apart
    if len(kept) > half / 2 + 1:  # the clock was set back meanwhile
        kept = old[::2]
    return kept + lines[half:]


def _drop_half_line(path: Path) -> None:
    """Take away what a killed process left of its last line, so that the next one stands on a line of its own."""
    text = path.read_bytes() if path.exists() else b""
    if text and not text.endswith(b"\n"):
        write_text(path, text[: text.rfind(b"\n") + 1].decode("utf-8", errors="replace"))
