"""Checks of GPUs: the driver against the build of torch, what each card can do, and what else uses it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lorafit.doctor.line import Line, first_line, gib
from lorafit.doctor.software import PYTORCH
from lorafit.plan.devices import CUDA_CONTEXT

GIB = 2**30
INSTALL_BUILD = f"pip uninstall torch, then the command that {PYTORCH} gives for your system and driver"
BFLOAT16 = (8, 0)  # from Ampere on


@dataclass(frozen=True, slots=True)
class Driver:
    """What the machine itself says of NVIDIA cards, without torch.

    cards: names, as nvidia-smi lists them; cuda: the newest CUDA that the driver library runs, None where there is no
    such library; cuda_cards: how many cards that library shows to this process; problem: in nvidia-smi's own words.
    """

    cards: tuple[str, ...] = ()
    version: str = ""
    cuda: tuple[int, int] | None = None
    cuda_cards: int = 0
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Card:
    """A card that torch can use. others: bytes that are neither free nor ours."""

    index: int
    name: str
    capability: tuple[int, int]
    free: int
    total: int
    others: int


def check_nvidia() -> Iterator[Line]:
    import torch

    driver = find_driver()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch says of a driver that is too old what the line says
        usable = torch.cuda.is_available()
    if not usable:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        yield no_cuda_line(driver, torch.__version__, torch.version.cuda, _refusal(), visible)
        return
    if torch.version.hip:
        yield Line("note", "GPU", f"torch for AMD (ROCm {torch.version.hip}), which lorafit was not tested with")
    else:
        shown = f"torch for CUDA {torch.version.cuda}, NVIDIA driver {driver.version or 'of unknown version'}"
        yield Line("ok", "CUDA", shown)
    for index in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(index)
        others = max(0, total - free - torch.cuda.memory_reserved(index) - CUDA_CONTEXT)
        name, capability = torch.cuda.get_device_name(index), torch.cuda.get_device_capability(index)
        card = Card(index, name, capability, free, total, others)
        yield from card_lines(card, [] if torch.version.hip else torch.cuda.get_arch_list())


def no_cuda_line(driver: Driver, version: str, build: str | None, refusal: str, visible: str | None) -> Line:
    """Why torch has no NVIDIA card.

    version, build: of torch, and the CUDA that it is made for; refusal: what it says when asked for a card; visible:
    CUDA_VISIBLE_DEVICES.
    """
    cards = ", ".join(driver.cards) or ("an NVIDIA card" if driver.cuda_cards else "")
    if cards and build is None:
        found = f"{cards} is there, but this torch ({version}) is made for the processor alone and leaves it idle"
        return Line("fault", "CUDA", found, INSTALL_BUILD)
    if (cards or driver.cuda) and visible is not None and visible.strip() in ("", "-1"):
        found = f"CUDA_VISIBLE_DEVICES={visible!r} hides {cards or 'every NVIDIA card'}: runs compute on the processor"
        return Line("warning", "CUDA", found, "unset CUDA_VISIBLE_DEVICES")
    if driver.problem and not cards:
        found = f"the NVIDIA driver does not answer, runs compute on the processor: {driver.problem}"
        return Line("warning", "CUDA", found, "reboot if the driver was just updated, or reinstall it")
    if not cards:
        found = "no NVIDIA card found: runs compute on the processor, which is enough for small models"
        remedy = "if there is one: install its driver; start a container with the card (docker run --gpus all)"
        return Line("note", "CUDA", found, remedy)
    assert build is not None  # told above
    if driver.cuda is None:
        found = f"{cards} is there, but libcuda, the driver's library for computing, is not"
        remedy = "a container needs NVIDIA_DRIVER_CAPABILITIES=compute,utility; else reinstall the driver"
        return Line("fault", "CUDA", found, remedy)
    if driver.cuda[0] < int(build.split(".")[0]):
        newest = ".".join(map(str, driver.cuda))
        found = f"the driver of {cards} runs CUDA up to {newest}, and this torch is made for CUDA {build}"
        return Line("fault", "CUDA", found, f"a newer driver, or a torch for CUDA {driver.cuda[0]}: {PYTORCH}")
    found = f"{cards} is there, but torch cannot use it ({refusal})"
    return Line("fault", "CUDA", found, f"a newer driver, or {INSTALL_BUILD}")


def card_lines(card: Card, architectures: Sequence[str]) -> Iterator[Line]:
    """architectures: what torch has kernels for, such as sm_80; empty where it does not say."""
    subject, capability = f"GPU {card.index}", ".".join(map(str, card.capability))
    if architectures and not has_kernels(card.capability, architectures):
        found = (
            f"{card.name} is of compute capability {capability}; this torch has kernels for {', '.join(architectures)}"
        )
        yield Line("fault", subject, found, f"another build of torch: {PYTORCH}")
        return
    native = card.capability >= BFLOAT16
    dtype = "bfloat16" if native else "float16 with loss scaling (bfloat16 is slow on it)"
    shown = (
        f"{card.name}, compute capability {capability}, computes in {dtype}; {gib(card.free)} of {gib(card.total)} free"
    )
    if card.others < GIB:
        yield Line("ok", subject, shown)
        return
    who = ", ".join(processes()) or "nvidia-smi does not say which"
    found = f"{shown}; other processes hold {gib(card.others)} ({who})"
    yield Line("warning", subject, found, "stop them, or choose another card: model.device=cuda:N")


def has_kernels(capability: tuple[int, int], architectures: Sequence[str]) -> bool:
    """Whether a card runs code that was compiled for these: of its major version, or anything older as PTX."""
    for architecture in architectures:
        kind, _, number = architecture.partition("_")
        built = divmod(int(number.rstrip("af")), 10)
        if (kind == "compute" and built <= capability) or (built[0] == capability[0] and built <= capability):
            return True
    return False


def find_driver() -> Driver:
    """Ask nvidia-smi and the driver's own library; neither needs torch."""
    rows, problem = _ask("--query-gpu=name,driver_version")
    cards = tuple(row[0] for row in rows)
    cuda, cuda_cards = _ask_library()
    return Driver(cards, rows[0][1] if rows else "", cuda, cuda_cards, problem)


