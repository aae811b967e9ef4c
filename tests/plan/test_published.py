"""The plan's simulator against peak memory of real A100s that was published, in the code that those runs used."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from torch import Tensor, nn

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
WITHIN = 2.0  # percent

pytest.importorskip("bitsandbytes")
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")


@pytest.fixture(scope="module")
def modules() -> Iterator[tuple[ModuleType, ModuleType]]:
    """plan_published and plan_harness: benchmarks is no package, so its folder is on the path while they are in use."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        yield importlib.import_module("plan_published"), importlib.import_module("plan_harness")


@pytest.mark.parametrize("number", range(7))
def test_peak_allocated_on_an_a100(modules: tuple[ModuleType, ModuleType], number: int) -> None:
    published, harness = modules
    row = published.FMS.rows[number]
    assert abs(published.error(harness.simulate_deep(row.run).peak.bytes, row.figure)) < WITHIN, row.name


def test_two_shallow_traces_stand_for_the_whole(modules: tuple[ModuleType, ModuleType]) -> None:
    published, harness = modules
    run = published.FMS.rows[2].run
    assert harness.simulate_deep(run).peak.bytes == harness.simulate(run).peak.bytes


def test_the_loss_of_another_version_is_seen(modules: tuple[ModuleType, ModuleType]) -> None:
    """The bound is no formality: the installed transformers' loss copies less, and with it the LoRA run falls out."""
    published, harness = modules
    row = published.FMS.rows[2]

    def installed(model: nn.Module, ids_BT: Tensor, labels_BT: Tensor, kept: list[Any]) -> Tensor:
        loss: Tensor = model(input_ids=ids_BT, labels=labels_BT).loss
        return loss

    peak = harness.simulate_deep(replace(row.run, forward=installed)).peak.bytes
    assert published.error(peak, row.figure) < -WITHIN
