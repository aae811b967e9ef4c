"""What this machine has: the device to run on, the dtype to compute in, memory in use."""

from __future__ import annotations

import contextlib
import ctypes
import functools
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
    if platform.system() == "Linux":
        # Before CUDA is looked at, which reads it: what is reserved then follows what is used (docs/planning.md).
        os.environ.setdefault("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")
    chosen = _device(device)
    if chosen.type == "cpu":
        keep_few_products()
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


_planned_for: str | None = None


def kind_of(device: torch.device) -> str:
    """`cuda`, `cpu` or `mps`. Meta tensors, which have no memory, behave as the device does that is planned for."""
    return _planned_for if device.type == "meta" and _planned_for else device.type


@contextlib.contextmanager
def planning_for(planned: str) -> Iterator[None]:
    """Within this block meta tensors take the ways of the device `planned` (`cuda`, `cpu` or `mps`)."""
    global _planned_for
    before, _planned_for = _planned_for, planned
    try:
        yield
    finally:
        _planned_for = before


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
    give_back_freed_memory()
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


_ONEDNN_SENTENCE = (
    "float32 products run through oneDNN: MKL's are slow on AMD processors, and a probe found oneDNN's as exact here"
)


@contextlib.contextmanager
def float32_through_onednn(chosen: Hardware) -> Iterator[str | None]:
    """Within this block the CPU's float32 products run through oneDNN where MKL is slow and oneDNN is as exact.

    Yields the sentence that says so, or None where nothing is changed; after the block all is as it was found. What
    decides is the processor's maker and a probe of the accuracy, never a clock: a run repeated on a machine takes the
    same kernels and so gives the same bits. The switch is named for bfloat16 because oneDNN may then round to it, as
    it does on processors with tile units; where those are missing it only moves the products out of MKL. Whoever has
    set a precision keeps it.
    """
    switch = getattr(torch.backends.mkldnn, "matmul", None)  # torch 2.9 or newer
    wanted = chosen.device.type == "cpu" and chosen.dtype == torch.float32 and _mkl_is_slow()
    if not wanted or getattr(switch, "fp32_precision", None) != "none" or not _as_exact(switch):
        yield None
        return
    with _switched(switch):
        yield _ONEDNN_SENTENCE


def _mkl_is_slow() -> bool:
    # Without AVX-512 oneDNN's switch changes nothing, which is what torch's own check of it tells.
    onednn = torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return bool(onednn and torch.backends.mkl.is_available() and _maker() in ("AuthenticAMD", "HygonGenuine"))


@contextlib.contextmanager
def _switched(switch: Any) -> Iterator[None]:
    switch.fp32_precision = "bf16"
    try:
        yield
    finally:
        switch.fp32_precision = "none"


def _as_exact(switch: Any) -> bool:
    """Whether products with the switch on have float32's error; rounded to bfloat16 it is some 10,000 times that."""
    for left, right in _probe_operands():
        without = _error(left, right)
        with _switched(switch):
            if not _error(left, right) <= min(4 * without, 5e-6):
                return False
    return True


def _error(left: torch.Tensor, right: torch.Tensor) -> float:
    """The relative error of a product, in the Frobenius norm, against the one in float64."""
    exact = left.double() @ right.double()
    return float((_product(left, right).double() - exact).norm() / exact.norm())


_product = torch.matmul


def _probe_operands() -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Pairs to multiply, in the layouts of a step: plain, odd sizes, one side transposed, the other, a batch."""
    draw = functools.partial(torch.randn, generator=torch.Generator().manual_seed(0))
    yield draw(320, 512), draw(512, 256)
    yield draw(301, 517), draw(517, 203)
    yield draw(256, 512), draw(320, 512).T
    yield draw(512, 256).T, draw(512, 320)
    yield draw(4, 160, 64), draw(4, 160, 64).transpose(1, 2)


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
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def _maker() -> str:
    """The maker as the processor names it, such as GenuineIntel; empty where it cannot be asked."""
    return _cpuinfo("vendor_id") or platform.processor().rpartition(", ")[2]  # Windows: "..., AuthenticAMD"


def _cpuinfo(field: str) -> str:
    """A field of the first processor in Linux's list, or nothing."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith(field):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return ""
