"""Checks of what a run lives on: processor, memory, the limits of a container, disks."""

from __future__ import annotations

import math
import os
import platform
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from shutil import disk_usage

from lorafit.doctor.line import Level, Line, first_line, gib
from lorafit.plan.devices import host_memory

GIB = 2**30
# Below these a run of a small model is in danger: torch and its libraries alone take over 1 GiB of memory.
LITTLE_MEMORY, LITTLE_DISK, NO_DISK = 4 * GIB, 5 * GIB, GIB // 4
# A model of 7 billion weights in 16 bits is a download of 15 GB.
LITTLE_CACHE = 20 * GIB
THREAD_SETTINGS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True, slots=True)
class Processor:
    """cores: physical ones; usable: logical ones that this process may use; quota: cores of time that a container has.

    threads: how many torch computes with. kernels: the instructions of torch's own code (AVX512, AVX2, DEFAULT ...).
    """

    cores: int
    usable: int
    threads: int
    kernels: str
    bfloat16: bool
    quota: float | None = None


def check_processor() -> Iterator[Line]:
    import psutil
    import torch

    from lorafit import hardware

    affinity = getattr(os, "sched_getaffinity", None)  # Linux
    usable = len(affinity(0)) if affinity else os.cpu_count() or 1
    yield from processor_lines(
        Processor(
            cores=min(psutil.cpu_count(logical=False) or usable, usable),
            usable=usable,
            threads=torch.get_num_threads(),
            kernels=torch.backends.cpu.get_cpu_capability(),
            bfloat16=hardware.choose("cpu").dtype == torch.bfloat16,
            quota=cpu_quota(),
        ),
        os.environ,
    )


def processor_lines(found: Processor, environ: Mapping[str, str]) -> Iterator[Line]:
    native = "multiplies bfloat16 natively" if found.bfloat16 else "has no native bfloat16: runs on it take float32"
    cores = f"{found.cores} core{'s' if found.cores > 1 else ''}"
    shown = f"{cores} ({found.usable} logical), torch uses {found.kernels}; {native}"
    if found.kernels == "DEFAULT":
        remedy = "another machine; a virtual machine may hide AVX2 from its guest (choose the host's processor model)"
        yield Line("warning", "processor", f"{shown}; without vector instructions training on it is very slow", remedy)
    else:
        yield Line("ok", "processor", shown)
    wanted = found.cores if found.quota is None else max(1, min(found.cores, math.floor(found.quota)))
    most = found.usable if found.quota is None else min(found.usable, math.ceil(found.quota))
    why = ", ".join(f"{name}={environ[name]}" for name in THREAD_SETTINGS if name in environ)
    because = f" because of {why}" if why else ""
    if found.threads > most:
        limit = f"{most} logical cores" if found.quota is None else f"the {found.quota:g} cores that this container has"
        yield Line(
            "warning",
            "threads",
            f"torch computes with {found.threads} threads on {limit}{because}: they wait for one another",
            f"export OMP_NUM_THREADS={wanted}",
        )
    elif 2 * found.threads <= wanted:
        yield Line(
            "warning",
            "threads",
            f"torch computes with {found.threads} of {wanted} cores{because}: slower than it need be",
            f"unset {' '.join(name for name in THREAD_SETTINGS if name in environ)}"
            if why
            else f"export OMP_NUM_THREADS={wanted}",
        )
    else:
        yield Line("ok", "threads", f"torch computes with {found.threads} on {cores}")


def cpu_quota(root: Path = Path("/")) -> float | None:
    """Cores of time that the control groups of this process (v1 or v2) allow; None where there is no limit."""
    found = []
    for folder in _groups(root, "cpu"):
        try:
            if (folder / "cpu.max").exists():
                quota, period = (folder / "cpu.max").read_text().split()
            else:
                quota, period = ((folder / f"cpu.cfs_{name}_us").read_text().strip() for name in ("quota", "period"))
        except OSError:
            continue
        if quota.isdecimal():  # else "max" or -1
            found.append(int(quota) / int(period))
    return min(found, default=None)


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """The folders of the control groups that this process stands in, innermost first."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        base = root / "sys/fs/cgroup" / (controller if controllers else "")
        group = base / path.strip("/")
        yield from (folder for folder in (group, *group.parents) if folder == base or base in folder.parents)


def check_memory() -> Iterator[Line]:
    import psutil

    machine = psutil.virtual_memory()
    # On Linux with the limits of control groups.
    total, free = host_memory() if platform.system() == "Linux" else (machine.total, machine.available)
    yield from memory_lines(machine.total, total, free, psutil.swap_memory().total, _address_limit())


def memory_lines(machine: int, total: int, free: int, swap: int, address_limit: int | None) -> Iterator[Line]:
    """machine: all memory in bytes; total, free: what this process may have of it; swap: in bytes."""
    shown = f"{gib(free)} of {gib(total)} available; {f'{gib(swap)} of swap' if swap else 'no swap'}"
    if free < LITTLE_MEMORY:
        remedy = "close other programs; small models and model.quantization=nf4 need least (`lorafit plan` says it)"
        yield Line("warning", "memory", f"only {shown}", remedy)
    else:
        yield Line("ok", "memory", shown)
    if total < 0.98 * machine:
        yield Line(
            "note",
            "container",
            f"this process may use {gib(total)} of the machine's {gib(machine)}; the system kills it above that",
            "raise the container's memory limit if a run dies without a word (docker run --memory, a pod's limits)",
        )
    if address_limit is not None:
        found = (
            f"the shell limits addresses to {gib(address_limit)} (ulimit -v): allocations fail though memory is free"
        )
        yield Line("warning", "memory", found, "ulimit -v unlimited")


def _address_limit() -> int | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    return None if soft == resource.RLIM_INFINITY else soft


def check_disks() -> Iterator[Line]:
    remedy = "free some space, or run lorafit in another folder (output=FOLDER puts the runs elsewhere)"
    yield disk_line("disk", Path.cwd(), "the working folder", LITTLE_DISK, "fault", remedy)
    from huggingface_hub import constants

    cache = Path(constants.HF_HUB_CACHE)
    remedy = "have it elsewhere: export HF_HOME=FOLDER; what is in it and not needed goes with `hf cache`"
    what = f"{cache}, where models are downloaded to"
    yield disk_line("model cache", cache, what, LITTLE_CACHE, "warning", remedy)


def disk_line(subject: str, folder: Path, what: str, little: int, worst: Level, remedy: str) -> Line:
    """Free space, and whether a file can be written, in `folder` or where it would be made.

    worst: what it is when nothing can be written; less than `little` bytes are a warning.
    """
    there = next(path for path in (folder, *folder.parents) if path.exists())
    free = disk_usage(there).free
    try:
        with tempfile.TemporaryFile(dir=there) as file:
            file.write(b"lorafit")
    except OSError as error:
        return Line(worst, subject, f"nothing can be written in {what} ({first_line(error)})", remedy)
    if free < little:
        return Line(worst if free < NO_DISK else "warning", subject, f"only {gib(free)} free in {what}", remedy)
    return Line("ok", subject, f"{gib(free)} free in {what}")
