"""A broken sink is said once and left out; the others and the training go on."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

from lorafit.errors import RecipeError
from lorafit.observe.settings import ObserveSettings
from lorafit.observe.sinks import Sinks, check_sinks, open_sinks
from lorafit.records import Event


class Kept:
    """A sink that keeps what it is told and fails where it should."""

    def __init__(self, fails_at: str = "") -> None:
        self.fails_at, self.events, self.closed = fails_at, [], []
        self._fail("making")

    def _fail(self, where: str) -> None:
        if where == self.fails_at:
            raise ValueError(f"broken\nat {where}")

    def __call__(self, event: Event) -> None:
        self.events.append(event)
        self._fail("calling")

    def __enter__(self) -> Kept:
        self._fail("entering")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.closed.append(kind)
        self._fail("closing")


@pytest.mark.parametrize("where", ["making", "entering", "calling", "closing"])
def test_a_broken_sink_is_said_once_and_the_other_goes_on(where: str) -> None:
    whole, warnings = Kept(), []
    makers: dict[str, Callable[[], Any]] = {"broken": lambda: Kept(where), "whole": lambda: whole}
    with Sinks(makers, warnings.append) as sinks:
        for number in range(3):
            sinks(Event("update", {"update": number}))
    (warning,) = warnings
    assert warning == f"broken is left out from here on, training goes on: ValueError: broken at {where}"
    assert [event.values["update"] for event in whole.events] == [0, 1, 2]
    assert whole.closed == [None]


def test_a_broken_sink_is_closed_and_told_nothing_more() -> None:
    broken = Kept("calling")
    with Sinks({"broken": lambda: broken}, lambda text: None) as sinks:
        sinks(Event("update"))
        sinks(Event("update"))
    assert (len(broken.events), broken.closed) == (1, [ValueError])


def test_an_interrupt_goes_through_and_sinks_learn_of_it() -> None:
    sink = Kept()
    with pytest.raises(KeyboardInterrupt), Sinks({"sink": lambda: sink}, lambda text: None):
        raise KeyboardInterrupt
    assert sink.closed == [KeyboardInterrupt]


def test_a_warning_may_be_an_event_for_the_same_sinks() -> None:
    whole = Kept()
    sinks = Sinks(
        {"broken": lambda: Kept("calling"), "whole": lambda: whole},
        lambda text: sinks(Event("warning", {"message": text})),
    )
    with sinks:
        sinks(Event("update"))
    assert [event.kind for event in whole.events] == ["warning", "update"]


def absent(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == package else found(name))


@pytest.mark.parametrize(
    ("package", "settings"),
    [("tensorboard", ObserveSettings(tensorboard="always")), ("wandb", ObserveSettings(wandb="offline"))],
)
def test_a_missing_package_that_was_asked_for_is_refused(
    monkeypatch: pytest.MonkeyPatch, package: str, settings: ObserveSettings
) -> None:
    absent(monkeypatch, package)
    with pytest.raises(RecipeError, match=rf"pip install 'lorafit\[{package}\]'"):
        check_sinks(settings)


def test_no_account_is_refused_without_a_question(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("WANDB_API_KEY", "WANDB_MODE", "NETRC", "WANDB_IDENTITY_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(RecipeError, match="wandb login"):
        check_sinks(ObserveSettings(wandb="online"))


def test_tensorboard_is_written_when_it_is_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    warnings: list[str] = []
    with open_sinks(ObserveSettings(), tmp_path, "name", {"recipe": {}}, warnings.append) as sinks:
        sinks(Event("update", {"update": 1, "loss": 1.0}))
    assert len(list((tmp_path / "tensorboard").iterdir())) == 1
    assert (list(tmp_path.iterdir()), warnings) == ([tmp_path / "tensorboard"], [])

    absent(monkeypatch, "tensorboard")
    check_sinks(ObserveSettings())
    with open_sinks(ObserveSettings(), tmp_path / "other", "name", {}, warnings.append):
        pass
    assert not (tmp_path / "other").exists() and not warnings


def test_a_folder_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    (tmp_path / "tensorboard").write_text("in the way")
    warnings: list[str] = []
    with open_sinks(ObserveSettings(), tmp_path, "name", {}, warnings.append) as sinks:
        sinks(Event("update", {"update": 1, "loss": 1.0}))
    assert len(warnings) == 1 and "TensorBoard" in warnings[0] and "FileExistsError" in warnings[0]
