"""The machine's checks: each with stand-ins for what is found, those that compute on the CPU as they are."""

from __future__ import annotations

import importlib
import json
import re
import socket
import sys
import threading
from pathlib import Path

import pytest
import torch
from packaging.requirements import Requirement

from lorafit import hardware
from lorafit.doctor import graphics, hubs, resources, software, trials
from lorafit.doctor.line import Line, cleaned
from lorafit.doctor.machine import CHECKS, Check, examine, summary, to_json
from lorafit.train.step import Step

CPU = hardware.Hardware(torch.device("cpu"), torch.float32, "asked for")
GIB = 2**30


def only(lines: object) -> Line:
    (line,) = lines  # type: ignore[misc]
    return line  # type: ignore[no-any-return]


# ------------------------------------------------------------------ the table


def test_a_check_that_breaks_is_a_fault_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> object:
        raise OSError("no such thing\nsecond line")

    monkeypatch.setattr(software, "check_extras", broken)
    lines = list(examine([Check("a", "software:check_extras", remedy="do this"), Check("b", "nowhere:x"), CHECKS[0]]))
    assert lines[0] == Line("fault", "a", "could not be checked (OSError: no such thing)", "do this")
    assert lines[1].level == "fault" and "ModuleNotFoundError" in lines[1].found
    assert lines[2].subject == "Python" and lines[2].level != "fault"


def test_without_torch_what_needs_it_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch")
    monkeypatch.setattr(software, "check_torch", lambda: iter([Line("fault", "torch", "cannot be imported")]))
    lines = list(examine([check for check in CHECKS if check.needs_torch or check.subject == "torch"]))
    assert [line.subject for line in lines] == ["torch"]


def test_every_check_of_the_table_is_there() -> None:
    for check in CHECKS:
        module, _, name = check.function.partition(":")
        assert callable(getattr(importlib.import_module(f"lorafit.doctor.{module}"), name))


def test_no_secret_and_no_home_folder_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    monkeypatch.setenv("HF_TOKEN", "a-secret-of-mine")
    said = f"{tmp_path}/x, {tmp_path}-other, http://me:word@proxy:80, hf_AbCdEfGh1234, a-secret-of-mine"
    shown = cleaned(Line("ok", "x", said, said))
    assert shown.found == shown.remedy == f"~/x, {tmp_path}-other, http://***@proxy:80, hf_***, ***"


def test_summary_and_json() -> None:
    ok, warning, fault = (Line(level, "x", "y") for level in ("ok", "warning", "fault"))
    assert summary([ok])[0] == "ok" and summary([ok, warning])[0] == "warning"
    level, sentence = summary([fault, warning, warning])
    assert level == "fault" and "1 fault and 2 warnings" in sentence
    content = json.loads(json.dumps(to_json([fault])))
    assert content["schema"] == 1 and content["lines"] == [
        {"level": "fault", "subject": "x", "found": "y", "remedy": ""}
    ]
    assert socket.gethostname() not in content["system"]


# ------------------------------------------------------------------ software


def test_python() -> None:
    assert only(software.check_python((3, 10, 9))).level == "fault"
    assert only(software.check_python((3, 12, 1), {}, virtual=True)).level == "ok"
    assert only(software.check_python((3, 12, 1), {"CONDA_PREFIX": "/c"}, virtual=False)).level == "ok"
    assert only(software.check_python((3, 12, 1), {}, virtual=False)).level == "note"


@pytest.mark.parametrize(
    ("version", "level"), [("2.6.1+cpu", "fault"), ("2.7.0", "ok"), ("2.13.1+cu130", "ok"), ("2.14.0.dev1", "warning")]
)
def test_torch_version(version: str, level: str) -> None:
    assert software.torch_line(version, Requirement("torch>=2.7")).level == level


def test_the_tested_torch_is_the_one_that_the_makefile_installs() -> None:
    makefile = (Path(__file__).parents[2] / "Makefile").read_text()
    (installed,) = re.findall(r"torch==(\d+\.\d+)", makefile)
    assert str(software.TESTED_TORCH) == installed


