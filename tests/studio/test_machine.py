from __future__ import annotations

import psutil

from lorafit.studio.machine import Gpu, Machine, read_smi


def test_a_sample_is_of_this_machine_and_shared_for_a_moment() -> None:
    machine = Machine()
    seen = machine.sample()
    assert 0 < seen.memory_used < seen.memory_total <= psutil.virtual_memory().total
    assert 0 <= seen.processor <= 1
    assert machine.sample() is seen


def test_the_lines_of_nvidia_smi() -> None:
    said = "NVIDIA A100, 80GB PCIe, 1024, 81920, 37\nNVIDIA GB10, [N/A], [N/A], 5\nnot such a line\n"
    assert read_smi(said) == (
        Gpu("NVIDIA A100, 80GB PCIe", 2**30, 80 * 2**30, 0.37),
        Gpu("NVIDIA GB10", None, None, 0.05),
    )
