"""The devices that a plan can be made for, and what `--gpu` may say.

All speeds are nominal: the vendor's datasheet, dense (without sparsity), products of 16-bit numbers summed in float32.
GeForce cards sum in float32 at half their advertised tensor rate, and it is that half which stands here: the number of
multiprocessors x boost clock x 512 operations (256 on Turing, 1024 on RTX A and PRO cards).

Memory is what torch reports as total, not what is on the box. Where its "total capacity" was found in a public bug
report, that figure stands; otherwise SHOWN of the nominal size (the lowest found without ECC was 0.978), or
SHOWN_WITH_ECC for GDDR6 cards that keep part of it for error correction (0.911, a T4). Vendors write GB and mean GiB.
"""

from __future__ import annotations

import difflib
import math
import os
import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from lorafit.errors import ModelError, PlanError

GIB = 1 << 30
SHOWN = 0.975
SHOWN_WITH_ECC = 0.91
# The driver's context and the loaded kernels: 200 to 700 MB with lazy loading (pytorch issues 28113 and 107667).
CUDA_CONTEXT = 600_000_000
# The resident size of a Python process that has imported lorafit's training loop with torch 2.13: 0.40 GB on Linux.
CPU_CONTEXT = 400_000_000
LARGEST = 10 * 1024 * GIB


@dataclass(frozen=True, slots=True)
class Device:
    """What a plan needs to know of a device.

    memory_bytes: what torch can see of it in all; free_bytes: what was free when "this" device was asked, else None.
    bandwidth: of its memory, bytes/s; matrix_rate: dense 16-bit products, operations/s. None: unknown, and then no
    time can be predicted. bfloat16: computed natively, in runs of ours. context_bytes: what is gone before the first
    tensor is there. source: where the figures come from. note: what the user should be told about the choice.
    """

    name: str
    kind: str  # cuda, mps, cpu
    memory_bytes: int
    bandwidth: float | None
    matrix_rate: float | None
    bfloat16: bool
    context_bytes: int
    source: str
    note: str = ""
    free_bytes: int | None = None


