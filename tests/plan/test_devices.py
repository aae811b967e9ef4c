"""The table of devices and what `--gpu` may say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lorafit.errors import PlanError
from lorafit.plan import devices
from lorafit.plan.devices import DEVICES, GIB, SHOWN, find_device, host_memory, measure_cpu


def test_every_row_is_plausible_and_can_be_asked_for_by_its_name() -> None:
    assert len({device.name for device in DEVICES}) == len(DEVICES)
    for device in DEVICES:
        assert find_device(device.name) is device, device.name
        assert find_device(device.name.lower().replace(" ", "-")) is device, device.name
        assert 3 * GIB < device.memory_bytes < 400 * GIB
        assert device.bandwidth is not None and 5e10 < device.bandwidth < 1e13
        # operations for each byte: a rate in the wrong unit would be far outside
        assert device.matrix_rate is not None and 20 < device.matrix_rate / device.bandwidth < 500
        assert device.kind in ("cuda", "mps") and "nominal" in device.source


def test_a_card_shows_less_than_is_on_its_box() -> None:
    assert find_device("rtx4090").memory_bytes == int(23.64 * GIB)
    assert find_device("rtx3090").memory_bytes == int(24 * SHOWN * GIB)
    assert find_device("a10").memory_bytes == int(24 * 0.91 * GIB)
    assert find_device("m1 16gb").memory_bytes // 2**20 == 10922, "as Metal recommends"
    assert find_device("m2 max 64gb").memory_bytes == 48 * GIB


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("rtx4090", "RTX 4090"),
        ("RTX 4090", "RTX 4090"),
        ("4090", "RTX 4090"),
        ("NVIDIA GeForce RTX 4070 Ti SUPER", "RTX 4070 Ti Super"),
        ("4070", "RTX 4070"),
        ("a100-80gb sxm", "A100 SXM 80GB"),
        ("a10g", "A10G"),
        ("a10", "A10"),
        ("a40", "A40"),
        ("A6000", "RTX A6000"),
        ("m3-max 64gb", "M3 Max 64GB"),
        # as torch calls them
        ("NVIDIA A100-SXM4-40GB", "A100 SXM 40GB"),
        ("NVIDIA H100 80GB HBM3", "H100 SXM 80GB"),
        ("Tesla T4", "T4"),
        ("NVIDIA RTX 6000 Ada Generation", "RTX 6000 Ada"),
        ("NVIDIA RTX PRO 6000 Blackwell Workstation Edition", "RTX PRO 6000"),
    ],
)
def test_names_in_any_spelling(text: str, name: str) -> None:
    found = find_device(text)
    assert found.name == name and "may also be" not in found.note


def test_of_several_the_smallest_is_taken_and_this_is_said() -> None:
    found = find_device("a100")
    assert found.memory_bytes == find_device("a100 pcie 40gb").memory_bytes
    assert "A100 PCIe 80GB or A100 SXM 80GB" in found.note
    slower = find_device("h100")
    assert slower.matrix_rate == find_device("h100 pcie").matrix_rate and "H100 SXM 80GB" in slower.note
    assert find_device("a100 40 gb").note == "", "both 40 GB cards have the same figures"
    assert "M1 16GB" in find_device("m1").note and "Max" not in find_device("m1").note


@pytest.mark.parametrize(
    ("text", "memory"),
    [
        ("24GB", int(24 * GIB * SHOWN)),
        ("24", int(24 * GIB * SHOWN)),
        (" 24 gb ", int(24 * GIB * SHOWN)),
        ("0.5TB", int(512 * GIB * SHOWN)),
        ("23.5GiB", int(23.5 * GIB)),
        ("512MiB", GIB // 2),
    ],
)
def test_sizes(text: str, memory: int) -> None:
    found = find_device(text)
    assert (found.kind, found.memory_bytes, found.bandwidth, found.matrix_rate) == ("cuda", memory, None, None)
    assert f"{memory / GIB:.2f} GiB" in found.note


def test_a_cpu_of_some_size_has_all_of_it() -> None:
    found = find_device("cpu 64GB")
    assert (found.kind, found.memory_bytes) == ("cpu", 64 * GIB)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rtx4091", "Did you mean RTX 4090"),
        ("rxt 4090", "RTX 4090"),
        ("RTX 4090 Laptop GPU", "Did you mean RTX 4090"),  # another chip
        ("0GB", "more than 0"),
        ("-8", "more than 0"),
        ("cpu 0GB", "more than 0"),
        ("24 bananas", "not a size"),
        ("24,5GB", "not a size"),
        ("11TB", "more memory than any"),
        ("max", "no such device"),
        ("", "no such device"),
    ],
)
def test_what_cannot_be(text: str, message: str) -> None:
    with pytest.raises(PlanError, match=message) as caught:
        find_device(text)
    assert caught.value.exit_code == 2


def test_a_kind_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(PlanError, match="--gpu cuda: this machine has none"):
        find_device("cuda")


def test_the_users_cards(tmp_path: Path) -> None:
    cards = tmp_path / "cards.yaml"
    cards.write_text(
        "- {name: My card, memory: 10GiB, bandwidth: 1.5TB/s, matrix_rate: 165 TFLOPS, bfloat16: false}\n"
        "- {name: RTX 4090, memory: 48GB}\n"
    )
    mine = find_device("my card", cards)
    assert (mine.memory_bytes, mine.bandwidth, mine.matrix_rate, mine.bfloat16) == (10 * GIB, 1.5e12, 165e12, False)
    changed = find_device("rtx4090", cards)
    assert (changed.memory_bytes, changed.matrix_rate) == (int(48 * GIB * SHOWN), None), "the user's come first"
    assert find_device("rtx3090", cards) is find_device("rtx3090")
    with pytest.raises(PlanError, match="Did you mean My card"):
        find_device("my cart", cards)


def test_every_fault_of_a_file_of_cards_is_named_with_its_entry(tmp_path: Path) -> None:
    cards = tmp_path / "cards.yaml"
    cards.write_text(
        "- {name: fine, memory: 24GB}\n"
        "- {name: one, memory: plenty, bandwidth: 7 apples, colour: red}\n"
        "- just text\n"
        "- {memory: 0GB, matrix_rate: 0TFLOPS, bfloat16: perhaps}\n"
    )
    with pytest.raises(PlanError) as caught:
        find_device("fine", cards)
    faults = str(caught.value).splitlines()
    assert all(str(cards) in fault for fault in faults)
    expected = [
        ("entry 2 (one)", "colour"),
        ("entry 2 (one)", "plenty"),
        ("entry 2 (one)", "7 apples"),
        ("entry 3", "just text"),
        ("entry 4", "name None"),
        ("entry 4", "more than 0 GB"),
        ("entry 4", "0TFLOPS"),
        ("entry 4", "perhaps"),
    ]
    assert len(faults) == len(expected)
    for fault, parts in zip(faults, expected, strict=True):
        assert all(part in fault for part in parts), fault


@pytest.mark.parametrize("content", ["", "name: a", "[]", "- {a: [", "\x00"])
def test_a_file_that_is_no_list_of_cards(tmp_path: Path, content: str) -> None:
    cards = tmp_path / "cards.yaml"
    cards.write_text(content)
    with pytest.raises(PlanError, match=r"cards\.yaml"):
        find_device("24GB", cards)
    with pytest.raises(PlanError, match="cannot be read"):
        find_device("24GB", tmp_path / "absent.yaml")


def machine(root: Path, groups: str, files: dict[str, str]) -> Path:
    """A system's /proc and /sys, with 16 GiB of which 12 are available."""
    files = {
        "proc/meminfo": f"MemTotal: {16 << 20} kB\nMemAvailable: {12 << 20} kB\n",
        "proc/self/cgroup": groups,
        **files,
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_memory_without_a_limit(tmp_path: Path) -> None:
    folder = "sys/fs/cgroup/user"
    files = {f"{folder}/memory.max": "max\n", f"{folder}/memory.current": "5\n", f"{folder}/memory.stat": "anon 5\n"}
    assert host_memory(machine(tmp_path, "0::/user\n", files)) == (16 * GIB, 12 * GIB)


def test_the_lowest_limit_of_a_group_and_its_parents_holds(tmp_path: Path) -> None:
    files = {}
    for folder, limit, used, cache in (("a/b", 8, 3, 1), ("a", 6, 5, 3)):
        files |= {
            f"sys/fs/cgroup/{folder}/memory.max": f"{limit * GIB}\n",
            f"sys/fs/cgroup/{folder}/memory.current": f"{used * GIB}\n",
            f"sys/fs/cgroup/{folder}/memory.stat": f"anon 1\ninactive_file {cache * GIB}\n",
        }
    # 6 GiB in all; 8 - (3 - 1) = 6 free in the inner group, 6 - (5 - 3) = 4 in the outer
    assert host_memory(machine(tmp_path, "0::/a/b\n", files)) == (6 * GIB, 4 * GIB)


def test_the_limit_of_version_one_seen_from_within_a_container(tmp_path: Path) -> None:
    files = {
        "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{2 * GIB}\n",
        "sys/fs/cgroup/memory/memory.usage_in_bytes": f"{3 * GIB}\n",
        "sys/fs/cgroup/memory/memory.stat": "total_inactive_file 0\n",
    }
    groups = "5:cpu,memory:/docker/0123\n1:name=systemd:/\n"
    assert host_memory(machine(tmp_path, groups, files)) == (2 * GIB, 0)


def test_this_machine_without_a_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "host_memory", lambda: (8 * GIB, 3 * GIB))
    found = find_device("cpu")
    assert (found.kind, found.memory_bytes, found.free_bytes) == ("cpu", 8 * GIB, 3 * GIB)
    assert found.matrix_rate is None and 0 < found.context_bytes < GIB


def test_a_card_at_hand_has_its_own_memory_and_the_speed_of_the_like_named() -> None:
    larger = devices._at_hand("NVIDIA GeForce RTX 3080", "cuda", int(11.8 * GIB), 11 * GIB, True)
    assert (larger.memory_bytes, larger.free_bytes) == (int(11.8 * GIB), 11 * GIB)
    assert larger.matrix_rate == find_device("rtx 3080 12gb").matrix_rate
    unknown = devices._at_hand("NVIDIA GeForce RTX 9999", "cuda", 64 * GIB, 65 * GIB, True)
    assert (unknown.matrix_rate, unknown.free_bytes) == (None, 64 * GIB)


def test_the_cpu_is_measured_in_sane_units() -> None:
    rate, bandwidth = measure_cpu()
    assert 1e8 < rate < 1e15 and 1e7 < bandwidth < 1e13


def test_the_table_needs_no_torch() -> None:
    code = "import sys, lorafit.plan.devices as d; d.find_device('rtx4090'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