def test_packages_in_their_ranges_and_out_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = ["torch>=2.7", "numpy<1", "rich>=1", "not-there>=1", "wandb>=1; extra == 'wandb'"]
    monkeypatch.setattr(software.metadata, "requires", lambda name: asked)
    numpy, absent, right = software.check_packages()
    assert numpy.level == "fault" and "<1" in numpy.found and numpy.remedy == "pip install 'numpy<1'"
    assert absent.level == "fault" and absent.subject == "not-there"
    assert right.level == "ok" and "rich" in right.found and "torch" not in right.found


def test_extras_that_are_missing_are_one_note(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = ["rich", "not-there; extra == 'gguf'", "rich; extra == 'onnx'"]
    monkeypatch.setattr(software.metadata, "requires", lambda name: asked)
    line = only(software.check_extras())
    assert line.level == "note" and "gguf" in line.found and "onnx" not in line.found and "lorafit[gguf]" in line.remedy


def test_every_extra_is_known() -> None:
    provided = set(software.metadata.metadata("lorafit").get_all("Provides-Extra") or ())
    assert provided - {"all", "dev"} == set(software.EXTRAS)


# ------------------------------------------------------------------ resources


def processor(**changed: object) -> resources.Processor:
    known = {"cores": 8, "usable": 16, "threads": 8, "kernels": "AVX2", "bfloat16": False, "quota": None}
    return resources.Processor(**{**known, **changed})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changed", "environ", "level", "remedy"),
    [
        ({}, {}, "ok", ""),
        ({"threads": 16}, {}, "ok", ""),
        ({"threads": 5}, {}, "ok", ""),
        ({"threads": 1}, {"OMP_NUM_THREADS": "1"}, "warning", "unset OMP_NUM_THREADS"),
        ({"threads": 1}, {}, "warning", "export OMP_NUM_THREADS=8"),
        ({"threads": 32}, {"OMP_NUM_THREADS": "32"}, "warning", "export OMP_NUM_THREADS=8"),
        ({"threads": 8, "quota": 2.5}, {}, "warning", "export OMP_NUM_THREADS=2"),
        ({"threads": 2, "quota": 2.0}, {"OMP_NUM_THREADS": "2"}, "ok", ""),
    ],
)
def test_threads_against_cores(changed: dict, environ: dict, level: str, remedy: str) -> None:
    _, threads = resources.processor_lines(processor(**changed), environ)
    assert (threads.level, threads.remedy) == (level, remedy)
    assert all(f"{name}={value}" in threads.found for name, value in environ.items()) or level == "ok"


def test_a_processor_without_vector_instructions() -> None:
    assert next(resources.processor_lines(processor(kernels="DEFAULT"), {})).level == "warning"
    assert next(resources.processor_lines(processor(bfloat16=True), {})).level == "ok"