# name, GiB on the box, GiB that torch shows (None: none was found), GB/s, 10^12 operations/s
_WITHOUT_BFLOAT16 = [
    ("P100 16GB", 16, None, 732, 18.7),
    ("V100 PCIe 16GB", 16, None, 900, 112),
    ("V100 PCIe 32GB", 32, None, 900, 112),
    ("V100 SXM 16GB", 16, None, 900, 125),
    ("V100 SXM 32GB", 32, None, 900, 125),
    ("T4", 16, 14.58, 320, 65),
    ("RTX 2060", 6, None, 336, 25.8),
    ("RTX 2060 Super", 8, None, 448, 28.7),
    ("RTX 2070", 8, None, 448, 29.9),
    ("RTX 2070 Super", 8, None, 448, 36.3),
    ("RTX 2080", 8, None, 448, 40.3),
    ("RTX 2080 Super", 8, None, 496, 44.6),
    ("RTX 2080 Ti", 11, 10.76, 616, 53.8),
]
_WITH_BFLOAT16 = [
    ("RTX 3060 12GB", 12, None, 360, 25.5),
    ("RTX 3060 Ti", 8, None, 448, 32.4),
    ("RTX 3070", 8, None, 448, 40.6),
    ("RTX 3070 Ti", 8, None, 608, 43.5),
    ("RTX 3080 10GB", 10, 9.78, 760, 59.5),
    ("RTX 3080 12GB", 12, None, 912, 61.3),
    ("RTX 3080 Ti", 12, None, 912, 68.2),
    ("RTX 3090", 24, None, 936, 71.2),
    ("RTX 3090 Ti", 24, None, 1008, 80.0),
    ("RTX 4060", 8, None, 272, 30.2),
    ("RTX 4060 Ti 8GB", 8, None, 288, 44.1),
    ("RTX 4060 Ti 16GB", 16, None, 288, 44.1),
    ("RTX 4070", 12, None, 504, 58.3),
    ("RTX 4070 Super", 12, None, 504, 71.0),
    ("RTX 4070 Ti", 12, None, 504, 80.2),
    ("RTX 4070 Ti Super", 16, None, 672, 88.2),
    ("RTX 4080", 16, None, 717, 97.5),
    ("RTX 4080 Super", 16, None, 736, 104.4),
    ("RTX 4090", 24, 23.64, 1008, 165.2),
    ("RTX 5060 Ti 16GB", 16, None, 448, 47.4),
    ("RTX 5070", 12, None, 672, 61.7),
    ("RTX 5070 Ti", 16, None, 896, 87.9),
    ("RTX 5080", 16, None, 960, 112.6),
    ("RTX 5090", 32, 31.37, 1792, 209.5),
    ("RTX A4000", 16, None, 448, 76.7),
    ("RTX A5000", 24, None, 768, 111.1),
    ("RTX A6000", 48, None, 768, 154.8),
    ("RTX 6000 Ada", 48, 44.43, 960, 364.2),
    ("RTX PRO 6000", 96, None, 1792, 503.8),
    ("A10", 24, None, 600, 125),
    ("A10G", 24, None, 600, 70),
    ("A30", 24, 23.53, 933, 165),
    ("A40", 48, None, 696, 149.7),
    ("L4", 24, None, 300, 121),
    ("L40", 48, 44.40, 864, 181),
    ("L40S", 48, 44.40, 864, 362),
    ("A100 PCIe 40GB", 40, 39.39, 1555, 312),
    ("A100 SXM 40GB", 40, 39.39, 1555, 312),
    ("A100 PCIe 80GB", 80, 79.25, 1935, 312),
    ("A100 SXM 80GB", 80, 79.25, 2039, 312),
    ("H100 PCIe 80GB", 80, None, 2000, 756),
    ("H100 SXM 80GB", 80, None, 3350, 989),
    ("H100 NVL 94GB", 94, None, 3900, 835),
    ("H200", 141, None, 4800, 989),
    ("GH200 96GB", 96, None, 4000, 989),
    ("GH200 144GB", 144, None, 4900, 989),
    ("B200", 180, None, 8000, 2250),
]
_WITH_ECC = ("A10", "A10G", "A40", "L4")
# chip, sizes of memory in GiB, GB/s, 10^12 operations/s; of a chip that is sold with fewer GPU cores, those
_APPLE = [
    ("M1", (8, 16), 68, 2.6),
    ("M1 Pro", (16, 32), 200, 5.3),
    ("M1 Max", (32, 64), 400, 10.6),
    ("M1 Ultra", (64, 128), 800, 21.2),
    ("M2", (8, 16, 24), 100, 3.6),
    ("M2 Pro", (16, 32), 200, 6.8),
    ("M2 Max", (32, 64, 96), 400, 13.6),
    ("M2 Ultra", (64, 128, 192), 800, 27.2),
    ("M3", (8, 16, 24), 100, 3.5),
    ("M3 Pro", (18, 36), 150, 6.4),
    ("M3 Max", (36, 48, 64, 96, 128), 300, 10.6),
    ("M3 Ultra", (96, 256, 512), 819, 28.3),
    ("M4", (16, 24, 32), 120, 4.3),
    ("M4 Pro", (24, 48, 64), 273, 8.6),
    ("M4 Max", (36, 48, 64, 128), 410, 13.8),
]
_APPLE_NOTE = "Apple states no rate: GPU cores x 128 x 2 x clock, which float16 does not exceed; computed in float32."


def _nvidia(row: tuple[str, int, float | None, float, float], bfloat16: bool) -> Device:
    name, gib, shown, bandwidth, rate = row
    source = "nominal (datasheet); memory as torch reports it"
    if shown is None:
        share = SHOWN_WITH_ECC if name in _WITH_ECC else SHOWN
        shown, source = gib * share, f"nominal (datasheet); memory: {share} of {gib} GiB"
    return Device(name, "cuda", int(shown * GIB), bandwidth * 1e9, rate * 1e12, bfloat16, CUDA_CONTEXT, source)


