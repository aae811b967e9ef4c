"""Events as curves."""

from __future__ import annotations

from lorafit.observe.scalars import scalars
from lorafit.records import Event, note


def test_an_update_in_the_units_of_a_chart() -> None:
    event = Event("update", {"update": 3, "loss": 2.5, "tokens": 90, "memory_bytes": 3 * 2**29})
    assert scalars(event) == {"loss/train": 2.5, "train/memory_gib": 1.5}


def test_every_gpu_has_curves_of_its_own_and_what_is_not_known_has_none() -> None:
    gpus = [{"index": 0, "utilization": 0.5, "power_w": None}, {"index": 1, "memory_used_bytes": 2**31}]
    event = Event("hardware", {"time": 1.0, "cpu_share": None, "resident_bytes": 2**30, "gpus": gpus})
    assert scalars(event) == {
        "usage/resident_gib": 1.0,
        "usage/gpu0_utilization": 0.5,
        "usage/gpu1_memory_used_gib": 2.0,
    }


def test_a_note_has_no_figures() -> None:
    assert scalars(note("something")) == {}
