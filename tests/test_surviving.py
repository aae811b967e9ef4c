"""Memory that runs out and numbers that are not finite: what a run does, and that its end is the right one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from lorafit import Recipe, finetune, resume
from lorafit.errors import DoesNotFit, TrainingError
from lorafit.model.forward import Forward
from lorafit.train import checkpoint, updates
from tests.conftest import metrics, status

NO_MEMORY = "CUDA out of memory. Tried to allocate 2.00 GiB."
PARTS: dict[str, dict[str, Any]] = {
    "adapter": {"dropout": 0.2},
    "train": {
        "optimizer": "sgd",
        "learning_rate": 0.1,
        "checkpoint_every": 3,
        "tokens_per_pass": 256,
        "self_check": False,
        "validate_every": 2,
    },
    "evaluate": {"prompts": 0},
}


@pytest.fixture
def make(recipe: Callable[..., Recipe]) -> Callable[..., Recipe]:
    def build(name: str = "run", **parts: dict[str, Any]) -> Recipe:
        merged = {part: {**PARTS.get(part, {}), **parts.get(part, {})} for part in {*PARTS, *parts}}
        return recipe(name=name, **merged)

    return build


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "adapter" / "adapter_model.safetensors")


def assert_close(one: Path, other: Path) -> None:
    """1e-5 of the largest number of each tensor, and of each loss (float32)."""
    ours, theirs = weights(one), weights(other)
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        assert (tensor - theirs[name]).abs().max() <= 1e-5 * theirs[name].abs().max(), name
    assert_same_losses(one, other)


def assert_same_losses(one: Path, other: Path) -> None:
    for a, b in zip(metrics(one), metrics(other), strict=True):
        for name in {"loss", "held_out_loss", "gradient_norm"} & a.keys():
            assert a[name] == pytest.approx(b[name], rel=1e-5), (a["update"], name)


class Full:
    """Has room for so many tokens a pass: more raise, in the forward or when the backward reaches the embedding."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, room: int, after: int = 0, backward: bool = False) -> None:
        self.failed = 0
        call, step = Forward.__call__, updates.train_step
        begun = [0]

        def limited(forward: Forward, row: Any) -> torch.Tensor:
            loss: torch.Tensor = call(forward, row)
            real = type(forward) is Forward  # not the plan's
            if real and begun[0] > after and len(row.token_ids) > room:
                self.failed += 1
                if not (backward and loss.requires_grad):
                    raise torch.OutOfMemoryError(NO_MEMORY)
                loss = Raising.apply(loss)
            return loss

        def counted(*args: Any, **kwargs: Any) -> Any:
            begun[0] = args[5] + 1
            return step(*args, **kwargs)

        monkeypatch.setattr(Forward, "__call__", limited)
        monkeypatch.setattr(updates, "train_step", counted)


class Raising(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, loss: torch.Tensor) -> torch.Tensor:
        return loss.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        raise torch.OutOfMemoryError(NO_MEMORY)


@pytest.mark.parametrize("backward", [False, True])
def test_memory_that_runs_out_changes_nothing_but_the_passes(
    make: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], backward: bool
) -> None:
    """1e-5 in float32, dropout and validation included; batch_size is what it was."""
    plain = finetune(make("plain")).folder
    capsys.readouterr()
    with monkeypatch.context() as patched:
        full = Full(patched, room=100, after=3, backward=backward)
        again = finetune(make("again")).folder
    assert full.failed
    assert_close(again, plain)
    said = [line for line in capsys.readouterr().out.splitlines() if "memory ran out" in line]
    assert len(said) == 1 and "update 4: memory ran out with 256 tokens a pass" in said[0]
    assert [line.get("tokens") for line in metrics(again)] == [line.get("tokens") for line in metrics(plain)]
    newest = max((again / "checkpoints").iterdir())
    assert checkpoint.read_state(newest).values["tokens_per_pass"] <= 100


