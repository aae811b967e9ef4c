"""Checks of Python and of the packages that lorafit stands on."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from importlib import metadata

from packaging.requirements import Requirement
from packaging.version import Version

from lorafit.doctor.line import Line, first_line

OLDEST_PYTHON = (3, 11)
# The newest torch that the tests were run with; the Makefile installs it.
TESTED_TORCH = Version("2.13")
PYTORCH = "https://pytorch.org/get-started/locally/"
# What each extra is for. `all` and `dev` are left out: the one is the others, the other is for who changes lorafit.
EXTRAS = {
    "clean": "near duplicates, languages and mojibake in training data",
    "datasets": "data sets from Hugging Face, Parquet and Arrow files",
    "evaluate": "BLEU, METEOR and JSON schemas",
    "words": "Chinese and Japanese words in scores",
    "documents": "training data from .docx, .pdf and web pages",
    "tensorboard": "curves in TensorBoard",
    "wandb": "curves in Weights & Biases",
    "nvidia": "temperature and power of NVIDIA cards",
    "serve": "an HTTP server for the tuned model",
    "studio": "the interface in the browser",
    "gguf": "export for llama.cpp",
    "onnx": "export to ONNX",
    "harness": "tasks of lm-evaluation-harness",
    "modelscope": "models from ModelScope",
}


def check_python(
    version: tuple[int, ...] = tuple(sys.version_info[:3]),
    environ: Mapping[str, str] = os.environ,
    virtual: bool = sys.prefix != sys.base_prefix,
) -> Iterator[Line]:
    shown = ".".join(map(str, version))
    if version < OLDEST_PYTHON:
        yield Line("fault", "Python", f"{shown} is too old", "install Python 3.11 or newer, and lorafit in it")
    elif virtual or "CONDA_PREFIX" in environ:
        yield Line("ok", "Python", f"{shown}, in a virtual environment")
    else:
        yield Line(
            "note",
            "Python",
            f"{shown}, not in a virtual environment: another program's packages can change those of lorafit",
            "python -m venv .venv, and install lorafit in there",
        )


def check_torch() -> Iterator[Line]:
    """Also the check whether torch can be imported at all: without it the checks that need it are left out."""
    try:
        import torch
    except (ImportError, OSError) as error:
        remedy = f"reinstall it: pip install --force-reinstall torch, or choose a build on {PYTORCH}"
        yield Line("fault", "torch", f"cannot be imported ({first_line(error)})", remedy)
        return
    yield torch_line(torch.__version__, _needed("torch"))


def torch_line(shown: str, needed: Requirement | None) -> Line:
    """What to say of a torch of version `shown`, such as 2.13.0+cpu."""
    version = Version(shown)
    if needed and not needed.specifier.contains(version.base_version, prereleases=True):
        return Line("fault", "torch", f"{shown}; lorafit needs {needed.specifier}", f"pip install '{needed}'")
    if version.release[:2] > TESTED_TORCH.release:
        found = f"{shown} is newer than the newest one that lorafit was tested with ({TESTED_TORCH})"
        return Line("warning", "torch", found, f"if something is odd: pip install 'torch=={TESTED_TORCH}.*'")
    return Line("ok", "torch", f"{shown} (tested up to {TESTED_TORCH})")


def check_packages() -> Iterator[Line]:
    """The packages that lorafit's own metadata asks for, each in its range."""
    right = []
    for requirement in requirements():
        version = installed(requirement.name)
        if requirement.name == "torch":
            continue
        if version is None:
            yield Line("fault", requirement.name, "is not installed", f"pip install '{requirement}'")
        elif not requirement.specifier.contains(version, prereleases=True):
            found = f"{version}; lorafit needs {requirement.specifier}"
            yield Line("fault", requirement.name, found, f"pip install '{requirement}'")
        else:
            right.append(f"{requirement.name} {version}")
    if right:
        yield Line("ok", "packages", f"{', '.join(right)}: all in the ranges that lorafit asks for")


def check_extras() -> Iterator[Line]:
    """Optional parts that are not installed, in one line: most people need none of them."""
    missing = [extra for extra in EXTRAS if any(installed(r.name) is None for r in requirements(extra))]
    if missing:
        shown = "; ".join(f"{extra}: {EXTRAS[extra]}" for extra in missing)
        remedy = f"only if you want one of these: pip install 'lorafit[{missing[0]}]', and so on"
        yield Line("note", "extras", f"optional, not installed ({shown})", remedy)
    else:
        yield Line("ok", "extras", "all optional parts are installed")


def requirements(extra: str = "") -> list[Requirement]:
    """What the installed lorafit asks for, here: without `extra` always, with it for that extra alone."""
    found = []
    for text in metadata.requires("lorafit") or ():
        requirement = Requirement(text)
        of_extra = "extra" in str(requirement.marker or "")
        if of_extra == bool(extra) and (not requirement.marker or requirement.marker.evaluate({"extra": extra})):
            found.append(requirement)
    return found


def _needed(name: str) -> Requirement | None:
    return next((requirement for requirement in requirements() if requirement.name == name), None)


def installed(name: str) -> str | None:
    """The version of an installed package, or None."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
