"""`lorafit doctor`: is this machine fit for training? A table of checks, each of which says lines."""

from __future__ import annotations

import importlib
import platform
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lorafit.doctor.line import Level, Line, cleaned, first_line
from lorafit.doctor.software import installed
from lorafit.run import SCHEMA

REPORT = "please report it, with the file of `lorafit doctor --json FILE`"
BITSANDBYTES = (
    "reinstall bitsandbytes for this torch and driver (pip install --force-reinstall --no-deps bitsandbytes); until "
    "then train with model.quantization=none (--method lora)"
)


@dataclass(frozen=True, slots=True)
class Check:
    """function: `module:name` in this room, imported when its turn comes, so that a broken library breaks one check.

    remedy: what to do when the check itself cannot be carried out.
    """

    subject: str
    function: str
    needs_torch: bool = False
    remedy: str = REPORT


# What computes stands last: where a broken driver takes the whole process down, all else has been said.
CHECKS = (
    Check("Python", "software:check_python"),
    Check("torch", "software:check_torch"),
    Check("packages", "software:check_packages", remedy="install lorafit with pip: only then it knows what it needs"),
    Check("extras", "software:check_extras", remedy="install lorafit with pip: only then it knows what it needs"),
    Check("processor", "resources:check_processor", needs_torch=True),
    Check("CUDA", "graphics:check_nvidia", needs_torch=True),
    Check("Apple GPU", "graphics:check_apple", needs_torch=True),
    Check("memory", "resources:check_memory"),
    Check("disk", "resources:check_disks"),
    Check("hubs", "hubs:check_hubs"),
    Check("token", "hubs:check_token"),
    Check("4-bit layer", "trials:check_4bit", needs_torch=True, remedy=BITSANDBYTES),
    Check("8-bit layer", "trials:check_8bit", needs_torch=True, remedy=BITSANDBYTES),
    Check("training step", "trials:check_training", needs_torch=True),
)


def examine(checks: Sequence[Check] = CHECKS) -> Iterator[Line]:
    """The lines of all checks, each as soon as it is known. A check that breaks is a fault, and the others go on.

    Where torch cannot be imported, which is a line of its own, the checks that need it are left out.
    """
    for check in checks:
        if check.needs_torch and "torch" not in sys.modules:
            continue
        module, _, name = check.function.partition(":")
        try:
            for line in getattr(importlib.import_module(f"lorafit.doctor.{module}"), name)():
                yield cleaned(line)
        except Exception as error:  # noqa: BLE001  what a machine can do wrong has no list; none may hide the rest
            yield cleaned(Line("fault", check.subject, f"could not be checked ({first_line(error)})", check.remedy))


def summary(lines: Iterable[Line]) -> tuple[Level, str]:
    """The worst level, and the sentence that says what it means."""
    counts = Counter(line.level for line in lines)
    found = [
        f"{counts[level]} {level}{'s' if counts[level] > 1 else ''}" for level in ("fault", "warning") if counts[level]
    ]
    if counts["fault"]:
        return "fault", f"{' and '.join(found)}: mend the faults first, else runs fail or are wrong (exit code 4)"
    if counts["warning"]:
        return "warning", f"{found[0]}: training works on this machine; the warnings say what to mind"
    return "ok", "this machine is fit for training"


def to_json(lines: Iterable[Line]) -> dict[str, Any]:
    """For a bug report: the lines, versions, the system; no names of the user or of the machine."""
    shown = [asdict(line) for line in lines]
    return {
        "schema": SCHEMA,
        "lorafit": installed("lorafit"),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "lines": shown,
    }
