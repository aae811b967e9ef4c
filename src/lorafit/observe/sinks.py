"""What a run's Events go to besides its own files, so that nothing there can stop the training."""

from __future__ import annotations

import contextlib
import importlib.util
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from lorafit.errors import RecipeError
from lorafit.observe.settings import ObserveSettings
from lorafit.observe.tensorboard import TensorBoard
from lorafit.observe.wandb import WeightsAndBiases, has_account
from lorafit.records import Event

Sink = contextlib.AbstractContextManager[Callable[[Event], None]]


class Sinks:
    """Several sinks behind one callable; any thread may call it.

    sinks: name to a function that makes one. One that raises, when it is made, called or closed, is left out from then
    on, and `warn` is told its name and the reason once.
    """

    def __init__(self, sinks: Mapping[str, Callable[[], Sink]], warn: Callable[[str], None]) -> None:
        self._makers, self._warn = sinks, warn
        self._open: dict[str, tuple[Sink, Callable[[Event], None]]] = {}
        self._lock = threading.RLock()

    def __enter__(self) -> Sinks:
        for name, make in self._makers.items():
            try:
                sink = make()
                self._open[name] = sink, sink.__enter__()
            except Exception as error:  # noqa: BLE001 a sink may fail in any way, and must not stop training
                self._say(name, error)
        return self

    def __call__(self, event: Event) -> None:
        with self._lock:
            for name, (sink, observe) in list(self._open.items()):
                try:
                    observe(event)
                except Exception as error:  # noqa: BLE001 as above
                    del self._open[name]
                    with contextlib.suppress(Exception):  # what it holds is let go; why it failed is known
                        sink.__exit__(type(error), error, error.__traceback__)
                    self._say(name, error)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            for name, (sink, _) in self._open.items():
                try:
                    sink.__exit__(kind, error, trace)
                except Exception as fault:  # noqa: BLE001 as above
                    self._say(name, fault)
            self._open.clear()

    def _say(self, name: str, error: Exception) -> None:
        reason = " ".join(str(error).split())
        self._warn(f"{name} is left out from here on, training goes on: {type(error).__name__}: {reason}")


def check_sinks(settings: ObserveSettings) -> None:
    """Raises RecipeError when a sink was asked for by name and its package or its account is not there."""
    if settings.tensorboard == "always":
        _check_installed("tensorboard", "observe.tensorboard: always", "observe.tensorboard=auto")
    if settings.wandb != "off":
        asked = f"observe.wandb: {settings.wandb}"
        _check_installed("wandb", asked, "observe.wandb=off")
        if settings.wandb == "online" and not has_account():
            raise RecipeError(
                f"{asked} was asked for, but Weights & Biases has no account here.\n"
                "Run `wandb login` (or set WANDB_API_KEY), or take `observe.wandb=offline` and `wandb sync` later."
            )


def _check_installed(package: str, asked: str, instead: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise RecipeError(
            f"{asked} was asked for, but the package {package} is not installed.\n"
            f"Run `pip install 'lorafit[{package}]'`, or take `{instead}`."
        )


def open_sinks(
    settings: ObserveSettings,
    folder: Path,
    name: str,
    hparams: Mapping[str, Any],
    warn: Callable[[str], None],
    first_update: int = 0,
    more: Mapping[str, Callable[[], Sink]] | None = None,
) -> Sinks:
    """All sinks that the settings ask for, to be entered for the time of the training.

    folder: the run folder; name: the run's. hparams: recipe, environment and code version, nested. first_update: the
    update that a resumed run goes on from. more: further ones, by name. `check_sinks` refuses
    beforehand what can be told beforehand.
    """
    sinks = dict(more or {})
    installed = importlib.util.find_spec("tensorboard") is not None
    if settings.tensorboard == "always" or (settings.tensorboard == "auto" and installed):
        sinks["TensorBoard"] = lambda: TensorBoard(folder / "tensorboard", hparams, first_update)
    if settings.wandb != "off":
        mode = settings.wandb
        sinks["Weights & Biases"] = lambda: WeightsAndBiases(
            folder / "wandb", settings.wandb_project, name, mode, hparams
        )
    return Sinks(sinks, warn)