def apple_share(memory_bytes: int) -> int:
    """The bytes of a Mac's memory that its GPU may use, as macOS sets it when nobody changes it.

    Metal's recommendedMaxWorkingSetSize, from logs in public bug reports: 2/3 on 16 and 32 GB (10922.67 and 21845.34
    MiB; recent systems give 0.74), 3/4 on 64 GB and more (0.84 on 128 GB with a recent one). The smaller is taken;
    that the step lies at 36 GB is as it is commonly told.
    """
    return memory_bytes * 3 // 4 if memory_bytes >= 36 * GIB else memory_bytes * 2 // 3


def _apple(chip: str, gib: int, bandwidth: float, rate: float) -> Device:
    source = "nominal (vendor); memory: macOS's share for the GPU (apple_share)"
    name, memory = f"{chip} {gib}GB", apple_share(gib * GIB)
    return Device(name, "mps", memory, bandwidth * 1e9, rate * 1e12, False, 0, source, _APPLE_NOTE)


DEVICES: tuple[Device, ...] = (
    *(_nvidia(row, False) for row in _WITHOUT_BFLOAT16),
    *(_nvidia(row, True) for row in _WITH_BFLOAT16),
    *(_apple(chip, gib, bandwidth, rate) for chip, sizes, bandwidth, rate in _APPLE for gib in sizes),
)


def find_device(text: str, cards: Path | None = None) -> Device:
    """The device that `text` names.

    A name, in any case and spacing ("rtx4090", "A100 40 GB"); of several that it fits, the one with the least memory,
    then the slowest, and the note says so. A size ("24GB", "24", "23.5GiB"): a CUDA card of that size; GB, or no
    unit, is what is on the box, GiB what torch shows; its speeds are unknown, so that no time is predicted.
    "cpu 64GB": a machine without a card. "this", "cuda", "mps", "cpu": this machine. cards: a YAML file with the
    user's own, which are looked up first (read_cards).

    Raises PlanError for a name that fits nothing (with the nearest ones) and a size that cannot be.
    """
    wanted = text.strip().lower()
    own = read_cards(cards) if cards is not None else ()
    if wanted in ("this", "cuda", "mps", "cpu"):
        return _this("" if wanted == "this" else wanted)
    found = _named(text, own) or _cpu_of(text) or _sized(text) or _named(text, DEVICES)
    if found is not None:
        return found
    if re.fullmatch(r"-?[\d.,]+\s*[a-z]*", wanted):
        raise PlanError(f"--gpu {text!r} is not a size of memory. Write it like 24GB or 23.5GiB.")
    names = {_joined(device.name): device.name for device in (*own, *DEVICES)}
    near = difflib.get_close_matches(_joined(text), names, n=4, cutoff=0.6)
    meant = f" Did you mean {_either(names[key] for key in near)}?" if near else ""
    raise PlanError(
        f"--gpu {text!r}: no such device is known.{meant}\n"
        "Name a card (rtx4090, a100-40gb, m3 max 64gb), a size of memory (24GB), or `this`; add a card with --cards."
    )


# ---------------------------------------------------------------- names

_FILLERS = {
    "nvidia",
    "geforce",
    "tesla",
    "quadro",
    "apple",
    "gpu",
    "gb",
    "gib",
    "graphics",
    "generation",
    "edition",
} | {
    "blackwell",
    "workstation",
    "server",
}
_VARIANTS = {"pcie", "sxm", "nvl"}


def _words(name: str) -> frozenset[str]:
    """The words and numbers of a name, without those that tell nothing; a size is a word like 40gb."""
    name = re.sub(r"sxm\d|hbm3\b", "sxm", name.lower())  # torch calls the SXM5 card "H100 80GB HBM3"
    sized = re.sub(r"\b(\d+)[\s_-]*gi?b\b", r" \1gb ", name)
    return frozenset(re.findall(r"\d+gb|\d+|[a-z]+", sized)) - _FILLERS


