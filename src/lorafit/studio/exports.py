"""The exports of runs: which there can be, how one is asked for, and those that are on the disk."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from lorafit.errors import RunError
from lorafit.run import read_json
from lorafit.studio.jobs import ENDED, Job
from lorafit.studio.refusal import StudioError
from lorafit.studio.workspace import Workspace, is_plain

CHECK = "self_check.json"


@dataclass(frozen=True, slots=True)
class Kind:
    """A `--to` of `lorafit export`. forms: the usual one first, given as `option`; packages: without which it cannot be
    made, by the name they are imported under; extra: of lorafit, which installs them."""

    name: str
    forms: tuple[str, ...] = ()
    option: str = "--format"
    packages: tuple[str, ...] = ()
    extra: str = ""

    @property
    def missing(self) -> list[str]:
        return [name for name in self.packages if importlib.util.find_spec(name) is None]


KINDS = (
    Kind("merged", ("auto", "bfloat16", "float16", "float32"), "--dtype"),
    Kind(
        "gguf",
        (
            "q8_0", "q6_k", "q5_k_m", "q5_k_s", "q4_k_m", "q4_k_s", "q4_0", "q3_k_l", "q3_k_m", "q3_k_s", "q2_k",
            "f16", "bf16", "f32",
        ),
        packages=("gguf", "xllamacpp"),
        extra="gguf",
    ),
    Kind("quantized", ("nf4", "int8"), packages=("bitsandbytes",)),
    Kind("onnx", ("float32", "int8"), packages=("onnx", "onnxscript", "onnxruntime"), extra="onnx"),
    Kind("gguf-adapter", packages=("gguf", "xllamacpp"), extra="gguf"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Export:
    """A finished export. check: what its self-check measured (self_check.json); size: bytes."""

    folder: Path
    check: Mapping[str, Any]
    size: int
    made: float

    @property
    def kind(self) -> str:
        return max((kind.name for kind in KINDS if self.folder.name.startswith(kind.name)), key=len, default="")

    @property
    def form(self) -> str:
        return str(self.check.get("format", ""))

    @property
    def holds(self) -> bool:
        """What does not hold is not there, but for a QLoRA adapter folded into the original weights, which is told."""
        return bool(self.check.get("within_tolerance", True))

    @property
    def perplexity_change(self) -> float | None:
        before, after = self.check.get("reference_perplexity"), self.check.get("perplexity")
        return after / before - 1 if before and after else None

    @property
    def main_file(self) -> Path | None:
        """The one file that a program opens, where it is one."""
        files = [*self.folder.glob("*.gguf")]
        return files[0] if len(files) == 1 else None


def exported(workspace: Workspace, run: str, name: str) -> Path:
    """The folder of an export: exports/RUN/NAME, or RUN/export/NAME where the command line puts it.

    Raises StudioError where there is none.
    """
    for place in _places(workspace, run) if is_plain(run) and is_plain(name) else ():
        folder = workspace.path(str(place / name))
        if folder == place / name and (folder / CHECK).is_file():
            return folder
    raise StudioError(f"There is no export {name!r} of the run {run!r}.")


def exports_of(workspace: Workspace, run: str) -> list[Export]:
    """The whole exports of a run, the newest first."""
    found: dict[str, Export] = {}
    for place in reversed(_places(workspace, run)):
        for check in place.glob(f"[!.]*/{CHECK}"):
            folder = check.parent
            try:
                found[folder.name] = Export(folder, read_json(check), size_of(folder), check.stat().st_mtime)
            except (RunError, OSError):
                continue  # being removed, or of another program
    return sorted(found.values(), key=lambda export: export.made, reverse=True)


def command(workspace: Workspace, run: str, kind: Kind, form: str | None) -> list[str]:
    """The words after `lorafit` that make an export, in a folder that is not taken. Raises StudioError for a form that
    the kind has not."""
    if form not in (kind.forms or (None,)):
        raise StudioError(f"{kind.name} has no form {form!r}.")
    usual = kind.option == "--dtype" and form == kind.forms[0]
    name = kind.name if form is None or usual else f"{kind.name}-{form}"
    words = ["export", f"runs/{run}", "--to", kind.name]
    if form is not None:
        words += [kind.option, form]
    return [*words, "--output", f"exports/{run}/{_free(workspace, run, name)}"]


def is_asked(jobs: Sequence[Job], words: Sequence[str]) -> bool:
    """Whether an export like this one is waiting or being made."""
    return any(job.state not in ENDED and job.arguments[:-1] == tuple(words)[:-1] for job in jobs)


def size_of(path: Path) -> int:
    """Bytes of a file, or of the files in a folder."""
    return path.stat().st_size if path.is_file() else sum(file.stat().st_size for file in files_in(path))


def files_in(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


def _places(workspace: Workspace, run: str) -> tuple[Path, Path]:
    return workspace.exports / run, workspace.runs / run / "export"


def _free(workspace: Workspace, run: str, name: str) -> str:
    names = (name if number == 1 else f"{name}-{number}" for number in count(1))
    return next(one for one in names if not any((place / one).exists() for place in _places(workspace, run)))
