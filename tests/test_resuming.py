"""A run that was stopped goes on to the same bits as one that never was; what has changed is named."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from lorafit import Recipe, finetune, hardware, load_recipe, resume
from lorafit.errors import RecipeError, RunError
from lorafit.observe.console import Console
from lorafit.run import LOCK
from lorafit.train import checkpoint, updates
from tests.conftest import metrics, status

CLOCK = ("tokens_per_second", "data_seconds", "memory_bytes", "peak_memory_bytes", "elapsed_seconds")
# Dropout, shuffling, packed rows, and updates that end in the middle of an epoch (5 updates each).
PARTS: dict[str, dict[str, Any]] = {
    "adapter": {"dropout": 0.2},
    "train": {"batch_size": 7, "epochs": 2.6, "validate_every": 2, "checkpoint_every": 3, "self_check": False},
    "evaluate": {"prompts": 0},
}


@pytest.fixture
def make(recipe: Callable[..., Recipe]) -> Callable[..., Recipe]:
    """make(name="x", train={...}): a recipe with PARTS, and what else is asked for."""

    def build(name: str = "run", **parts: dict[str, Any]) -> Recipe:
        merged = {part: {**PARTS.get(part, {}), **parts.get(part, {})} for part in {*PARTS, *parts}}
        return recipe(name=name, **merged)

    return build


@pytest.fixture
def stop(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """stop(after=4, by=SIGTERM) sends the signal in that update; stop() no more."""
    real = updates.train_step

    def at(after: int = 0, by: signal.Signals = signal.SIGINT, times: int = 1) -> None:
        def step(*args: Any, **kwargs: Any) -> Any:
            for _ in range(times if args[5] + 1 == after else 0):
                os.kill(os.getpid(), by)
            return real(*args, **kwargs)

        monkeypatch.setattr(updates, "train_step", step)

    return at


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What is made once: see `whole` and `half`."""
    return {"": tmp_path_factory.mktemp("runs")}


@pytest.fixture
def whole(make: Callable[..., Recipe], kept: dict[str, Path]) -> Path:
    """A run of 13 updates that was never stopped; only to be read."""
    if "whole" not in kept:
        kept["whole"] = kept[""] / "whole"
        finetune(make("whole")).folder.rename(kept["whole"])
    return kept["whole"]


@pytest.fixture
def half(
    make: Callable[..., Recipe], stop: Callable[..., None], llama: Path, kept: dict[str, Path], tmp_path: Path
) -> Iterator[Path]:
    """The same, stopped after 8 updates, with checkpoints after 6 and 8; base and rows are put back afterwards."""
    folder = kept[""]
    if "half" not in kept:
        shutil.copytree(llama, folder / "base")
        shutil.copyfile(tmp_path / "rows.json", folder / "rows.json")
        stop(after=8)
        recipe = make("half", model={"name": str(folder / "base")}, data={"train": str(folder / "rows.json")})
        kept["half"] = kept[""] / "half"
        finetune(recipe).folder.rename(kept["half"])
        stop()
    before = {path: path.read_bytes() for path in (folder / "rows.json", *(folder / "base").iterdir())}
    shutil.copytree(kept["half"], tmp_path / "half")
    yield tmp_path / "half"
    for path, content in before.items():
        path.write_bytes(content)


def lines(folder: Path) -> list[dict[str, Any]]:
    """metrics.jsonl without what a clock says."""
    return [{name: value for name, value in line.items() if name not in CLOCK} for line in metrics(folder)]


def newest(folder: Path) -> Path:
    return max((folder / "checkpoints").iterdir())


def assert_same_end(one: Path, other: Path, trained: str = "adapter/adapter_model.safetensors") -> None:
    assert lines(one) == lines(other)
    assert (one / trained).read_bytes() == (other / trained).read_bytes()
    assert newest(one).name == newest(other).name
    shards = sorted(path.name for path in newest(one).glob("training-*.safetensors"))
    assert shards
    for name in shards:
        ours, theirs = (checkpoint.read_state(newest(folder)) for folder in (one, other))
        for (a, x), (b, y) in zip(ours.tensors, theirs.tensors, strict=True):
            assert a == b and torch.equal(x, y), (name, a)
    for outcome in (ours.values["outcome"], theirs.values["outcome"]):
        outcome.pop("seconds")
    assert ours.values["outcome"] == theirs.values["outcome"]


@pytest.mark.parametrize("after", [1, 6, 9])
def test_a_stopped_run_ends_as_one_that_was_not(
    make: Callable[..., Recipe], stop: Callable[..., None], after: int, whole: Path
) -> None:
    """Bit-identical: adapter, optimizer, masters, generators, counters and metrics."""
    stop(after=after)
    half = finetune(make("half"))
    assert half.interrupted and half.outcome.update == after
    assert newest(half.folder).name == f"{after:06d}"
    stop()
    result = resume(half.folder)
    assert result.outcome.update == 13 and not result.interrupted
    assert status(half.folder)["state"] == "finished"
    assert_same_end(whole, half.folder)