def _joined(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower().replace("nvidia", "").replace("geforce", ""))


def _named(text: str, devices: Sequence[Device]) -> Device | None:
    """The device whose name has every word of `text` and the fewest others; sizes and form factors do not count."""
    wanted = _words(text)
    extras: dict[int, list[Device]] = {}
    for device in devices:
        words = _words(device.name)
        # "a100 40" means 40 GB, if there is no better reading
        if wanted and all(word in words or (len(wanted) > 2 and f"{word}gb" in words) for word in wanted):
            rest = [word for word in words - wanted if word not in _VARIANTS and not word.endswith("gb")]
            extras.setdefault(len(rest), []).append(device)
    alone = _joined(text) in {_joined(device.name) for device in devices}
    if not extras or not (alone or any(character.isdigit() for character in text)):  # "max" names no device
        return None
    first, *others = sorted(extras[min(extras)], key=lambda device: (device.memory_bytes, device.matrix_rate or 0.0))
    unlike = [device.name for device in others if _figures(device) != _figures(first)]
    if not unlike:
        return first
    note = f"{text} may also be {_either(unlike)}; the smallest, {first.name}, is taken."
    return replace(first, note=f"{note} {first.note}".strip())


def _figures(device: Device) -> tuple[int, float | None, float | None]:
    return device.memory_bytes, device.bandwidth, device.matrix_rate


def _either(names: Iterable[str]) -> str:
    *some, last = names
    return f"{', '.join(some)} or {last}" if some else last


# ---------------------------------------------------------------- sizes

_UNITS = {"": GIB, "g": GIB, "gb": GIB, "m": GIB / 1024, "mb": GIB / 1024, "t": GIB * 1024, "tb": GIB * 1024}
_EXACT_UNITS = {"mib": 1 << 20, "gib": GIB, "tib": GIB * 1024}


def _size(text: str) -> tuple[int, bool] | None:
    """(bytes, whether that is what torch shows, and not what is on the box), or None when `text` is no size."""
    parts = re.fullmatch(r"\s*(-?\d+(?:\.\d+)?)\s*([a-z]*)\s*", text.lower())
    if parts is None or parts[2] not in _UNITS | _EXACT_UNITS:
        return None
    if parts[2] == "" and float(parts[1]) >= 1000 and _named(text, DEVICES):  # 4090 is no size
        return None
    size = float(parts[1]) * (_UNITS | _EXACT_UNITS)[parts[2]]
    if size <= 0:
        raise PlanError(f"{text!r}: a device needs more than 0 GB of memory. Write it like 24GB.")
    if size > LARGEST:
        raise PlanError(
            f"{text!r} is more memory than any device has ({LARGEST >> 40} TB at most here). Is the unit right?"
        )
    return int(size), parts[2] in _EXACT_UNITS


def _sized(text: str) -> Device | None:
    size = _size(text)
    if size is None:
        return None
    memory, exact = size
    shown = memory if exact else int(memory * SHOWN)
    how = "as given" if exact else f"{SHOWN} of it, as cards of that size show"
    alike = [device.name for device in DEVICES if device.kind == "cuda" and abs(device.memory_bytes / shown - 1) < 0.03]
    name_one = f" Name a card, such as {_either(alike[-3:])}, to have the time predicted." if alike else ""
    note = f"{shown / GIB:.2f} GiB of memory ({how}); its speed is not known.{name_one}"
    return Device(f"{text.strip()} card", "cuda", shown, None, None, True, CUDA_CONTEXT, "the size given", note)


def _cpu_of(text: str) -> Device | None:
    parts = re.fullmatch(r"\s*cpu[\s_-]+(.+)", text.lower())
    size = _size(parts[1]) if parts else None
    if size is None:
        return None
    return Device(text.strip(), "cpu", size[0], None, None, False, CPU_CONTEXT, "the size given", "float32 is assumed.")


