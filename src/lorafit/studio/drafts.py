"""Recipes that are being made, each a file of the workspace: a page can be left and come back to."""

from __future__ import annotations

import functools
import json
import re
import secrets
import time
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from lorafit.errors import LorafitError
from lorafit.recipe import Recipe, parse_recipe, settings_table
from lorafit.run import disk_error, read_json, write_json
from lorafit.studio.refusal import StudioError
from lorafit.studio.workspace import Workspace

OUTPUT = "runs"  # of the workspace: where its run folders are, whatever a recipe asks for
EMPTY_KEPT_SECONDS = 86400.0
ASKED = ("model.name", "data.train")  # what advice is asked for
SHOWN = {"settings", "choice", "run", "warnings", "task", "methods", "notes"}  # of an advice
_ID = re.compile(r"[0-9a-f]{12}")


@dataclass(eq=False)
class Draft:
    """A recipe that is being made in a workspace. Nothing is on the disk before `save`.

    settings: dotted name to value, only what differs from the defaults. step: of the path, where it was left. advice:
    `Advice.to_json()`, None until it is there. gpu: the device that it is planned for, as in `lorafit plan --gpu`.
    """

    workspace: Workspace
    file: Path
    settings: dict[str, Any] = field(default_factory=dict)
    step: str = "model"
    advice: dict[str, Any] | None = None
    gpu: str = "this"

    @property
    def id(self) -> str:
        return self.file.stem

    def set(self, key: str, value: Any) -> None:
        """Raises StudioError for a name that no setting has. Of another model or data the advice is no longer true:
        it goes, with what it had put in."""
        if key not in _defaults():
            raise StudioError(f"There is no setting {key!r}.")
        if key in ASKED and self.settings.get(key) != value:
            self._drop_advice()
        if value == _defaults()[key]:
            self.settings.pop(key, None)
        else:
            self.settings[key] = value

    def unset(self, key: str) -> None:
        """Back to the default."""
        if key in ASKED and key in self.settings:
            self._drop_advice()
        self.settings.pop(key, None)

    def value(self, key: str) -> Any:
        """As set, else the default; None for one that is required and not set."""
        return self.settings.get(key, _defaults()[key])

    def follow(self, advice: dict[str, Any]) -> None:
        """Keep an advice and take its values, but where the user has set another. One for another model or other data,
        which were changed while it was made, is left aside. advice: `Advice.to_json()`."""
        asked = {one["key"]: one["value"] for one in advice["settings"]}
        if any(self.settings.get(key) != asked.get(key) for key in ASKED):
            return
        self._drop_advice()
        for key, value in _advised(advice):
            if key not in self.settings:
                self.set(key, value)
        self.advice = advice

    def _drop_advice(self) -> None:
        """Without the advice; what still has its values goes with it."""
        for key, value in _advised(self.advice or {}):
            if self.settings.get(key) == value:
                del self.settings[key]
        self.advice = None

    def missing(self) -> list[str]:
        """The settings that a run cannot do without and that are not there yet."""
        return [key for key in ASKED if key not in self.settings]

    @property
    def is_empty(self) -> bool:
        """Whether neither a model nor data was chosen."""
        return not set(ASKED) & set(self.settings)

    def content(self) -> dict[str, Any]:
        """The recipe as a nested mapping, as `parse_recipe` takes it."""
        return {**_nested(self.settings), "output": OUTPUT}

    def recipe(self) -> Recipe:
        """Raises RecipeError with every fault, StudioError for what the workspace refuses."""
        self.workspace.check_recipe(self.content())
        return parse_recipe(self.content(), where="these settings")

    def yaml(self) -> str:
        """What was set, in the order of a recipe: a file that `lorafit train` takes."""
        ordered = {key: self.settings[key] for key in _defaults() if key in self.settings}
        # PyYAML writes the line breaks of Unicode as they are, and reads them as spaces; escaped they stay.
        readable = not set("\x85\u2028\u2029") & set(json.dumps(ordered, ensure_ascii=False))
        return yaml.safe_dump(_nested(ordered), sort_keys=False, allow_unicode=readable, width=120) if ordered else ""

    def save(self) -> None:
        """Raises RunError when the disk does not take it."""
        content = {"settings": self.settings, "step": self.step, "advice": self.advice, "gpu": self.gpu}
        write_json(self.file, content)