@pytest.mark.parametrize(
    ("groups", "files", "cores"),
    [
        ("0::/a/b", {"sys/fs/cgroup/a/cpu.max": "150000 100000", "sys/fs/cgroup/a/b/cpu.max": "max 100000"}, 1.5),
        ("0::/host/path", {"sys/fs/cgroup/cpu.max": "400000 100000"}, 4.0),
        (
            "3:cpuset:/\n2:cpu,cpuacct:/d",
            {
                "sys/fs/cgroup/cpu/d/cpu.cfs_quota_us": "50000\n",
                "sys/fs/cgroup/cpu/d/cpu.cfs_period_us": "100000\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            0.5,
        ),
        ("0::/", {}, None),
    ],
)
def test_a_containers_share_of_the_processor(
    tmp_path: Path, groups: str, files: dict[str, str], cores: float | None
) -> None:
    for name, content in {"proc/self/cgroup": groups + "\n", **files}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    assert resources.cpu_quota(tmp_path) == cores


def test_memory_and_its_limits() -> None:
    assert only(resources.memory_lines(32 * GIB, 32 * GIB, 20 * GIB, 0, None)).level == "ok"
    little, container, addresses = resources.memory_lines(32 * GIB, 8 * GIB, 3 * GIB, GIB, 6 * GIB)
    assert little.level == "warning" and "3.0 GiB of 8.0 GiB" in little.found and "1.0 GiB of swap" in little.found
    assert container.level == "note" and "32.0 GiB" in container.found
    assert addresses.level == "warning" and addresses.remedy == "ulimit -v unlimited"


def test_disks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def line(little: int = 0, worst: str = "fault") -> Line:
        return resources.disk_line("disk", tmp_path / "not" / "yet", "a folder", little, worst, "mend")  # type: ignore[arg-type]

    assert line().level == "ok" and line(little=2**62).level == "warning"
    monkeypatch.setattr(resources, "NO_DISK", 2**62)
    assert line(little=2**62).level == "fault"

    def refused(**_: object) -> object:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(resources.tempfile, "TemporaryFile", refused)
    assert line(worst="warning").level == "warning" and "PermissionError" in line().found


# ------------------------------------------------------------------ graphics

DRIVER = graphics.Driver(("RTX 4090",), "550.1", (12, 4), 1)


@pytest.mark.parametrize(
    ("driver", "build", "visible", "level", "said"),
    [
        (graphics.Driver(), None, None, "note", "no NVIDIA card"),
        (graphics.Driver(), "12.8", None, "note", "no NVIDIA card"),
        (DRIVER, None, None, "fault", "made for the processor alone"),
        (graphics.Driver(cuda=(12, 4), cuda_cards=1), None, None, "fault", "made for the processor alone"),
        (DRIVER, "12.8", "", "warning", "CUDA_VISIBLE_DEVICES=''"),
        (DRIVER, "12.8", "0", "fault", "cannot use it (RuntimeError: odd)"),
        (DRIVER, "13.0", None, "fault", "runs CUDA up to 12.4, and this torch is made for CUDA 13.0"),
        (graphics.Driver(("RTX 4090",), "550.1"), "12.8", None, "fault", "libcuda"),
        (graphics.Driver(problem="version mismatch"), "12.8", None, "warning", "version mismatch"),
    ],
)
def test_why_there_is_no_cuda(
    driver: graphics.Driver, build: str | None, visible: str | None, level: str, said: str
) -> None:
    line = graphics.no_cuda_line(driver, "2.13.0", build, "RuntimeError: odd", visible)
    assert line.level == level and said in line.found and line.remedy


def test_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    def card(capability: tuple[int, int] = (8, 9), others: int = 0) -> Line:
        found = graphics.Card(0, "RTX 4090", capability, 20 * GIB, 24 * GIB, others)
        return only(graphics.card_lines(found, ["sm_75", "sm_80", "sm_120a"]))

    assert card().level == "ok" and "bfloat16," not in card((7, 5)).found and "bfloat16;" in card().found
    assert "float16 with loss scaling" in card((7, 5)).found
    assert card((9, 0)).level == "fault" and "sm_120a" in card((9, 0)).found
    monkeypatch.setattr(graphics, "processes", lambda: ["process 7: 3000 MiB"])
    assert card(others=3 * GIB).level == "warning" and "process 7" in card(others=3 * GIB).found


def test_which_cards_code_runs_on() -> None:
    assert graphics.has_kernels((8, 9), ["sm_80"]) and not graphics.has_kernels((8, 0), ["sm_86"])
    assert graphics.has_kernels((10, 0), ["sm_75", "compute_90"]) and not graphics.has_kernels((9, 0), ["compute_100"])


def test_what_nvidia_smi_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nvidia-smi"
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(graphics, "_ask_library", lambda: ((12, 4), 1))

    def says(words: str, code: int = 0) -> None:
        program.write_text(f"#!/bin/sh\necho '{words}'\nexit {code}\n")
        program.chmod(0o755)

    says("NVIDIA A100-SXM4-40GB, 550.54.14")
    assert graphics.find_driver() == graphics.Driver(("NVIDIA A100-SXM4-40GB",), "550.54.14", (12, 4), 1)
    says("123, 4000")
    assert graphics.processes() == ["process 123: 4000 MiB"]
    says("Failed to initialize NVML: Driver/library version mismatch", 18)
    assert graphics.find_driver().problem.startswith("Failed to initialize NVML")
    says("No devices were found", 6)
    assert graphics.find_driver() == graphics.Driver(cuda=(12, 4), cuda_cards=1)


# ------------------------------------------------------------------ hubs

HF, MS = "https://hf.example", "https://ms.example"


def hub(fetch: hubs.Fetch, environ: dict[str, str] | None = None, **options: bool) -> list[Line]:
    known = {"offline": False, "with_modelscope": False, **options}
    return list(hubs.hub_lines(HF, MS, environ=environ or {}, fetch=fetch, **known))


def test_hubs_that_answer() -> None:
    hugging_face, modelscope = hub(lambda address: 403, {"https_proxy": "http://me:word@proxy"})
    assert hugging_face.level == "ok" and hugging_face.found.startswith("hf.example answers")
    assert "HTTPS_PROXY" in hugging_face.found and "word" not in hugging_face.found
    assert modelscope.level == "ok" and "lorafit[modelscope]" in modelscope.found


def test_hubs_that_cannot_be_reached() -> None:
    def fetch(address: str) -> int:
        if address == HF:
            raise ConnectionError("no route")
        return 200

    hugging_face, modelscope = hub(fetch)
    assert hugging_face.level == "warning" and "ConnectionError: no route" in hugging_face.found
    assert "modelscope:ID" in hugging_face.remedy and modelscope.level == "ok"
    for status in (404, 503):  # whatever answers there, it is no hub
        down = only(hub(lambda address, status=status: status))
        assert down.level == "warning" and str(status) in down.found and "modelscope:ID" not in down.remedy
    assert [line.level for line in hub(lambda address: 503, with_modelscope=True)] == ["warning", "warning"]


def test_a_hub_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hubs, "SECONDS", 0.1)
    answer = threading.Event()
    try:
        line = only(hub(lambda address: 200 if answer.wait(60) else 0))
    finally:
        answer.set()
    assert "no answer within 0.1 s" in line.found


