"""The models by their names: the base, the adapters that were named, those of a folder."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lorafit.data.template import Renderer, choose_template
from lorafit.errors import AdapterError
from lorafit.identity import file_hash
from lorafit.model.hub import load_tokenizer
from lorafit.run import RunFolder
from lorafit.serve.adapter import CONFIG, Adapter, Bearing, prepare

NAME = re.compile(r"\w[\w.\-:/+]{0,127}")
TOKENIZER = ("tokenizer.json", "tokenizer_config.json")


@dataclass(frozen=True, slots=True)
class Model:
    """What a name stands for. adapter: None for the base, and for a model that is served alone, with an adapter that is
    `fixed` on it or none."""

    name: str
    renderer: Renderer
    adapter: Adapter | None = None
    folder: Path | None = None
    fixed: str | None = None
    since: int = field(default_factory=lambda: int(time.time()))


class Catalogue:
    """Names to models. first: the base, or a model that is served alone; then bearing is None, and it carries nothing.

    Adapters with the same tokenizer and template share one renderer: a tokenizer takes longer to load than an adapter.
    """

    def __init__(self, first: Model, bearing: Bearing | None, folder: Path | None) -> None:
        self.first, self.bearing, self.folder = first, bearing, folder
        self._models = {first.name: first}
        self._renderers: dict[tuple[Any, ...], Renderer] = {}

    @property
    def names(self) -> list[str]:
        return list(dict.fromkeys([*self._models, *self._on_disk()]))

    @property
    def models(self) -> list[Model]:
        return list(self._models.values())

    def get(self, name: str) -> Model | None:
        return self._models.get(name)

    def path_of(self, name: str) -> Path | None:
        """Where an adapter lies that has not been asked for yet."""
        return self._on_disk().get(name)

    def look_over(self, name: str, path: str | Path) -> Model:
        """An adapter on disk, ready to be served under a name. Slow, and safe in another thread.

        Raises AdapterError, RunError, ModelError or DataError when it cannot be.
        """
        if not NAME.fullmatch(name):
            raise AdapterError(
                f"{name!r} cannot be a model's name: letters, digits and . _ - : / +, at most 128, the first a letter "
                "or a digit."
            )
        if self.bearing is None:
            raise AdapterError(f"{self.first.name} changed the base's own weights: it is served without adapters.")
        if name == self.first.name:
            raise AdapterError(f"No adapter can be served as {name}: that is the base's name.")
        adapter = prepare(name, path, self.bearing)
        return Model(name, self._renderer(adapter), adapter, Path(path))

    def put(self, model: Model) -> Model | None:
        """Serve a model; returns the one that had its name before."""
        before = self._models.get(model.name)
        self._models[model.name] = model
        if before is not None and before.adapter is not None:
            before.adapter.retired = True
        return before

    def remove(self, name: str) -> Model | None:
        """Serve an adapter no longer; None when there is none of that name."""
        model = self._models.get(name)
        if model is None or model.adapter is None:
            return None
        model.adapter.retired = True
        return self._models.pop(name)

    def _on_disk(self) -> dict[str, Path]:
        if self.folder is None or not self.folder.is_dir():
            return {}
        found = {path.name: path for path in sorted(self.folder.iterdir()) if _holds_adapter(path)}
        return {name: path for name, path in found.items() if NAME.fullmatch(name)}

    def _renderer(self, adapter: Adapter) -> Renderer:
        """Of the run's template; else of the one that the adapter's tokenizer brings; else as the base's."""
        own = (adapter.folder / TOKENIZER[0]).is_file()
        key = (_fingerprint(adapter.folder if own else self.first.folder), adapter.template)
        if key not in self._renderers:
            known = self.first.renderer
            tokenizer = load_tokenizer(adapter.folder) if own else known.tokenizer
            if len(tokenizer) != len(known.tokenizer):
                raise AdapterError(
                    f"The tokenizer in {adapter.folder} has {len(tokenizer)} tokens, that of the base "
                    f"{len(known.tokenizer)}: it is of another base."
                )
            brought = choose_template(tokenizer) if own and tokenizer.chat_template else known.template
            self._renderers[key] = Renderer(tokenizer, adapter.template or brought)
        return self._renderers[key]


def _holds_adapter(path: Path) -> bool:
    return (path / CONFIG).is_file() or (RunFolder(path).adapter / CONFIG).is_file()


def _fingerprint(folder: Path | None) -> tuple[str, ...]:
    return tuple(file_hash(folder / name) for name in TOKENIZER if folder and (folder / name).is_file())
