"""Paths, folders and patterns to files; what is not meant for training is left out, and counted by reason."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from lorafit.data.documents.document import INSTALL, Skipped

_VENDORED = {
    "node_modules", "bower_components", "vendor", "third_party", "thirdparty", "external", "site-packages",
    "Pods", "venv", "virtualenv",
}  # fmt: skip
_BUILT = {
    "dist", "build", "target", "out", "obj", "__pycache__", "coverage", "htmlcov",
}  # fmt: skip
_LOCKS = {
    "package-lock.json", "npm-shrinkwrap.json", "yarn.lock", "pnpm-lock.yaml", "bun.lock", "poetry.lock",
    "uv.lock", "pdm.lock", "pipfile.lock", "cargo.lock", "gemfile.lock", "composer.lock", "go.sum",
    "gradle.lockfile", "flake.lock", "mix.lock", "pubspec.lock", "packages.lock.json",
}  # fmt: skip
_GENERATED = (".pb.go", "_pb2.py", "_pb2_grpc.py", "_pb2.pyi", ".pb.cc", ".pb.h", ".g.dart", ".designer.cs")


def find_files(paths: Sequence[str | Path]) -> tuple[list[tuple[Path, bool]], Counter[str], list[Skipped]]:
    """Every file under the paths once, in order, each with whether the user named it (folders and patterns do not).

    A folder is walked, its `.gitignore` files respected. Named files are never left out. Also returns the counts of
    what was left out (a folder counts as one), and the paths at which there is nothing.
    """
    found: dict[Path, tuple[Path, bool]] = {}
    left_out: Counter[str] = Counter()
    skipped: list[Skipped] = []
    for path in paths:
        path = Path(path).expanduser()
        if path.is_file():
            files = [(path, True)]
        elif path.is_dir():
            files = [(file, False) for file in _walk(path, left_out, skipped)]
        else:
            matches = [Path(match) for match in sorted(glob.glob(str(path), recursive=True))]  # noqa: PTH207 - absolute patterns too
            files = [(match, False) for match in matches if match.is_file()]
            if not files:
                skipped.append(Skipped(str(path), "There is no such file or folder.", "Check its name."))
        for file, named in files:
            found.setdefault(file.resolve(), (file, named))
    return list(found.values()), left_out, skipped


def _walk(root: Path, left_out: Counter[str], skipped: list[Skipped]) -> Iterator[Path]:
    ignored: list[tuple[Path, Any]] = []

    def report(error: OSError) -> None:
        skipped.append(
            Skipped(str(error.filename), f"This folder cannot be opened: {error.strerror}.", "Check its rights.")
        )

    for folder, folders, names in os.walk(root, onerror=report):
        here = Path(folder)
        if ".gitignore" in names:
            ignored += _rules(here, skipped)
        kept = []
        for name in sorted(folders):
            reason = _folder_reason(name) or ("folder in .gitignore" if _is_ignored(here / name, ignored, "/") else "")
            if reason:
                left_out[reason] += 1
            else:
                kept.append(name)
        folders[:] = kept
        for name in sorted(names):
            reason = _file_reason(name) or ("file in .gitignore" if _is_ignored(here / name, ignored) else "")
            if reason:
                left_out[reason] += 1
            else:
                yield here / name


def _folder_reason(name: str) -> str:
    if name in _VENDORED or name.endswith((".egg-info", ".dist-info")):
        return f"folder of other people's code ({name})"
    if name in _BUILT:
        return f"folder of built files ({name})"
    return "hidden folder" if name.startswith(".") else ""


def _file_reason(name: str) -> str:
    lower = name.lower()
    if lower in _LOCKS:
        return "lock file"
    if lower.endswith((".min.js", ".min.css", ".map", ".bundle.js")):
        return "minified file"
    if lower.endswith(_GENERATED):
        return "generated file"
    return "hidden file" if name.startswith(".") else ""


def _rules(folder: Path, skipped: list[Skipped]) -> list[tuple[Path, Any]]:
    file = folder / ".gitignore"
    try:
        import pathspec
    except ModuleNotFoundError:
        skipped.append(Skipped(str(file), "Without pathspec it is not respected.", f"Run: {INSTALL}"))
        return []
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
        return [(folder, pathspec.GitIgnoreSpec.from_lines(lines))]
    except (OSError, ValueError) as error:
        skipped.append(Skipped(str(file), f"It is not respected, since it cannot be read: {error}.", "Mend it."))
        return []


def _is_ignored(path: Path, rules: list[tuple[Path, Any]], end: str = "") -> bool:
    return any(
        rule.match_file(path.relative_to(folder).as_posix() + end)
        for folder, rule in rules
        if path.is_relative_to(folder)
    )