def processes() -> list[str]:
    """`process NUMBER: SIZE MiB` for each other process on a card, as far as nvidia-smi sees them."""
    rows, _ = _ask("--query-compute-apps=pid,used_memory")
    return [f"process {pid}: {used} MiB" for pid, used in rows if pid != str(os.getpid())]


def _ask(query: str) -> tuple[list[list[str]], str]:
    """(rows of nvidia-smi, what is wrong): no rows where there is no such program."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return [], ""
    try:
        said = subprocess.run(
            [program, query, "--format=csv,noheader,nounits"], capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return [], first_line(error)
    lines = [line for line in (said.stdout.strip() or said.stderr.strip()).splitlines() if line]
    if said.returncode:
        problem = lines[0] if lines else f"nvidia-smi ends with {said.returncode}"
        return [], "" if "No devices" in problem else problem
    return [[cell.strip() for cell in line.split(",")] for line in lines], ""


def _ask_library() -> tuple[tuple[int, int] | None, int]:
    """(newest CUDA of the driver, cards) through the CUDA driver API: cuDriverGetVersion, cuInit, cuDeviceGetCount."""
    try:
        library = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return None, 0
    version, cards = ctypes.c_int(), ctypes.c_int()
    library.cuDriverGetVersion(ctypes.byref(version))
    if library.cuInit(0) == 0:
        library.cuDeviceGetCount(ctypes.byref(cards))
    return divmod(version.value // 10, 100), cards.value


def _refusal() -> str:
    """What torch says when it is asked for a card that it cannot use."""
    import torch

    with contextlib.suppress(AttributeError):
        try:
            torch.cuda.init()
        except (RuntimeError, AssertionError) as error:
            return first_line(error)
    return "it says no reason"


def check_apple() -> Iterator[Line]:
    if platform.system() != "Darwin":
        return
    import torch

    if torch.backends.mps.is_available():
        yield Line("ok", "Apple GPU", f"usable; {gib(torch.mps.recommended_max_memory())} of memory recommended for it")
    else:
        yield Line("note", "Apple GPU", "not usable (it needs an Apple processor and macOS 14 or newer)")