# ---------------------------------------------------------------- the user's cards

_QUANTITIES = {
    "bandwidth": ("1008GB/s", {"gb/s": 1e9, "tb/s": 1e12}),
    "matrix_rate": ("165TFLOPS", {"tflops": 1e12, "tflop/s": 1e12, "pflops": 1e15, "gflops": 1e9}),
}


def read_cards(path: Path) -> tuple[Device, ...]:
    """The user's CUDA cards: a YAML list of name and memory, and if known bandwidth, matrix_rate and bfloat16.

        - {name: My card, memory: 24GB, bandwidth: 1008GB/s, matrix_rate: 165TFLOPS}

    Raises PlanError with every fault of the file, by entry.
    """
    try:
        entries = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise PlanError(f"--cards {path} cannot be read: {error}") from error
    except yaml.YAMLError as error:
        raise PlanError(f"--cards {path} is not YAML: {error}") from error
    if not isinstance(entries, list) or not entries:
        raise PlanError(f"{path}: a list of cards is expected, each with a name and a memory (such as 24GB).")
    faults: list[str] = []
    cards = [_card(entry, f"{path}: entry {number}", faults) for number, entry in enumerate(entries, 1)]
    if faults:
        raise PlanError("\n".join(faults))
    return tuple(card for card in cards if card is not None)


def _card(entry: Any, where: str, faults: list[str]) -> Device | None:
    if not isinstance(entry, dict):
        faults.append(f"{where}: {entry!r} is not a card: write name, memory, bandwidth and matrix_rate.")
        return None
    known = ("name", "memory", "bandwidth", "matrix_rate", "bfloat16")
    name = entry.get("name")
    before = len(faults)
    if not isinstance(name, str) or not _words(name):
        faults.append(f"{where}: the name {name!r} is no text that can be asked for.")
    where = f"{where} ({name})"
    faults += [f"{where}: {key!r} is not known; a card has {', '.join(known)}." for key in entry if key not in known]
    size = None
    try:
        size = _size(str(entry.get("memory")))
        if size is None:
            faults.append(f"{where}: memory {entry.get('memory')!r} is not a size such as 24GB.")
    except PlanError as error:
        faults.append(f"{where}: memory {error}")
    speeds: dict[str, float | None] = {}
    for key, (example, units) in _QUANTITIES.items():
        speeds[key] = None
        if key in entry:
            parts = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z/]+)", str(entry[key]).strip().lower())
            if parts is None or parts[2] not in units or float(parts[1]) == 0:
                faults.append(f"{where}: {key} {entry[key]!r} is not understood; write it like {example}.")
            else:
                speeds[key] = float(parts[1]) * units[parts[2]]
    bfloat16 = entry.get("bfloat16", True)
    if not isinstance(bfloat16, bool):
        faults.append(f"{where}: bfloat16 is true or false, not {bfloat16!r}.")
    if len(faults) > before or size is None:
        return None
    shown = size[0] if size[1] else int(size[0] * SHOWN)
    return Device(str(name), "cuda", shown, speeds["bandwidth"], speeds["matrix_rate"], bfloat16, CUDA_CONTEXT, "yours")


# ---------------------------------------------------------------- this machine


def _this(kind: str) -> Device:
    import torch

    from lorafit import hardware

    try:
        chosen = hardware.choose(kind or "auto")
    except ModelError as error:
        raise PlanError(f"--gpu {kind}: this machine has none that torch can use. Name a card or `this`.") from error
    if chosen.device.type == "cuda":
        properties = torch.cuda.get_device_properties(chosen.device)
        free, total = torch.cuda.mem_get_info(chosen.device)
        return _at_hand(
            properties.name, "cuda", total, free + torch.cuda.memory_reserved(chosen.device), properties.major >= 8
        )
    if chosen.device.type == "mps":
        total = torch.mps.recommended_max_memory()
        return _at_hand("Apple GPU", "mps", total, max(0, total - torch.mps.driver_allocated_memory()), False)
    total, free = host_memory()
    return _at_hand("this CPU", "cpu", total, free, chosen.dtype == torch.bfloat16)


