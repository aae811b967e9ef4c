"""What this machine has: the device to run on, the dtype to compute in."""

from __future__ import annotations

import contextlib
import functools
import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from lorafit.errors import ModelError
from lorafit.memory import keep_few_products

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