class Drafts:
    """The drafts of a workspace."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace, self.folder = workspace, workspace.hidden / "drafts"
        # One object for a file, however many pages show it: none writes over what another has set.
        self._open: weakref.WeakValueDictionary[Path, Draft] = weakref.WeakValueDictionary()

    def new(self, settings: Mapping[str, Any] | None = None) -> Draft:
        """settings: dotted names to values. Raises StudioError for a name that no setting has."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise disk_error(error, self.folder) from error
        self._forget_empty()
        draft = Draft(self.workspace, self.folder / f"{secrets.token_hex(6)}.json")
        for key, value in (settings or {}).items():
            draft.set(key, value)
        draft.save()
        self._open[draft.file] = draft
        return draft

    def _forget_empty(self) -> None:
        """Those that were left a day ago with nothing chosen."""
        for draft in self.all():
            if draft.is_empty and time.time() - draft.file.stat().st_mtime > EMPTY_KEPT_SECONDS:
                draft.file.unlink(missing_ok=True)

    def open(self, id: str) -> Draft:
        """Raises StudioError when there is no such draft."""
        file = self.folder / f"{id}.json"
        if not _ID.fullmatch(id) or not file.is_file():
            raise StudioError("There is no such draft: it was removed, or belongs to another workspace.")
        draft = self._open.get(file)
        if draft is None:
            self._open[file] = draft = self._read(file)
        return draft

    def _read(self, file: Path) -> Draft:
        """Raises StudioError for a file that is no draft."""
        content = read_json(file)
        settings, advice = content.get("settings"), content.get("advice")
        if not isinstance(settings, dict) or not isinstance(advice, dict | None):
            raise StudioError(f"{file} is not a draft.")
        if advice is not None and not advice.keys() >= SHOWN:  # another version's: it is made again
            advice = None
        known = {key: value for key, value in settings.items() if key in _defaults()}  # another version had others
        return Draft(
            self.workspace, file, known, str(content.get("step", "model")), advice, str(content.get("gpu", "this"))
        )

    def all(self) -> list[Draft]:
        """Those that can be read, the newest first."""
        found = [file for file in self.folder.glob("*.json") if _ID.fullmatch(file.stem)]
        return list(self._readable(sorted(found, key=lambda file: file.stat().st_mtime, reverse=True)))

    def _readable(self, files: list[Path]) -> Iterator[Draft]:
        for file in files:
            try:
                yield self.open(file.stem)
            except LorafitError:
                continue  # spoilt by another hand, or gone meanwhile

    def remove(self, id: str) -> None:
        """Raises StudioError when there is no such draft."""
        file = self.open(id).file
        file.unlink(missing_ok=True)
        self._open.pop(file, None)


def set_apart(recipe: Recipe) -> dict[str, Any]:
    """What a recipe has that differs from the defaults, by dotted name: for `Drafts.new`, to run again with changes."""
    content = recipe.model_dump(mode="json")
    return {key: value for key, default in _defaults().items() if (value := _within(content, key)) != default}


@functools.cache
def _defaults() -> dict[str, Any]:
    """By dotted name, in the order of a recipe; None for what is required."""
    content = Recipe(model={"name": "-"}, data={"train": "-"}).model_dump(mode="json")
    return {name: None if default == "required" else _within(content, name) for name, default, _ in settings_table()}


def _within(content: dict[str, Any], key: str) -> Any:
    return functools.reduce(lambda part, name: part[name], key.split("."), content)


def _nested(settings: Mapping[str, Any]) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for key, value in settings.items():
        *parts, last = key.split(".")
        functools.reduce(lambda part, name: part.setdefault(name, {}), parts, content)[last] = value
    return content


def _advised(advice: dict[str, Any]) -> list[tuple[str, Any]]:
    """(dotted name, value) of an advice, but for what it was asked for."""
    return [(one["key"], one["value"]) for one in advice.get("settings", ()) if one["key"] not in ASKED]
