"""A metric of the user's own: a function(answer, references) -> number, named as FILE.py:FUNCTION or MODULE:FUNCTION.

The mean over samples is the score. The function may have attributes: `better` ("higher" unless it says "lower" or ""),
and `high`, the most it can be.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import math
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from numbers import Real
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from lorafit.errors import DataError
from lorafit.evaluate.metrics.measured import Measured, Scale, mean_of
from lorafit.evaluate.metrics.texts import Texts


@dataclass(frozen=True, slots=True)
class Own:
    """A function of the user's, and how its score is read."""

    scale: Scale
    function: Callable[[str, list[str]], Any]

    def measure(self, texts: Texts) -> Measured:
        """The mean over samples. Raises DataError, naming the sample, where the function fails or gives no number."""
        references = texts.references or [()] * len(texts.answers)
        samples = enumerate(zip(texts.answers, references, strict=True), start=1)
        return mean_of([self._of(number, answer, list(wanted)) for number, (answer, wanted) in samples])

    def _of(self, number: int, answer: str, references: list[str]) -> float:
        try:
            value = self.function(answer, references)
        except Exception as error:
            raise DataError(f"The metric {self.scale.name} failed at sample {number}: {_told(error)}") from error
        if not isinstance(value, Real) or not math.isfinite(value):
            raise DataError(
                f"The metric {self.scale.name} gave {str(value)[:60]!r} for sample {number}; it should give a number."
            )
        return float(value)


def load(name: str) -> Own:
    """The function of this name.

    Raises DataError where there is no such file, module or function, where the file fails, and for wrong attributes.
    """
    place, _, wanted = name.rpartition(":")
    module = _of_file(Path(place).expanduser()) if place.endswith(".py") else _of_name(place)
    function = getattr(module, wanted, None)
    if not callable(function):
        there = [each for each, value in vars(module).items() if callable(value) and not each.startswith("_")]
        near = difflib.get_close_matches(wanted, there, n=1)
        meant = f"; did you mean {near[0]}?" if near else f"; it has {', '.join(there) or 'none'}."
        raise DataError(f"{place} has no function {wanted!r}{meant}")
    better: Literal["higher", "lower", ""] = getattr(function, "better", "higher")
    high = getattr(function, "high", math.inf)
    if better not in ("higher", "lower", "") or not isinstance(high, Real):
        raise DataError(
            f'{name}: `better` is "higher", "lower" or "", and `high` a number; found {better!r}, {high!r}.'
        )
    return Own(Scale(name, better, float(high)), function)


def _of_file(path: Path) -> ModuleType:
    if not path.is_file():
        beside = sorted(path.parent.glob("*.py")) if path.parent.is_dir() else []
        near = difflib.get_close_matches(path.name, [p.name for p in beside], n=1)
        meant = f"did you mean {path.parent / near[0]}?" if near else "it should be the path of a Python file."
        raise DataError(f"There is no file {path} with a metric: {meant}")
    return _module(path.resolve(), path.stat().st_mtime_ns)


@lru_cache(maxsize=32)
def _module(path: Path, changed_ns: int) -> ModuleType:
    """A file runs once, until it is changed."""
    spec = importlib.util.spec_from_file_location(f"lorafit_metric_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise DataError(f"{path} cannot be read as Python.")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise DataError(f"The file {path} with a metric failed: {_told(error)}") from error
    return module


def _of_name(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except Exception as error:
        raise DataError(
            f"The module {name!r} with a metric cannot be imported: {_told(error)}\n"
            "It must be installed; a file is named by its path, as in metrics/mine.py:function."
        ) from error


def _told(error: Exception) -> str:
    """What Python says last, and the line where it happened."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    told = traceback.format_exception_only(error)[-1].strip()
    return f"{told} ({last.filename}, line {last.lineno})"