def test_a_run_that_went_back_and_was_stopped_goes_on_as_one_that_went_back(
    make: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bit-identical: what was halved stays halved."""
    with monkeypatch.context() as patched:
        Full(patched, room=100, after=1)
        whole = finetune(make("whole")).folder
    with monkeypatch.context() as patched:
        Full(patched, room=100, after=1)
        real = updates.train_step

        def stopped(*args: Any, **kwargs: Any) -> Any:
            if args[5] == 4:
                raise KeyboardInterrupt
            return real(*args, **kwargs)

        patched.setattr(updates, "train_step", stopped)
        with pytest.raises(KeyboardInterrupt):
            finetune(make("half"))
    half = Path(make("half").output) / "half"
    resume(half)
    assert (half / "adapter" / "adapter_model.safetensors").read_bytes() == (
        whole / "adapter" / "adapter_model.safetensors"
    ).read_bytes()


def test_a_single_sample_too_long_is_named_and_the_state_before_it_saved(
    make: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        Full(patched, room=10, after=4)
        with pytest.raises(DoesNotFit, match=r"rows\.json, row \d+: with \d+ tokens this single sample") as refused:
            finetune(make())
    assert refused.value.exit_code == 3
    folder = Path(make().output) / "run"
    assert status(folder)["state"] == "failed"
    assert max((folder / "checkpoints").iterdir()).name == "000004"


def test_memory_that_runs_out_for_the_optimizers_state_is_survived(
    make: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = finetune(make("plain", train={"optimizer": "adam"})).folder
    real = torch.zeros_like
    left = [3]

    def failing(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        if "preserve_format" in str(kwargs) and left[0]:
            left[0] -= 1
            if not left[0]:
                raise torch.OutOfMemoryError(NO_MEMORY)
        return real(tensor, *args, **kwargs)

    monkeypatch.setattr(torch, "zeros_like", failing)
    again = finetune(make("again", train={"optimizer": "adam"})).folder
    assert not left[0]
    assert_same_losses(again, plain)  # Adam makes rounding of the smallest gradients visible in the weights


UNDER_A_LIMIT = """
import resource, sys
from pathlib import Path
from lorafit import finetune, load_recipe, training

room, real = int(sys.argv[2]), training.train

def limited(*args, **kwargs):
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + room, -1))
    return real(*args, **kwargs)

if room:
    training.train = limited
