"""Files to rows: JSON and JSONL, each row with its file and number."""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import Any

from lorafit.errors import DataError
from lorafit.records import Record, Source


def read_records(path: str | Path) -> list[Record]:
    """Read every row of a JSON or JSONL file.

    A JSON file holds an array of objects; a JSONL file one object a line. Which of the two is seen from the content.

    Raises DataError when the file is missing, empty, not UTF-8, or when its JSON is broken (naming the row).
    """
    path = Path(path).expanduser()
    text = _read_text(path)
    if not text.strip():
        raise DataError(f"The data file {path} is empty. It should hold rows as JSON (an array of objects) or JSONL.")
    parse = _array if text.lstrip().startswith("[") else _lines
    _refuse_wrapped(text, path)
    return [Record(fields, Source(str(path), row)) for row, fields in parse(text, path)]


def _read_text(path: Path) -> str:
    if path.is_dir():
        files = ", ".join(sorted(p.name for p in path.iterdir())[:8]) or "no files"
        raise DataError(f"The data file {path} is a folder ({files}). Name one file in it.")
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise DataError(f"No data file {path}: {_near_files(path)}") from None
    except UnicodeDecodeError as error:
        raise DataError(
            f"The data file {path} is not UTF-8 (byte {error.start} is {error.object[error.start]:#04x}).\n"
            "Save it as UTF-8 and try again."
        ) from None
    except OSError as error:
        raise DataError(f"The data file {path} cannot be read: {error}") from error


def _refuse_wrapped(text: str, path: Path) -> None:
    """Raises DataError for one object that holds the rows in a list, which is neither form."""
    if not text.lstrip().startswith("{"):
        return
    try:
        whole = json.loads(text)
    except (RecursionError, ValueError):
        return  # several lines of JSONL, or broken: named by its row later
    lists = [name for name, value in whole.items() if isinstance(value, list) and value and isinstance(value[0], dict)]
    if lists and not {"messages", "instruction", "output"} & whole.keys():
        raise DataError(
            f"{path} holds one object whose {lists[0]!r} is a list of {len(whole[lists[0]])} rows.\n"
            "Save that list by itself, as a JSON array or as JSONL."
        )


def _near_files(path: Path) -> str:
    folder = path.parent
    if not folder.is_dir():
        return f"there is no folder {folder}."
    files = sorted(p.name for p in folder.iterdir() if p.suffix in {".json", ".jsonl"})
    near = difflib.get_close_matches(path.name, files, n=1)
    if near:
        return f"did you mean {folder / near[0]}?"
    return f"data files in {folder}: {', '.join(files[:8])}." if files else f"{folder} holds no JSON or JSONL file."


def _array(text: str, path: Path) -> list[tuple[int, dict[str, Any]]]:
    """The rows of a JSON array, parsed one by one so that a fault is known by its row."""
    rows: list[tuple[int, dict[str, Any]]] = []
    decoder, place = json.JSONDecoder(), text.index("[") + 1
    while True:
        place = _skip_space(text, place)
        row = len(rows) + 1
        if text.startswith("]", place):
            break
        if place >= len(text):
            raise DataError(f"{path}: the array ends after row {row - 1} without a closing bracket `]`.")
        try:
            value, place = decoder.raw_decode(text, place)
        except json.JSONDecodeError as error:
            raise _broken(path, row, error.lineno, error.colno, error.msg) from None
        except (RecursionError, ValueError) as error:  # nested too deeply, or a number of thousands of digits
            raise DataError(f"{path}, row {row}: this JSON cannot be read: {error}.") from None
        rows.append((row, _object(value, path, row)))
        place = _skip_space(text, place)
        if text.startswith(",", place):
            place += 1
        elif not text.startswith("]", place):
            line = text.count("\n", 0, place) + 1
            column = place - text.rfind("\n", 0, place)
            raise _broken(path, row + 1, line, column, "expected a comma or a closing bracket between rows")
    if text[place + 1 :].strip():
        raise DataError(f"{path}: there is more text after the array's closing bracket (row {len(rows)}).")
    if not rows:
        raise DataError(f"The data file {path} holds an empty array: there are no rows.")
    return rows


def _lines(text: str, path: Path) -> list[tuple[int, dict[str, Any]]]:
    rows: list[tuple[int, dict[str, Any]]] = []
    # Only \n and \r\n end a row: str.splitlines would also cut at U+2028 inside a JSON string.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except json.JSONDecodeError as error:
            raise _broken(path, number, number, error.colno, error.msg) from None
        except (RecursionError, ValueError) as error:
            raise DataError(f"{path}, row {number}: this JSON cannot be read: {error}.") from None
        rows.append((number, _object(value, path, number)))
    return rows


def _object(value: Any, path: Path, row: int) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise DataError(f"{path}, row {row}: a row should be an object with named fields, found {_short(value)}.")
    return value


def _broken(path: Path, row: int, line: int, column: int, problem: str) -> DataError:
    return DataError(
        f"{path}, row {row}: broken JSON at line {line}, column {column}: {problem[0].lower()}{problem[1:]}."
    )


def _skip_space(text: str, place: int) -> int:
    while place < len(text) and text[place].isspace():
        place += 1
    return place


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."