def _at_hand(name: str, kind: str, total: int, free: int, bfloat16: bool) -> Device:
    """A device with its own memory, and the table's speeds where that knows a card of its name and about its size."""
    known = _named(name, [card for card in DEVICES if card.kind == kind and abs(card.memory_bytes / total - 1) < 0.1])
    context = {"cuda": CUDA_CONTEXT, "mps": 0, "cpu": CPU_CONTEXT}[kind]
    if known is None:
        source = "this machine; its speed is not known"
        return Device(name, kind, total, None, None, bfloat16, context, source, free_bytes=min(free, total))
    source = f"this machine; speeds nominal, of the {known.name}"
    bandwidth, rate = known.bandwidth, known.matrix_rate
    return Device(name, kind, total, bandwidth, rate, bfloat16, context, source, free_bytes=min(free, total))


def host_memory(root: Path = Path("/")) -> tuple[int, int]:
    """(in all, available now) in bytes for this process: the machine's memory or its control group's, the smaller.

    root: where /proc and /sys are looked for. Raises PlanError where the system does not tell.
    """
    try:
        lines = (line.split(":", 1) for line in (root / "proc/meminfo").read_text().splitlines())
        fields = {name: int(value.split()[0]) * 1024 for name, value in lines}
        total, free = fields["MemTotal"], fields["MemAvailable"]
    except (OSError, KeyError):
        try:  # macOS: it names no reliable figure of what is free
            total = free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        except (AttributeError, ValueError, OSError) as error:
            raise PlanError("This system does not tell its memory: name a size, such as `--gpu 'cpu 16GB'`.") from error
    for limit, used in _group_limits(root):
        total, free = min(total, limit), min(free, max(0, limit - used))
    return total, free


def _group_limits(root: Path) -> list[tuple[int, int]]:
    """(limit, in use without what can be dropped) of each control group that this process stands in, v1 and v2."""
    limits = []
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            base, names, cache = root / "sys/fs/cgroup", ("memory.max", "memory.current"), "inactive_file"
        elif "memory" in controllers.split(","):
            base, names = root / "sys/fs/cgroup/memory", ("memory.limit_in_bytes", "memory.usage_in_bytes")
            cache = "total_inactive_file"
        else:
            continue
        group = base / path.strip("/")
        # In a container the path may be that of the host, of which only the group itself is seen, at the base.
        for folder in (group, *group.parents):
            if folder == base.parent:
                break
            try:
                limit, used = ((folder / name).read_text().strip() for name in names)
                stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
            except OSError:
                continue
            if limit.isdecimal():  # else "max"
                limits.append((int(limit), int(used) - int(stat.get(cache, 0))))
    return limits


def measure_cpu() -> tuple[float, float]:
    """(operations/s of a matrix product in the dtype that runs take here, bytes/s of a copy); some 0.3 seconds."""
    import torch

    from lorafit import hardware

    dtype = hardware.choose("cpu").dtype
    left_NN, right_NN = torch.randn(1024, 1024).to(dtype), torch.randn(1024, 1024).to(dtype)
    numbers_M = torch.zeros(1 << 24)  # 64 MiB, more than most caches hold
    copy_M = torch.empty_like(numbers_M)

    def product() -> None:
        torch.mm(left_NN, right_NN)

    def copying() -> None:
        copy_M.copy_(numbers_M)

    # a copy reads and writes each byte
    return 2 * 1024**3 / _shortest(product), 2 * numbers_M.nbytes / _shortest(copying)


def _shortest(work: Callable[[], None]) -> float:
    """The shortest of some runs, in seconds, after one that warms up."""
    work()
    best = math.inf
    for _ in range(5):
        begin = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - begin)
    return best