finetune(load_recipe(sys.argv[1]))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits of addresses are Linux's")
def test_a_failed_allocation_of_the_host_is_survived(make: Callable[..., Recipe], tmp_path: Path) -> None:
    """Really: the process may have 600 MB more addresses than it has when training begins; the run takes 850 to 950."""
    rows = [{"instruction": f"Say {n}. " + f"{n} and so on " * 60, "output": f"{n} is said. " * 40} for n in range(16)]
    (tmp_path / "long.json").write_text(json.dumps(rows))
    folders = []
    for name, room in (("plain", 0), ("limited", 600_000_000)):
        recipe = make(
            name,
            model={"name": "builtin"},
            data={"train": str(tmp_path / "long.json"), "held_out": 0, "max_length": 512, "cut_answers": 1},
            train={"batch_size": 16, "epochs": 2, "tokens_per_pass": 8192, "recompute": "none", "compile": "never"},
            observe={"console": True},
        )
        (tmp_path / f"{name}.yaml").write_text(recipe.to_yaml())
        done = subprocess.run(
            [sys.executable, "-c", UNDER_A_LIMIT, str(tmp_path / f"{name}.yaml"), str(room)],
            capture_output=True, text=True, timeout=200, env={**os.environ, "MALLOC_ARENA_MAX": "1"},
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        assert ("memory ran out with 8,192 tokens a pass" in done.stdout) == bool(room), done.stdout
        folders.append(Path(recipe.output) / name)
    assert_close(folders[1], folders[0])


# ---------------------------------------------------------------- numbers that are not finite


@pytest.fixture
def spoil(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """spoil(3, 5): in these updates the second row of the model's first layer gives NaN."""

    def at(*wrong: int) -> None:
        step, now = updates.train_step, [0]

        def counted(*args: Any, **kwargs: Any) -> Any:
            now[0] = args[5] + 1
            handles = []
            if now[0] in wrong:
                for name, module in args[0].model.named_modules():
                    if name.endswith("layers.1.mlp"):
                        handles.append(module.register_forward_hook(lambda m, i, output: output * float("nan")))
            spoilt.extend(handles)
            return step(*args, **kwargs)

        monkeypatch.setattr(updates, "train_step", counted)
        real = updates.find_evidence

        def then(*args: Any) -> Any:
            found = real(*args)
            while spoilt:
                spoilt.pop().remove()
            return found

        monkeypatch.setattr(updates, "find_evidence", then)

    spoilt: list[Any] = []
    return at


def test_wrong_numbers_are_left_out_with_evidence(
    make: Callable[..., Recipe], spoil: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    spoil(3, 5)
    result = finetune(make(adapter={"dropout": 0.0}))
    assert [line["update"] for line in metrics(result.folder) if line.get("applied") is False] == [3, 5]
    assert all(torch.isfinite(tensor).all() for tensor in weights(result.folder).values())
    evidence = json.loads((result.folder / "evidence" / "update-000003.json").read_text())
    assert evidence["loss"] == "nan" and "layers.1.mlp" in evidence["where"]
    assert len(evidence["samples"]) == 8
    first = evidence["samples"][0]
    assert first["file"].endswith("rows.json") and first["row"] >= 1 and first["loss"] == "nan" and first["text"]
    assert len(first["token_ids"]) == len(first["trained"])
    said = capsys.readouterr().out
    assert "It is left out (1 of 3 may be)" in said and "It is left out (2 of 3 may be)" in said


def test_one_too_many_stops_with_the_last_good_state(make: Callable[..., Recipe], spoil: Callable[..., None]) -> None:
    spoil(3, 5)
    with pytest.raises(TrainingError, match=r"Update 5 gave loss nan .*layers\.1\.mlp") as stopped:
        finetune(make(train={"skip_non_finite": 1, "checkpoint_every": 100}, adapter={"dropout": 0.0}))
    assert "train.learning_rate" in str(stopped.value)
    folder = Path(make().output) / "run"
    assert status(folder)["state"] == "failed"
    newest = max((folder / "checkpoints").iterdir())
    assert newest.name == "000004"
    assert all(torch.isfinite(t).all() for _, t in checkpoint.read_state(newest).tensors if t.is_floating_point())


def test_what_was_left_out_does_not_change_the_rest(make: Callable[..., Recipe], spoil: Callable[..., None]) -> None:
    """Bit-identical: an update that is not applied leaves weights and optimizer as they were."""
    spoil(4)
    result = finetune(make(train={"max_updates": 4, "checkpoint_every": 1, "schedule": "constant"}))
    before, after = (result.folder / "checkpoints" / name for name in ("000003", "000004"))
    states = [dict(checkpoint.read_state(folder).tensors) for folder in (before, after)]
    names = [name for name in states[0] if name.startswith(("master", "optimizer"))]
    assert names and all(torch.equal(states[0][name], states[1][name]) for name in names)


def test_a_first_loss_of_zero_stops_the_run(make: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch) -> None:
    call = Forward.__call__
    monkeypatch.setattr(Forward, "__call__", lambda forward, row: call(forward, row) * 0.0)
    with pytest.raises(TrainingError, match="loss of exactly 0"):
        finetune(make(data={"held_out": 0}))


# ---------------------------------------------------------------- killed by the system


@pytest.mark.parametrize("after", [1, 4])
def test_a_run_killed_for_memory_goes_on_with_half_the_tokens(
    make: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], after: int
) -> None:
    plain = finetune(make("plain")).folder
    real = updates.train_step

    def killed(*args: Any, **kwargs: Any) -> Any:
        if args[5] == after:
            raise KeyboardInterrupt
        return real(*args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(updates, "train_step", killed)
        with pytest.raises(KeyboardInterrupt):
            finetune(make("killed"))
    folder = Path(make().output) / "killed"
    # What SIGKILL leaves: no farewell, and the last sample.
    told = {**status(folder), "state": "running"}
    (folder / "status.json").write_text(json.dumps(told))
    sample = {"time": told["heartbeat"], "resident_bytes": 20 * 2**30, "available_bytes": 2**28, "gpus": []}
    with (folder / "hardware.jsonl").open("a") as file:
        file.write(json.dumps(sample) + "\n")
    capsys.readouterr()
    resume(folder)
    said = capsys.readouterr().out
    assert "killed without a word, with 20.0 GiB in use" in said
    assert "128 tokens a pass instead of 256" in said
    assert_close(folder, plain)
    assert checkpoint.read_state(max((folder / "checkpoints").iterdir())).values["tokens_per_pass"] == 128
