"""What this machine has: the device to run on, the dtype to compute in, memory in use."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from lorafit.errors import ModelError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True, slots=True)
class Hardware:
    """A device and a dtype, with the sentence that says why they were chosen."""

    device: torch.device
    dtype: torch.dtype
    reason: str

    @property
    def dtype_name(self) -> str:
        return str(self.dtype).removeprefix("torch.")


def choose(device: str = "auto", dtype: str = "auto") -> Hardware:
    """The device and dtype for a run; `auto` takes the best that this machine has.

    Raises ModelError when a device is asked for by name and is not there.
    """
    chosen = _device(device)
    if dtype != "auto":
        return Hardware(chosen, DTYPES[dtype], f"{chosen.type}, {dtype} as asked")
    if chosen.type == "cuda":
        name = torch.cuda.get_device_name(chosen)
        if torch.cuda.get_device_capability(chosen)[0] >= 8:
            return Hardware(chosen, torch.bfloat16, f"{name} computes bfloat16 natively")
        return Hardware(chosen, torch.float16, f"{name} has no native bfloat16: float16 with loss scaling")
    if chosen.type == "mps":
        return Hardware(chosen, torch.float32, "Apple GPU; float32, as 16-bit training there is unmeasured by us")
    if torch.ops.mkldnn._is_mkldnn_bf16_supported() and _cpu_has_native_bfloat16():
        return Hardware(chosen, torch.bfloat16, "no GPU; this processor multiplies bfloat16 natively")
    return Hardware(chosen, torch.float32, "no GPU; this processor has no native bfloat16 product")


def _device(name: str) -> torch.device:
    available = ["cpu"]
    if torch.backends.mps.is_available():
        available.insert(0, "mps")
    if torch.cuda.is_available():
        available.insert(0, "cuda")
    if name == "auto":
        return (
            torch.device("cuda", torch.cuda.current_device()) if available[0] == "cuda" else torch.device(available[0])
        )
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    cards = torch.cuda.device_count()
    if device is None or device.type not in available or (device.type == "cuda" and (device.index or 0) >= cards):
        raise ModelError(
            f"model.device: {name!r} was asked for, but this machine offers {', '.join(available)}"
            f"{f' (cuda:0 to cuda:{cards - 1})' if cards else ''}.\n"
            "Use `model.device=auto`, or install a torch build for that device."
        )
    return device


def _cpu_has_native_bfloat16() -> bool:
    # torch answers from cpuid; without one of these units oneDNN emulates bfloat16 and is slower than float32.
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def memory_in_use(device: torch.device) -> tuple[int, int]:
    """(now, peak) in bytes: of the allocator on CUDA, of this process otherwise."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device), torch.cuda.max_memory_allocated(device)
    try:
        fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":" in line)
        return _kib(fields["VmRSS"]), _kib(fields["VmHWM"])
    except (OSError, KeyError):
        try:
            import resource
        except ImportError:  # Windows
            return 0, 0
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        peak *= 1 if platform.system() == "Darwin" else 1024  # macOS counts bytes, the others KiB
        return peak, peak


# Options of glibc's mallopt (malloc.h).
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3


@contextlib.contextmanager
def freed_memory_goes_back() -> Iterator[None]:
    """Within this block the C allocator returns large blocks to the system as soon as they are freed.

    glibc keeps freed blocks of up to 32 MiB once it has seen one of that size, which while quantising adds up to more
    than the whole 16-bit model (benchmarks/load.py). Elsewhere than with glibc nothing is done.
    """
    _set_allocator({_MMAP_THRESHOLD: 2**20, _TRIM_THRESHOLD: 2**20})
    try:
        yield
    finally:
        free_memory_as_usual()


def free_memory_as_usual() -> None:
    """What glibc adapts itself to once blocks of 32 MiB were freed."""
    _set_allocator({_MMAP_THRESHOLD: 2**25, _TRIM_THRESHOLD: 2**26, _TOP_PAD: 2**17})


def keep_freed_memory() -> None:
    """Have the C allocator keep what is freed: while a model is trained on the CPU.

    Every temporary of a step would else be a fresh mapping, whose pages are cleared one by one (benchmarks/step.py).
    """
    _set_allocator({_MMAP_THRESHOLD: 2**30, _TRIM_THRESHOLD: 2**31 - 1, _TOP_PAD: 2**26})


def _set_allocator(options: dict[int, int]) -> None:
    try:
        set_option = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):  # not glibc
        return
    for option, value in options.items():
        set_option(option, value)


def _kib(text: str) -> int:
    return int(text.split()[0]) * 1024


def environment() -> dict[str, Any]:
    """Versions and hardware, for environment.json."""
    from importlib.metadata import PackageNotFoundError, version

    packages = {}
    for name in ("lorafit", "torch", "transformers", "peft", "bitsandbytes", "tokenizers", "safetensors", "numpy"):
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            packages[name] = "absent"
    return {
        "python": platform.python_version(),
        "system": platform.platform(),
        "packages": packages,
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "cuda": torch.version.cuda if torch.cuda.is_available() else None,
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
    }


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
