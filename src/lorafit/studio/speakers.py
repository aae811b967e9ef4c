"""Who can be chatted with: what the runs of the workspace trained, and the bases below them. No model is read."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lorafit import builtin
from lorafit.errors import LorafitError
from lorafit.run import RunFolder, read_json
from lorafit.studio.recipes import recipe_of
from lorafit.studio.refusal import StudioError
from lorafit.studio.workspace import Workspace

BASE = "base"  # among chosen names: the base of the runs beside it
BASE_OF = "base:"  # before the name of a base


@dataclass(frozen=True, slots=True)
class Weights:
    """What one server has in memory, but for adapters.

    alone: the folder of a run that changed the base's own weights, so that it has a server to itself, with the time
    of its last change; empty for a base.
    """

    base: str
    revision: str | None = None
    quantization: str = "none"
    alone: tuple[str, int] | None = None


@dataclass(frozen=True, slots=True)
class Speaker:
    """One who answers. name: the run's, or `base:` and the base's; template: its name, empty for a base.

    run: the run's folder; for a base, one whose adapter stands on it, or None. stamp: when its weights were written.
    """

    name: str
    weights: Weights
    run: Path | None = None
    stamp: int = 0
    template: str = ""

    @property
    def is_base(self) -> bool:
        return self.name.startswith(BASE_OF)

    @property
    def is_adapter(self) -> bool:
        return not self.is_base and self.weights.alone is None

    @property
    def served(self) -> str:
        """Its name among the server's adapters: another one when the run has trained on since."""
        return f"run-{hashlib.sha256(f'{self.run}|{self.stamp}'.encode()).hexdigest()[:16]}"

    def template_text(self) -> str:
        """The chat template it is asked with, as Jinja; empty for a base, whose tokenizer brings it."""
        if self.is_base or self.run is None:
            return ""
        try:
            return RunFolder(self.run).template.read_text(encoding="utf-8")
        except OSError as error:
            raise StudioError(f"The template of {self.name} cannot be read: {error}") from error


class Speakers:
    """Those of a workspace; what a run folder said is read again when its weights have changed."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._known: dict[Path, Speaker] = {}

    def all(self) -> list[Speaker]:
        """Runs with trained weights, the newest first; then each base once, the built-in one last."""
        runs = sorted(filter(None, map(self._of_run, self._workspace.runs.iterdir())), key=lambda run: -run.stamp)
        bases: dict[str, Speaker] = {}
        for run in runs:
            found = bases.get(_base_name(run))
            # A base is best served with an adapter's recipe, which knows its revision.
            if found is None or (found.run is None and run.is_adapter):
                bases[_base_name(run)] = _base(run)
        bases.setdefault(f"{BASE_OF}{builtin.NAME}", Speaker(f"{BASE_OF}{builtin.NAME}", Weights(builtin.NAME)))
        return [*runs, *bases.values()]

    def chosen(self, names: Sequence[str]) -> list[Speaker]:
        """The speakers of these names, each once; `base` is the base of the first run among them, else the first base.

        A base has the weights (quantisation, revision) of the first chosen run on it. Raises StudioError for a name
        that nobody has.
        """
        known = {speaker.name: speaker for speaker in self.all()}
        runs = [known[name] for name in names if name in known and not known[name].is_base]
        first = _base_name(runs[0]) if runs else next(name for name in known if name.startswith(BASE_OF))
        wanted = dict.fromkeys(first if name == BASE and BASE not in known else name for name in names)
        unknown = next((name for name in wanted if name not in known), None)
        if unknown is not None:
            raise StudioError(f"Nobody answers by the name {unknown!r}: no run of that name has trained weights yet.")
        below: dict[str, Speaker] = {}
        for run in sorted(runs, key=lambda run: not run.is_adapter):
            below.setdefault(_base_name(run), _base(run))
        return [below.get(name, known[name]) for name in wanted]

    def _of_run(self, folder: Path) -> Speaker | None:
        """What a run trained; None while there is nothing, or where the folder is none of a run."""
        stamp = max(map(_changed, (folder / "adapter" / "adapter_config.json", folder / "model" / "config.json")))
        known = self._known.get(folder)
        if not stamp or (known is not None and known.stamp == stamp):
            return known if stamp else None
        try:
            run = self._workspace.run(folder.name)
            recipe = recipe_of(run.recipe)
            template = str(read_json(run.data).get("template", ""))
        except LorafitError:  # broken, would run code, or a link that leads out of the workspace
            return None
        model, adapter = recipe.model, recipe.adapter
        residual = adapter.variant == "pissa" and model.quantization != "none"
        alone = adapter.method == "none" or adapter.train_bias or residual
        weights = Weights(
            model.name, model.revision, model.quantization, (str(run.path.resolve()), stamp) if alone else None
        )
        speaker = Speaker(folder.name, weights, run.path.resolve(), stamp, template)
        self._known[folder] = speaker
        return speaker


def _changed(file: Path) -> int:
    """When a file was written, in nanoseconds; 0 where there is none."""
    try:
        return file.stat().st_mtime_ns
    except OSError:
        return 0


def _base_name(run: Speaker) -> str:
    return f"{BASE_OF}{run.weights.base}"


def _base(run: Speaker) -> Speaker:
    """The base below a run."""
    weights = Weights(run.weights.base, run.weights.revision, run.weights.quantization)
    return Speaker(_base_name(run), weights, run.run if run.is_adapter else None, run.stamp if run.is_adapter else 0)
