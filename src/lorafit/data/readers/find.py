"""Names to data files: files, folders, patterns and ZIP archives, in natural order; of several splits one."""

from __future__ import annotations

import difflib
import glob
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from lorafit.data.documents.walk import find_files as find_documents
from lorafit.data.readers.opened import DataFile, members
from lorafit.errors import DataError

ROW_ENDINGS = frozenset({".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".parquet", ".arrow", ".feather"})
# What data sets say of themselves in files beside the rows.
_ABOUT = frozenset({"dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json", "metadata.json"})
_SPLITS = {
    "train": "train", "training": "train", "test": "test", "testing": "test", "validation": "validation",
    "valid": "validation", "val": "validation", "dev": "validation", "eval": "validation", "evaluation": "validation",
}  # fmt: skip
_SPLIT = re.compile(rf"(?:^|[-_. /])({'|'.join(_SPLITS)})(?=$|[-_. /\d])")
_SHOWN = 8


def find(name: str, split: str | None = None) -> tuple[list[DataFile], list[str]]:
    """The data files that a name means, and what is to be said of the choice; no files where there is no such path.

    A folder that holds rows gives these, and its documents only where it holds none. Where files are called after
    splits, `split` chooses, and without it those of the training split are taken.
    Raises DataError for a folder or archive without data, and for a split that is not there.
    """
    path = Path(name).expanduser()
    notes: list[str] = []
    if path.is_file():
        archive = _archive(path)
        return (_chosen(archive, split, name, notes), notes) if archive else ([DataFile(path)], notes)
    if path.is_dir():
        files = _in_folder(path, notes)
    else:
        # glob and not Path.glob: patterns may be absolute, and `**` must not follow links in a circle.
        found = [Path(match) for match in glob.glob(str(path), recursive=True)]  # noqa: PTH207
        files = _expanded([match for match in found if match.is_file()])
        if found and not files:
            raise DataError(f"The pattern {name} matches only folders. Name the files in them, as in {name}/*.jsonl.")
    return _chosen(files, split, name, notes), notes


def missing(name: str) -> str:
    """What to say of a path that is not there: a near name, or the files beside it."""
    path = Path(name).expanduser()
    folder = path.parent
    if not folder.is_dir():
        return f"there is no folder {folder}."
    files = sorted((p.name for p in folder.iterdir() if p.is_dir() or _ending(p.name) in ROW_ENDINGS), key=natural)
    near = difflib.get_close_matches(path.name, files, n=1)
    if near:
        return f"did you mean {folder / near[0]}?"
    return f"data files in {folder}: {', '.join(files[:_SHOWN])}." if files else f"{folder} holds no data file."


def natural(name: str) -> list[tuple[int, str]]:
    """A key for sorting in which part-2 comes before part-10."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", name) if part]


def _in_folder(folder: Path, notes: list[str]) -> list[DataFile]:
    paths = []
    for here, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        paths += [Path(here) / name for name in names if not name.startswith(".")]
    rows = [path for path in paths if _ending(path.name) in ROW_ENDINGS | {".zip"} and path.name not in _ABOUT]
    if rows:
        others = Counter(path.suffix.lower() or path.name for path in set(paths) - set(rows) if path.name not in _ABOUT)
        if others:
            listed = ", ".join(f"{count} {ending}" for ending, count in others.most_common(_SHOWN))
            notes.append(f"{folder}: only the files with rows are read, not {listed}")
        return _expanded(rows)
    found, left_out, skipped = find_documents([folder])
    notes += [f"{folder}: left out {count} × {reason}" for reason, count in left_out.items()]
    notes += [str(reason) for reason in skipped]
    documents = _expanded([path for path, _ in found if path.name not in _ABOUT])
    if not documents:
        raise DataError(
            f"The folder {folder} holds no data.\n"
            "Put in JSON, JSONL, CSV, Parquet, Arrow or text files, or documents, or name another folder."
        )
    return documents


def _expanded(paths: Iterable[Path]) -> list[DataFile]:
    """Files in natural order, archives replaced by what is in them; none is there because the user named it."""
    files: list[DataFile] = []
    for path in sorted(paths, key=lambda path: [natural(part) for part in path.parts]):
        files += _archive(path) or [DataFile(path, named=False)]
    return files


def _archive(path: Path) -> list[DataFile]:
    """The files with rows in a ZIP archive. A DOCX or EPUB is one too, but is a document."""
    if path.suffix.lower() != ".zip":
        return []
    names = members(path)
    if names is None:
        raise DataError(f"{path} is not a ZIP archive, or is cut off: get it again.")
    rows = sorted((n for n in names if _ending(n) in ROW_ENDINGS | {".txt"} and not _is_aside(n)), key=natural)
    if not rows:
        listed = ", ".join(names[:_SHOWN]) or "nothing"
        raise DataError(f"The archive {path} holds no data file, but {listed}. Unpack it and name what to read.")
    return [DataFile(path, member) for member in rows]


def _is_aside(name: str) -> bool:
    return name.startswith("__MACOSX/") or name.rpartition("/")[2] in _ABOUT


def _chosen(files: Sequence[DataFile], split: str | None, name: str, notes: list[str]) -> list[DataFile]:
    root = Path(name).expanduser()
    splits = {file: _split_of(file, root) for file in files}
    there = {found for found in splits.values() if found}
    if split is not None and files:
        wanted = _SPLITS.get(split.lower(), split.lower())
        chosen = [file for file in files if splits[file] == wanted]
        if not chosen:
            raise DataError(
                f"{name} has no split {split!r}: its files are called after {', '.join(sorted(there)) or 'no split'}."
            )
        return chosen
    if "train" not in there or there == {"train"}:
        return list(files)
    chosen = [file for file in files if splits[file] in (None, "train")]
    others = ", ".join(sorted(there - {"train"}))
    notes.append(f"{name}: only the training split is read, not {others} (another one by `{name}[SPLIT]`)")
    return chosen


def _split_of(file: DataFile, root: Path) -> str | None:
    """The split that a file is called after, by its name or by its folders below the one that was named."""
    path = file.member or (file.path.relative_to(root) if file.path.is_relative_to(root) else file.path.name)
    found = _SPLIT.findall(str(path).lower())
    return _SPLITS[found[-1]] if found else None


def _ending(name: str) -> str:
    return DataFile(Path(name)).ending
