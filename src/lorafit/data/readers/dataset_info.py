"""LLaMA-Factory's `dataset_info.json`: a name in it stands for its file or hub id, its columns and its tags."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lorafit.data.forms.layout import ColumnMap, Role, Tags
from lorafit.errors import DataError

_FILE = "dataset_info.json"
_COLUMNS: dict[str, Role] = {
    "prompt": "prompt",
    "query": "input",
    "response": "answer",
    "history": "history",
    "messages": "messages",
    "system": "system",
    "tools": "tools",
    "chosen": "chosen",
    "rejected": "rejected",
    "kto_tag": "label",
}
_MEDIA = ("images", "videos", "audios")
_TAGS = {
    "user_tag": "user",
    "assistant_tag": "assistant",
    "observation_tag": "tool",
    "function_tag": "function_call",
    "system_tag": "system",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """A data set as dataset_info.json describes it. source: its file, or the name of a hub's data set."""

    source: str
    split: str | None
    given: ColumnMap
    limit: int | None


def find_entry(name: str) -> Entry | None:
    """The entry called `name` (or `FOLDER/name`) in dataset_info.json here, in data/, or in that folder; else None.

    Raises DataError for a registry or an entry that cannot be used.
    """
    folder, _, last = name.rpartition("/")
    for registry in [Path(folder) / _FILE] if folder else [Path(_FILE), Path("data") / _FILE]:
        if registry.is_file():
            entries = _read(registry)
            if last in entries:
                return _entry(entries[last], last, registry)
    return None


def near_entries(name: str) -> Iterator[str]:
    """Names in the registries that are looked at which are like this one."""
    folder, _, last = name.rpartition("/")
    for registry in [Path(folder) / _FILE] if folder else [Path(_FILE), Path("data") / _FILE]:
        if registry.is_file():
            yield from difflib.get_close_matches(last, _read(registry), n=2)


def _read(registry: Path) -> dict[str, Any]:
    try:
        entries = json.loads(registry.read_text(encoding="utf-8-sig"))
    except (OSError, RecursionError, ValueError) as error:
        raise DataError(
            f"{registry} cannot be read as JSON: {error}.\nMend it, or name the data file itself."
        ) from None
    if not isinstance(entries, dict):
        raise DataError(f"{registry} should be an object of data sets by their names. Name the data file itself.")
    return entries


def _entry(entry: Any, name: str, registry: Path) -> Entry:
    where = f"{registry}, data set {name!r}"
    columns = _texts(entry, "columns", where)
    media = [key for key in _MEDIA if key in columns]
    if media:
        raise DataError(f"{where}: it has {', '.join(media)}, and lorafit trains on text only.")
    formatting = entry.get("formatting", "alpaca")
    if formatting not in ("alpaca", "sharegpt", "openai"):
        raise DataError(f"{where}: formatting {formatting!r} is not known; it should be alpaca, sharegpt or openai.")
    given: dict[Role, str] = {_COLUMNS[key]: column for key, column in columns.items() if key in _COLUMNS}
    if formatting == "alpaca" and given.keys() == {"prompt"}:
        given = {"text": given["prompt"]}  # a prompt alone is how text to go on with is registered
    tags = _texts(entry, "tags", where)
    return Entry(
        _source(entry, where, registry),
        _text(entry, "split", where),
        ColumnMap(given, _tags(tags) if tags else None),
        _count(entry, where),
    )


def _source(entry: Mapping[str, Any], where: str, registry: Path) -> str:
    """The file beside the registry, else a hub; the subset of a data set is what others call its configuration."""
    if file := _text(entry, "file_name", where):
        return str(registry.parent / file)
    subset = _text(entry, "subset", where)
    for key, hub in (("hf_hub_url", "hf"), ("ms_hub_url", "modelscope")):
        if url := _text(entry, key, where):
            return f"{hub}:{url}{f':{subset}' if subset else ''}"
    raise DataError(f"{where}: it has no file_name, hf_hub_url or ms_hub_url, so there is nothing to read.")


def _tags(tags: Mapping[str, str]) -> Tags:
    names = {tags[key]: role for key, role in _TAGS.items() if key in tags}
    return Tags(tags.get("role_tag", "from"), tags.get("content_tag", "value"), names)


def _texts(entry: Any, key: str, where: str) -> dict[str, str]:
    if not isinstance(entry, dict):
        raise DataError(f"{where}: it should be an object with file_name or hf_hub_url.")
    value = entry.get(key) or {}
    if not isinstance(value, dict) or not all(isinstance(v, str) for v in value.values()):
        raise DataError(f"{where}: {key} should be an object of names.")
    return value


def _text(entry: Mapping[str, Any], key: str, where: str) -> str | None:
    value = entry.get(key)
    if value is not None and not isinstance(value, str):
        raise DataError(f"{where}: {key} should be a text, found {value!r}.")
    return value or None


def _count(entry: Mapping[str, Any], where: str) -> int | None:
    value = entry.get("num_samples")
    if value is not None and not (isinstance(value, int) and value > 0):
        raise DataError(f"{where}: num_samples should be a number above 0, found {value!r}.")
    return value
