"""`studies/NAME/`: study.json, the recipes, logs and run folders of one study, and its page.

study.json          what is varied, and of every run its state, message and figures
recipes/RUN.yaml    as it is trained
runs/RUN/           an ordinary run folder
logs/RUN.log        what the run printed
report.html
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from lorafit import builtin
from lorafit.errors import RunError
from lorafit.recipe import Recipe, parse_recipe
from lorafit.run import read_json, replace_folder, write_json, write_text
from lorafit.settings import flat
from lorafit.study.axes import OWN, Axes, Planned, merged, runs_of

State = Literal["queued", "running", "interrupted", "failed", "finished"]
# What a study may go on with changed: it decides nothing that is measured, or is set for every run.
FREE = (*OWN, "observe.")


@dataclass(slots=True)
class Entry:
    """A run of the study. message: why it failed. seconds: of its processes; figures: what `figures.py` reads."""

    name: str
    settings: Mapping[str, Any]
    seed: int
    state: State = "queued"
    message: str = ""
    seconds: float = 0.0
    figures: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Study:
    """A study as its folder holds it."""

    path: Path
    recipe: dict[str, Any]
    files: dict[str, str]
    axes: Axes
    seeds: list[int]
    entries: list[Entry]

    @property
    def page(self) -> Path:
        return self.path / "report.html"

    def recipe_of(self, entry: Entry) -> Path:
        return self.path / "recipes" / f"{entry.name}.yaml"

    def run_of(self, entry: Entry) -> Path:
        return self.path / "runs" / entry.name

    def log_of(self, entry: Entry) -> Path:
        return self.path / "logs" / f"{entry.name}.log"

    def save(self, folder: Path | None = None) -> None:
        """Write study.json, whole or not at all."""
        content = {
            "recipe": self.recipe,
            "files": self.files,
            "axes": self.axes,
            "seeds": self.seeds,
            "runs": [asdict(entry) for entry in self.entries],
        }
        write_json((folder or self.path) / "study.json", content)


def open_study(path: Path) -> Study:
    """Read a study's folder. Raises RunError when it is none."""
    file = path / "study.json"
    if not file.is_file():
        raise RunError(f"{path} holds no study.json, so it is no study. Choose another name with --name.")
    content = read_json(file)
    try:
        return Study(
            path,
            content["recipe"],
            content["files"],
            content["axes"],
            content["seeds"],
            [Entry(**entry) for entry in content["runs"]],
        )
    except (KeyError, TypeError) as error:
        raise RunError(f"{file} is not a study of this version of lorafit: {error!r}.") from error


def study_of(path: Path, recipe: Recipe, axes: Axes, seeds: Sequence[int]) -> Study:
    """The study that is asked for, new or found, without its new runs; nothing is written.

    A study that was begun may be given more values and more seeds. Raises RunError for a folder of something else, and
    for a study of another recipe, other keys or other data, naming what differs.
    """
    files = {name: _digest(Path(name)) for name in _data_files(recipe)}
    asked = recipe.model_dump(mode="json", exclude_unset=True)
    if not path.exists():
        return Study(path, asked, files, axes, list(seeds), [])
    stored = open_study(path)
    _refuse_another(stored, recipe, axes, files)
    return Study(path, asked, files, merged(stored.axes, axes), sorted({*stored.seeds, *seeds}), stored.entries)


def expand(study: Study, recipe: Recipe) -> list[Planned]:
    """All runs of the study, those that it did not have among its entries, too.

    Raises RecipeError for values that the recipe does not take.
    """
    planned = runs_of(recipe, study.axes, study.seeds, str(study.path / "runs"))
    known = {entry.name: entry for entry in study.entries}
    study.entries = [known.get(run.name, Entry(run.name, run.settings, run.seed)) for run in planned]
    return planned


def write(study: Study, planned: Sequence[Planned]) -> None:
    """Make the folder, whole or not at all, or add what is new to the one there is."""

    def fill(folder: Path) -> None:
        for part in ("recipes", "runs", "logs"):
            (folder / part).mkdir(exist_ok=True)
        for run in planned:
            file = folder / "recipes" / f"{run.name}.yaml"
            if not file.exists():
                content = run.recipe.model_dump(mode="json", exclude_unset=True)
                write_text(file, yaml.safe_dump(content, sort_keys=False, width=120))
        study.save(folder)

    if study.path.exists():
        fill(study.path)
    else:
        replace_folder(study.path, fill)


def _refuse_another(stored: Study, recipe: Recipe, axes: Axes, files: dict[str, str]) -> None:
    then, now = (dict(flat(r.model_dump(mode="json"))) for r in (parse_recipe(stored.recipe), recipe))
    found = []
    if set(stored.axes) != set(axes):
        found.append(f"it varies {', '.join(stored.axes)}, asked is {', '.join(axes)}")
    found += [
        f"{key}: {then.get(key)!r} in the study, {now.get(key)!r} now"
        for key in dict.fromkeys((*then, *now))
        if then.get(key) != now.get(key) and not key.startswith(FREE)
    ]
    found += [f"{name} has changed" for name, digest in files.items() if stored.files.get(name, digest) != digest]
    if found:
        lines = "\n".join(f"  {line}" for line in found)
        raise RunError(
            f"{stored.path} is another study:\n{lines}\nPut back what was, or choose another name with --name."
        )


def _data_files(recipe: Recipe) -> list[str]:
    """The local files that the recipe names; of a folder or a hub's set the runs themselves notice a change."""
    train, held_out = recipe.data.train, recipe.data.held_out
    sources = [*(train if isinstance(train, list) else [train]), held_out]
    names = [source if isinstance(source, str) else getattr(source, "source", "") for source in sources]
    return [name for name in names if name and name != builtin.NAME and Path(name).is_file()]


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
