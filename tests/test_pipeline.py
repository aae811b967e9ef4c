"""The whole pipeline on tiny models: from a data file to a run folder, and what can be done with it."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from lorafit import Recipe, finetune, load_recipe, open_run, pipeline
from lorafit.errors import DataError, LorafitError, ModelError, RunError, TrainingError
from lorafit.export import check
from lorafit.export.worker import answered
from lorafit.exporting import Options, export
from lorafit.infer.chat import Chat
from lorafit.observe.console import Console
from lorafit.opened import locate_run
from lorafit.run import LOCK
from lorafit.train import updates
from tests.conftest import alpaca_rows, metrics, status


def test_a_run_leaves_a_whole_folder(recipe: Callable[..., Recipe]) -> None:
    result = finetune(recipe(adapter={"dropout": 0.1}, evaluate={"shots": 2}))
    names = {p.name for p in result.folder.iterdir()}
    assert names == {
        "recipe.yaml", "environment.json", "data.json", "plan.json", "template.jinja", "metrics.jsonl", "status.json",
        "adapter", "self_check", "evaluation", "checkpoints", ".lock", "findings.json", "hardware.jsonl",
        "tensorboard", "report.html",
    }  # fmt: skip
    lines = metrics(result.folder)
    updates = [line for line in lines if "loss" in line]
    assert [line["update"] for line in updates] == list(range(1, result.outcome.updates + 1))
    assert set(updates[0]) == {
        "update", "epoch", "loss", "learning_rate", "gradient_norm", "tokens", "computed_tokens",
        "supervised_tokens", "applied", "data_seconds", "tokens_per_second", "memory_bytes", "peak_memory_bytes",
        "elapsed_seconds",
    }  # fmt: skip
    held_out = [line for line in lines if "held_out_loss" in line]
    assert held_out[0]["update"] == 0 and held_out[-1]["update"] == result.outcome.updates
    assert min(line["held_out_loss"] for line in held_out) == result.outcome.best_held_out
    assert result.outcome.best_held_out < held_out[0]["held_out_loss"]
    assert status(result.folder)["state"] == "finished"
    assert result.comparison is not None
    assert list(result.comparison.answers) == ["base", "base + 2 shots", "tuned"]
    for name in ("environment.json", "data.json", "status.json"):
        assert json.loads((result.folder / name).read_text())["schema"] == 1


def test_the_self_check_is_on_record_and_can_be_left_out(recipe: Callable[..., Recipe]) -> None:
    result = finetune(recipe(train={"max_updates": 1}, evaluate={"prompts": 0}))
    check = json.loads((result.folder / "self_check" / "step.json").read_text())
    assert check["schema"] == 1 and check["gradients"] < 1e-4
    without = finetune(recipe(name="without", train={"max_updates": 1, "self_check": False}, evaluate={"prompts": 0}))
    assert not (without.folder / "self_check" / "step.json").exists()
    assert metrics(result.folder)[1]["loss"] == metrics(without.folder)[1]["loss"], "the check changes nothing"


def test_running_the_resolved_recipe_again_repeats_the_run(recipe: Callable[..., Recipe]) -> None:
    """Bit-identical on the same machine, dropout and shuffling included."""
    first = finetune(recipe(adapter={"dropout": 0.2}))
    again = load_recipe(first.folder / "recipe.yaml", ["name=again"])
    second = finetune(again)
    for one, other in zip(metrics(first.folder), metrics(second.folder), strict=True):
        for name in ("update", "loss", "held_out_loss", "gradient_norm", "learning_rate"):
            assert one.get(name) == other.get(name)
    file = Path("adapter") / "adapter_model.safetensors"
    assert (first.folder / file).read_bytes() == (second.folder / file).read_bytes()


@pytest.mark.parametrize("method", ["lora", "qlora", "int8", "full"])
def test_every_method_trains_chats_and_exports(
    recipe: Callable[..., Recipe], method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    quantization = {"qlora": "nf4", "int8": "int8"}.get(method, "none")
    adapter = {"method": "none"} if method == "full" else {}
    result = finetune(recipe(model={"quantization": quantization}, adapter=adapter, evaluate={"prompts": 2}))
    assert result.outcome.best_held_out < result.outcome.first_held_out
    opened = open_run(result.folder)
    target = result.folder / "export" / "merged"
    assert result.comparison is not None
    asked = result.comparison.questions[0].asked
    chat = Chat(opened.model, opened.renderer, max_new_tokens=8)
    assert chat.say(asked) == result.comparison.answers["tuned"][0].text, "a run opens as what was trained"
    if opened.has_base_below:
        chat.restart()
        chat.tuned = False
        assert chat.say(asked) == result.comparison.answers["base"][0].text
    monkeypatch.setattr(check, "ask_fresh_process", answered)
    merged = export(locate_run(result.folder), Options(), target, Console(quiet=True))
    assert merged.form == "float32" and merged.figures["within_tolerance"] and merged.figures["prompts"] == 16


def test_early_stopping_checkpoints_and_the_best_is_kept(recipe: Callable[..., Recipe]) -> None:
    train = {
        "validate_every": 1,
        "patience": 2,
        "learning_rate": 3.0,
        "epochs": 10,
        "checkpoint_every": 1,
        "keep_last": 99,
    }
    result = finetune(recipe(train=train, evaluate={"prompts": 0}))
    assert result.outcome.stopped_early
    copies = sorted(p.name for p in (result.folder / "checkpoints").iterdir())
    assert copies == [f"{n + 1:06d}" for n in range(result.outcome.update)]
    best = result.outcome.best_update or result.outcome.update
    file = "adapter_model.safetensors"
    kept = (result.folder / "adapter" / file).read_bytes()
    assert kept == (result.folder / "checkpoints" / f"{best:06d}" / file).read_bytes()
    open_run(result.folder, checkpoint=1)


def test_an_existing_name_is_never_overwritten(recipe: Callable[..., Recipe]) -> None:
    result = finetune(recipe(evaluate={"prompts": 0}, train={"max_updates": 1}))
    before = (result.folder / "metrics.jsonl").read_bytes()
    with pytest.raises(RunError, match="exists already"):
        finetune(recipe())
    assert (result.folder / "metrics.jsonl").read_bytes() == before


def test_an_interrupt_saves_and_says_so(recipe: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch) -> None:
    real = updates.train_step

    def interrupted(*args: Any, **kwargs: Any) -> Any:
        if args[5] == 2:  # the third update
            os.kill(os.getpid(), signal.SIGINT)
        return real(*args, **kwargs)

    monkeypatch.setattr(updates, "train_step", interrupted)
    result = finetune(recipe(train={"epochs": 20}))
    assert result.interrupted and result.outcome.update == 3
    assert status(result.folder)["state"] == "interrupted"
    assert len([line for line in metrics(result.folder) if "loss" in line]) == 3
    open_run(result.folder)


def test_a_second_interrupt_stops_at_once(recipe: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch) -> None:
    def twice(*args: Any, **kwargs: Any) -> Any:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(updates, "train_step", twice)
    made = recipe()
    with pytest.raises(KeyboardInterrupt):
        finetune(made)
    assert status(Path(made.output) / "run")["state"] == "interrupted"


def test_a_loss_that_is_not_finite_stops_the_run(recipe: Callable[..., Recipe]) -> None:
    made = recipe(train={"learning_rate": 1e30, "optimizer": "sgd", "max_gradient_norm": 0, "epochs": 20})
    with pytest.raises(TrainingError, match="training stops"):
        finetune(made)
    assert status(Path(made.output) / "run")["state"] == "failed"


def test_a_forward_that_overflows_in_float16_stops_the_run(
    bases: Callable[[str], Path], recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    model = transformers.AutoModelForCausalLM.from_pretrained(bases("llama"), dtype=torch.float32)
    with torch.no_grad():
        model.model.layers[0].mlp.down_proj.weight.mul_(1e6)
    model.save_pretrained(tmp_path / "large")
    transformers.AutoTokenizer.from_pretrained(bases("llama")).save_pretrained(tmp_path / "large")
    made = {"name": str(tmp_path / "large"), "dtype": "float16"}
    with pytest.raises(TrainingError, match="does not compute in this dtype"):
        finetune(recipe(model=made, evaluate={"prompts": 0}))
    with pytest.raises(TrainingError, match="training stops"):
        finetune(
            recipe(
                name="two",
                model=made,
                evaluate={"prompts": 0},
                data={"held_out": 0.0},
                train={"self_check": False},
            )
        )


def test_gpt2_with_long_rows_is_bounded_to_its_positions(
    bases: Callable[[str], Path], recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    rows = [{"instruction": f"{n} " + "word " * 100 * (n % 5), "output": "answer " * 20} for n in range(20)]
    (tmp_path / "long.json").write_text(json.dumps(rows))
    result = finetune(
        recipe(
            model={"name": str(bases("gpt2"))},
            data={"train": str(tmp_path / "long.json"), "held_out": 0.3},
            evaluate={"shots": 3, "max_new_tokens": 64},
        )
    )
    assert json.loads((result.folder / "data.json").read_text())["max_length"] == 256
    assert status(result.folder)["state"] == "finished"


def test_the_resolved_recipe_names_what_was_chosen(recipe: Callable[..., Recipe]) -> None:
    made = recipe(model={"dtype": "auto"}, train={"max_updates": 1, "tokens_per_pass": "auto"}, evaluate={"prompts": 0})
    resolved = load_recipe(finetune(made).folder / "recipe.yaml")
    assert resolved.model.dtype in ("float32", "bfloat16")
    assert resolved.train.tokens_per_pass == 2048


def test_a_full_disk_is_said_and_nothing_is_half_written(
    recipe: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: Any, **kwargs: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("peft.PeftModel.save_pretrained", full)
    made = recipe()
    with pytest.raises(RunError, match="No space left"):
        finetune(made)
    folder = Path(made.output) / "run"
    assert status(folder)["state"] == "failed"
    assert not (folder / "adapter").exists()
    assert not [p for p in folder.iterdir() if p.name.startswith(".") and p.name != LOCK]


def test_bad_input_stops_before_a_folder_is_made(recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    broken = tmp_path / "broken.json"
    rows: list[dict[str, str]] = alpaca_rows(8)
    del rows[3]["output"]
    broken.write_text(json.dumps(rows))
    masked = tmp_path / "masked.json"
    masked.write_text(json.dumps([{"instruction": "word " * 200, "output": "a"}]))
    for data, message in (
        ({"train": str(broken)}, r"broken.json, row 4, field 'output': missing"),
        ({"train": str(masked), "held_out": 0.0, "max_length": 16}, "no sample has a token to train on"),
        ({"train": str(tmp_path / "none.json")}, "No data file"),
    ):
        with pytest.raises(DataError, match=message):
            finetune(recipe(data=data))
    with pytest.raises(ModelError, match="no folder"):
        finetune(recipe(model={"name": "./nowhere"}))
    assert not (tmp_path / "runs").exists()


def test_dropped_rows_are_counted_and_kept_aside(recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    file = tmp_path / "some.json"
    rows: list[dict[str, str]] = alpaca_rows(12)
    rows[4]["output"] = ""
    file.write_text(json.dumps(rows))
    result = finetune(recipe(data={"train": str(file), "bad_rows": "drop"}, evaluate={"prompts": 0}))
    (rejected,) = [json.loads(line) for line in (result.folder / "rejected.jsonl").read_text().splitlines()]
    assert (rejected["row"], rejected["field"]) == (5, "output")
    assert json.loads((result.folder / "data.json").read_text())["rejected"] == 1


def test_a_run_without_weights_says_its_state(recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    result = finetune(recipe(evaluate={"prompts": 0}, train={"max_updates": 1}))
    with pytest.raises(LorafitError, match="holds no trained weights at 000007"):
        open_run(result.folder, checkpoint=7)


@pytest.mark.parametrize(
    ("wanted", "worth", "compiled"),
    [("never", 0, False), ("always", 600, True), ("auto", 600, False), ("auto", 0, True)],
)
def test_compiling_is_for_long_runs(
    recipe: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch, wanted: str, worth: float, compiled: bool
) -> None:
    asked: list[bool] = []
    right = pipeline.fuse

    def asking(model: Any, compile: bool) -> Any:
        asked.append(compile)
        return right(model, compile=False)

    monkeypatch.setattr(pipeline, "fuse", asking)
    monkeypatch.setattr(pipeline, "WORTH_COMPILING", worth)
    finetune(recipe(train={"compile": wanted, "max_updates": 1}, evaluate={"prompts": 0}))
    assert asked == [compiled]


def test_a_shared_prompt_is_found_said_and_changes_nothing(
    recipe: Callable[..., Recipe], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same run with and without sharing: losses within 1e-5 (float32)."""
    path = tmp_path / "support.json"
    system = "You answer for the harbour office, briefly and kindly. " * 3
    rows = [{"system": system, **row} for row in alpaca_rows(24)]
    path.write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    losses = {}
    for share in (True, False):
        parts = {"train": {"share_prefixes": share, "tokens_per_pass": 2048, "epochs": 1, "learning_rate": 1e-3}}
        made = recipe(data={"train": str(path)}, observe={"console": True}, name=f"share-{share}", **parts)
        updates = [line for line in metrics(finetune(made).folder) if "loss" in line]
        said = "% of tokens shared" in capsys.readouterr().out
        fewer = [line["computed_tokens"] < 0.6 * line["tokens"] for line in updates]
        assert said is share and all(f is share for f in fewer)
        losses[share] = [line["loss"] for line in updates]
    assert losses[True] == pytest.approx(losses[False], rel=1e-5)
