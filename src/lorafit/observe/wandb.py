"""Events to Weights & Biases: online, or into the run folder for `wandb sync` later."""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, Literal

from lorafit.observe.scalars import scalars
from lorafit.records import Event
from lorafit.run import write_text

START_SECONDS, FINISH_SECONDS = 30.0, 60.0


def _load() -> ModuleType:
    """The package, silent, and with its reports about itself to its makers off unless the user has turned them on."""
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    import wandb

    with _hooks_kept():  # or it says where it found the key, after seconds on the network
        wandb.setup(settings=wandb.Settings(silent=True))
    return wandb


@contextlib.contextmanager
def _hooks_kept() -> Iterator[None]:
    """wandb puts hooks of its own into sys and never takes them away."""
    hooks = sys.excepthook, sys.exit
    try:
        yield
    finally:
        sys.excepthook, sys.exit = hooks


def has_account() -> bool:
    """Whether an account is known here, without asking for one: often nobody is there to answer."""
    return bool(_load().login(prompt=False, verify=False))


class WeightsAndBiases:
    """Logs the curves with the update as step, and `hparams` as the run's config.

    folder: the run's wandb folder. Its file `id` holds the id under which a resumed run goes on; updates that the
    service has already are not taken twice. Only what is passed in is sent: no code, host name, git state or console.

    Raises wandb's errors when the service does not answer within 30 seconds, or has not taken all 60 seconds after the
    end; what it has not taken stays in `folder`.
    """

    def __init__(
        self, folder: Path, project: str, name: str, mode: Literal["online", "offline"], hparams: Mapping[str, Any]
    ) -> None:
        wandb = _load()
        with _hooks_kept():
            self._run = wandb.init(
                project=project,
                name=name,
                id=_id(folder),
                dir=folder.parent,  # wandb itself adds `wandb`
                mode=mode,
                config=dict(hparams),
                resume="allow" if mode == "online" else None,
                reinit="create_new",  # a run that the user's own program has open stays as it is
                settings=wandb.Settings(
                    console="off",
                    silent=True,
                    disable_git=True,
                    disable_code=True,
                    x_disable_meta=True,
                    host="",
                    x_disable_stats=True,  # lorafit takes samples of its own
                    x_save_requirements=False,
                    symlink=False,
                    init_timeout=START_SECONDS,
                    finish_timeout=FINISH_SECONDS,
                    finish_timeout_raises=True,
                ),
            )
        self._update = 0

    def __call__(self, event: Event) -> None:
        found = scalars(event)
        if found:
            self._update = event.values.get("update", self._update)
            self._run.log(found, step=self._update)

    def __enter__(self) -> WeightsAndBiases:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._run.finish(exit_code=0 if kind is None else 1)


def _id(folder: Path) -> str:
    """The run's id, made at its first start."""
    path = folder / "id"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_text(path, secrets.token_hex(4))
    return path.read_text(encoding="utf-8").strip()
