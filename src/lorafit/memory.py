"""Memory: what is in use, what the C allocator keeps or gives back, and how running out of it looks."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import platform
from collections.abc import Iterator
from pathlib import Path

import torch

from lorafit.errors import LorafitError

# What running out of memory is called by torch's allocators, oneDNN, the C++ library and the system.
_OUT_OF_MEMORY = (
    "out of memory",
    "can't allocate memory",
    "cannot allocate memory",
    "not enough memory",
    "bad_alloc",
    "could not create a memory",
    "could not create a primitive",
    "failed to allocate memory",
)


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
    """Within this block the C allocator returns large blocks to the system as soon as they are freed, earlier ones now.

    glibc keeps freed blocks of up to 32 MiB once it has seen one of that size, which while quantising adds up to more
    than the whole 16-bit model (benchmarks/load.py). Elsewhere than with glibc nothing is done.
    """
    _give_back_what_is_freed()
    try:
        yield
    finally:
        free_memory_as_usual()


def _give_back_what_is_freed() -> None:
    give_back_freed_memory()
    _set_allocator({_MMAP_THRESHOLD: 2**20, _TRIM_THRESHOLD: 2**20, _TOP_PAD: 2**17})


def free_memory_as_usual() -> None:
    """What glibc adapts itself to once blocks of 32 MiB were freed."""
    _set_allocator({_MMAP_THRESHOLD: 2**25, _TRIM_THRESHOLD: 2**26, _TOP_PAD: 2**17})


def keep_freed_memory() -> None:
    """Have the C allocator keep what is freed: while a model is trained on the CPU.

    Every temporary of a step would else be a fresh mapping, whose pages are cleared one by one (benchmarks/step.py).
    """
    _set_allocator({_MMAP_THRESHOLD: 2**30, _TRIM_THRESHOLD: 2**31 - 1, _TOP_PAD: 2**26})


def give_back_freed_memory() -> None:
    """Have the C allocator return, once, every freed page of its heap to the system.

    Between what is still used lies more than that by the time a model is loaded and checked.
    """
    library = _glibc()
    if library is not None:
        library.malloc_trim(0)


# Of one row: some 40 for its linear layers, 7 for each block of documents.
PRODUCTS = 256


def keep_few_products() -> None:
    """Have oneDNN keep the code of its last 256 kinds of products, not 1,024, which take up to a MiB each.

    It builds one for every new length of row or documents, so that in a run almost all are never used again. It reads
    its setting at the first product of the process: later than that, nothing changes. Who has set it keeps it.
    """
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", str(PRODUCTS))


def _set_allocator(options: dict[int, int]) -> None:
    library = _glibc()
    if library is not None:
        for option, value in options.items():
            library.mallopt(option, value)


def _glibc() -> ctypes.CDLL | None:
    try:
        library = ctypes.CDLL("libc.so.6")
    except OSError:  # another system, or another C library
        return None
    return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None


def _kib(text: str) -> int:
    return int(text.split()[0]) * 1024


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that a device or the host has no memory left."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    if isinstance(error, RuntimeError | MemoryError) and not isinstance(error, LorafitError):
        text = str(error).lower()
        return isinstance(error, MemoryError) or any(words in text for words in _OUT_OF_MEMORY)
    return False


def one_line(error: BaseException, longest: int = 200) -> str:
    """An exception in a line."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= longest else f"{text[: longest - 4]} ..."


def give_back_all(device: torch.device) -> None:
    """Return all memory that nothing uses any more, after a step was given up; on the CPU from now on, too.

    A heap that keeps what is freed has holes that a large tensor does not fit in.
    """
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()
    _give_back_what_is_freed()