@pytest.mark.parametrize(
    ("parts", "trained"),
    [
        ({"model": {"quantization": "nf4"}}, "adapter/adapter_model.safetensors"),
        ({"adapter": {"variant": "pissa"}}, "adapter/adapter_model.safetensors"),
        ({"adapter": {"train_bias": True, "train_norms": True}}, "adapter/adapter_model.safetensors"),
        ({"adapter": {"method": "none", "dropout": 0.0}, "model": {"dtype": "bfloat16"}}, "model/model.safetensors"),
        ({"model": {"dtype": "float16"}}, "adapter/adapter_model.safetensors"),
        ({"train": {"optimizer": "sgd"}}, "adapter/adapter_model.safetensors"),
    ],
    ids=["qlora", "pissa", "biases-and-norms", "full-bfloat16", "float16", "sgd"],
)
def test_every_method_goes_on(
    make: Callable[..., Recipe], stop: Callable[..., None], parts: dict[str, Any], trained: str
) -> None:
    parts = {**parts, "train": {**parts.get("train", {}), "max_updates": 7}}
    whole = finetune(make("whole", **parts))
    stop(after=5, by=signal.SIGTERM)
    half = finetune(make("half", **parts))
    assert half.interrupted and half.outcome.update == 5
    stop()
    resume(half.folder)
    assert_same_end(whole.folder, half.folder, trained)


def test_stopped_at_once_it_goes_on_from_the_last_checkpoint(
    make: Callable[..., Recipe], stop: Callable[..., None], whole: Path
) -> None:
    recipe = make("half")
    stop(after=8, times=2)
    with pytest.raises(KeyboardInterrupt):
        finetune(recipe)
    folder = Path(recipe.output) / "half"
    assert status(folder)["state"] == "interrupted" and newest(folder).name == "000006"
    stop()
    resume(folder)
    assert_same_end(whole, folder)


def test_stopped_before_the_first_checkpoint_it_begins_anew(
    make: Callable[..., Recipe], stop: Callable[..., None], whole: Path
) -> None:
    recipe = make("half")
    stop(after=2, times=2)
    with pytest.raises(KeyboardInterrupt):
        finetune(recipe)
    folder = Path(recipe.output) / "half"
    stop()
    resume(folder)
    assert_same_end(whole, folder)


def truncate(folder: Path) -> str:
    path = folder / "training-0000.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    return "bytes where"


def flip(folder: Path) -> str:
    path = folder / "training-0000.safetensors"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    return "its SHA-256 differs"


def halve(folder: Path) -> str:
    (folder / "manifest.json").unlink()
    return "it has no manifest.json"


def garble(folder: Path) -> str:
    (folder / "manifest.json").write_text('{"files": {"state.js')
    return "cannot be read"


@pytest.mark.parametrize("spoil", [truncate, flip, halve, garble])
def test_a_spoilt_checkpoint_is_named_and_the_one_before_taken(
    half: Path, whole: Path, spoil: Callable[[Path], str], capsys: Any
) -> None:
    said = spoil(newest(half))
    # What a process killed while writing leaves behind.
    (half / "checkpoints" / ".000009-killed").mkdir()
    capsys.readouterr()
    resume(half)
    out = capsys.readouterr().out
    assert "checkpoint 000008 is skipped" in out and said in out
    assert_same_end(whole, half)
    assert sorted(path.name for path in (half / "checkpoints").iterdir()) == ["000012", "000013"]


def test_when_no_checkpoint_is_whole_it_asks(half: Path, whole: Path) -> None:
    for path in (half / "checkpoints").iterdir():
        flip(path)
    with pytest.raises(RunError, match="--anyway begins anew"):
        resume(half)
    resume(half, anyway=True)
    assert_same_end(whole, half)


def files_of(folder: Path) -> Path:
    """Where base and rows of a run are."""
    return Path(load_recipe(folder / "recipe.yaml").data.train).parent