def test_offline_nothing_is_asked() -> None:
    def never(address: str) -> int:
        raise AssertionError(address)

    assert only(hub(never, offline=True)).level == "note"


def test_a_token_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    line = only(hubs.check_token())
    assert line.level == "ok" and "secret" not in str(line)
    assert hubs.token_line(False).level == "note"


# ------------------------------------------------------------------ trials


@pytest.mark.parametrize("kind", ["nf4", "int8"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_quantised_layers_are_right_here(kind: trials.Kind, dtype: torch.dtype) -> None:
    line = trials.layer_line(kind, hardware.Hardware(torch.device("cpu"), dtype, ""))
    assert line.level == "ok", line.found


def test_a_wrong_product_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    from lorafit.adapters import fast

    right = fast.computed_weight
    monkeypatch.setattr(fast, "computed_weight", lambda layer, dtype: right(layer, dtype) * 1.05)
    line = trials.layer_line("nf4", CPU)
    assert line.level == "fault" and "gradient of the input off by" in line.found and "token" not in line.found


def test_a_wrong_dequantisation_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    right = trials.dequantized_weight
    monkeypatch.setattr(trials, "dequantized_weight", lambda layer: right(layer).roll(1, 0))
    line = trials.layer_line("nf4", CPU)
    assert line.level == "fault" and "weight off by" in line.found


def test_what_is_not_a_number_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials, "layer_errors", lambda kind, chosen: {"weight": 0.0, "output": float("nan")})
    assert trials.layer_line("int8", CPU).level == "fault"


def test_without_bitsandbytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials, "find_spec", lambda name: None)
    for check in (trials.check_4bit, trials.check_8bit):
        line = only(check())
        assert line.level == "warning" and "quantization=none" in line.remedy


def test_a_training_step_works_here() -> None:
    step, seconds = trials.training_step(CPU)
    assert trials.step_line(step, seconds, CPU).level == "ok" and 0 < step.loss < 10 and seconds > 0


@pytest.mark.parametrize(
    ("step", "seconds", "level"),
    [
        (Step(2.0, 1.0, True), 0.1, "ok"),
        (Step(2.0, 1.0, True), 99.0, "warning"),
        (Step(float("nan"), 1.0, True), 0.1, "fault"),
        (Step(2.0, 0.0, True), 0.1, "fault"),
        (Step(2.0, float("nan"), True), 0.1, "fault"),
        (Step(2.0, 1.0, False), 0.1, "fault"),
    ],
)
def test_steps_that_are_wrong(step: Step, seconds: float, level: str) -> None:
    assert trials.step_line(step, seconds, CPU).level == level
