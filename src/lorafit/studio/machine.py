"""What of this machine is in use now, for the bars of the home screen; without torch."""

from __future__ import annotations

import contextlib
import importlib
import platform
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psutil

from lorafit.plan.devices import host_memory

# Several pages share a sample; nvidia-smi takes long to start.
FRESH_SECONDS, FRESH_SMI_SECONDS, SMI_SECONDS = 1.0, 10.0, 5.0


@dataclass(frozen=True)
class Gpu:
    """Memory in bytes; busy: the share of the last moments in which it computed. None: the card does not tell."""

    name: str
    used: int | None
    total: int | None
    busy: float | None


@dataclass(frozen=True)
class InUse:
    """Memory in bytes: of the machine, or of the container's limit; processor: the share of all cores."""

    memory_used: int
    memory_total: int
    processor: float
    gpus: tuple[Gpu, ...]


class Machine:
    """Takes samples, at most one a second, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken: tuple[float, InUse] | None = None
        self._cards: Callable[[], tuple[Gpu, ...]] | None = None
        psutil.cpu_percent()  # the first call has nothing to compare with

    def sample(self) -> InUse:
        with self._lock:
            if self._taken is None or time.monotonic() - self._taken[0] > FRESH_SECONDS:
                self._cards = self._cards or _nvml() or _Smi()
                used, total = _memory()
                found = InUse(used, total, psutil.cpu_percent() / 100, self._cards())
                self._taken = time.monotonic(), found
            return self._taken[1]


def _memory() -> tuple[int, int]:
    if platform.system() == "Linux":  # with the limits of control groups
        total, free = host_memory()
    else:
        told = psutil.virtual_memory()
        total, free = told.total, told.available
    return total - free, total


def _nvml() -> Callable[[], tuple[Gpu, ...]] | None:
    """None where NVIDIA's library or its Python package is not there."""
    try:
        nvml: Any = importlib.import_module("pynvml")
        nvml.nvmlInit()
        cards = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())]
    except Exception:  # noqa: BLE001 no package, no library or no driver, each with an error of its own
        return None

    def card(handle: Any) -> Gpu:
        name, used, total, busy = "GPU", None, None, None
        with contextlib.suppress(nvml.NVMLError):
            told = nvml.nvmlDeviceGetName(handle)
            name = told.decode() if isinstance(told, bytes) else told
            memory = nvml.nvmlDeviceGetMemoryInfo(handle)
            used, total = int(memory.used), int(memory.total)
            busy = nvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100  # a slice of a card does not tell
        return Gpu(name, used, total, busy)

    return lambda: tuple(card(handle) for handle in cards)


class _Smi:
    """The cards as nvidia-smi lists them; none where there is no such program."""

    def __init__(self) -> None:
        self._program = shutil.which("nvidia-smi")
        self._taken: tuple[float, tuple[Gpu, ...]] | None = None

    def __call__(self) -> tuple[Gpu, ...]:
        if self._program is None:
            return ()
        if self._taken is None or time.monotonic() - self._taken[0] > FRESH_SMI_SECONDS:
            self._taken = time.monotonic(), read_smi(self._ask(self._program))
        return self._taken[1]

    def _ask(self, program: str) -> str:
        query = "--query-gpu=name,memory.used,memory.total,utilization.gpu"
        words = [program, query, "--format=csv,noheader,nounits"]
        try:
            said = subprocess.run(words, capture_output=True, text=True, timeout=SMI_SECONDS)
        except (OSError, subprocess.TimeoutExpired):
            return ""
        return "" if said.returncode else said.stdout


def read_smi(said: str) -> tuple[Gpu, ...]:
    """said: a line a card: name, MiB used, MiB in all, per cent; a word in brackets for what is not known."""
    cards = []
    for line in said.splitlines():
        name, *figures = [cell.strip() for cell in line.rsplit(",", 3)]
        if len(figures) == 3:
            used, total, busy = (int(text) if text.isdecimal() else None for text in figures)
            cards.append(Gpu(name, _mib(used), _mib(total), None if busy is None else busy / 100))
    return tuple(cards)


def _mib(count: int | None) -> int | None:
    return None if count is None else count * 2**20