def other_rows(folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    path = files_of(folder) / "rows.json"
    path.write_text(path.read_text().replace("Where does 7 live?", "Where did 7 live?"))
    return r"the training rows are other ones \(.*rows.json"


def other_recipe(folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    path = folder / "recipe.yaml"
    path.write_text(path.read_text().replace("weight_decay: 0.0", "weight_decay: 0.1"))
    return r"train.weight_decay: 0.0 in the checkpoint, 0.1 in recipe.yaml"


def other_base(folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    path = files_of(folder) / "base" / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(content)
    return r"the base's model.safetensors is another one"


def other_version(folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    real = hardware.environment()
    changed = {**real, "packages": {**real["packages"], "peft": "0.99"}}
    monkeypatch.setattr(hardware, "environment", lambda: changed)
    return r"peft: .* then, 0.99 now"


def lost_lines(folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (folder / "metrics.jsonl").write_text("")
    return r"metrics.jsonl has 0 lines"


@pytest.mark.parametrize("change", [other_rows, other_recipe, other_base, other_version, lost_lines])
def test_what_has_changed_is_named_and_refused(
    half: Path, change: Callable[..., str], monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    message = change(half, monkeypatch)
    before = {path: path.stat().st_mtime_ns for path in half.rglob("*") if path.name != LOCK}
    with pytest.raises(RunError, match=message):
        resume(half)
    assert before == {path: path.stat().st_mtime_ns for path in half.rglob("*") if path.name != LOCK}
    capsys.readouterr()
    assert resume(half, anyway=True).outcome.update == 13
    assert "going on anyway" in capsys.readouterr().out


def test_other_threads_are_set_as_they_were(half: Path) -> None:
    path = newest(half) / "state.json"
    assert json.loads(path.read_text())["machine"]["threads"] == torch.get_num_threads() == 1
    torch.set_num_threads(2)
    try:
        resume(half)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(1)


def test_a_finished_run_is_made_longer(whole: Path, tmp_path: Path, capsys: Any) -> None:
    folder = shutil.copytree(whole, tmp_path / "longer")
    with pytest.raises(RunError, match="is finished, after 13 updates"):
        resume(folder)
    with pytest.raises(RecipeError, match=r"train.seed=3 would make another run"):
        resume(folder, ["train.seed=3", "train.epochs=3"])
    with pytest.raises(RunError, match="13 updates are done already, and the settings ask for 5"):
        resume(folder, ["train.epochs=1"])
    assert status(folder)["state"] == "finished"
    longer = resume(folder, ["train.epochs=4"], console=Console())
    assert "20 updates instead of 13" in capsys.readouterr().out.replace("\n", " ")
    assert longer.outcome.update == 20
    assert [line["update"] for line in metrics(folder) if "loss" in line] == list(range(1, 21))
    assert "epochs: 4" in (folder / "recipe.yaml").read_text()


def test_a_run_that_stopped_early_trains_on_with_more_patience(make: Callable[..., Recipe]) -> None:
    train = {"patience": 1, "learning_rate": 3.0, "validate_every": 1}
    result = finetune(make(train=train))
    assert result.outcome.stopped_early
    assert resume(result.folder, ["train.patience=99"]).outcome.update == 13


def test_a_run_killed_after_training_is_brought_to_its_end(
    make: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = make(evaluate={"prompts": 2})

    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("lorafit.pipeline.tuned_answers", killed)
        finetune(recipe)
    folder = Path(recipe.output) / "run"
    before = lines(folder)
    result = resume(folder)
    assert result.comparison is not None and "tuned" in result.comparison.answers
    assert lines(folder) == before


def test_the_second_process_is_refused_and_a_killed_one_lets_go(half: Path) -> None:
    code = f"""import fcntl, sys
file = open({str(half / LOCK)!r}, "a")
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()"""
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe, text=True) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        with pytest.raises(RunError, match="Another process works in"):
            resume(half)
        holder.kill()
    assert resume(half).outcome.update == 13


def test_a_checkpoint_that_does_not_fit_on_the_disk_does_not_stop_the_run(
    make: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch, whole: Path, capsys: Any
) -> None:
    real = checkpoint._write_tensors
    calls: list[int] = []

    def full(folder: Path, tensors: Any) -> None:
        calls.append(1)
        if len(calls) == 2:  # after update 6
            (folder / "training-0000.safetensors").write_bytes(b"half")
            raise OSError(28, "No space left on device")
        real(folder, tensors)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "_write_tensors", full)
        result = finetune(make("full", train={"keep_last": 99}))
    assert "no checkpoint after update 6, training goes on" in capsys.readouterr().out
    names = sorted(path.name for path in (result.folder / "checkpoints").iterdir())
    assert names == ["000003", "000009", "000012", "000013"]
    assert_same_end(whole, result.folder)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root writes into read-only folders")
def test_a_read_only_folder_is_said(half: Path) -> None:
    half.chmod(0o500)
    try:
        with pytest.raises(RunError, match="Could not write"):
            resume(half)
    finally:
        half.chmod(0o700)
    assert resume(half).outcome.update == 13


def test_never_writes_none_and_a_finished_run_without_one_says_so(make: Callable[..., Recipe]) -> None:
    result = finetune(make(train={"checkpoint_every": "never"}))
    assert not (result.folder / "checkpoints").exists()
    with pytest.raises(RunError, match="kept no checkpoint"):
        resume(result.folder, ["train.epochs=3"])
