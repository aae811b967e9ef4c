"""`lorafit plan`, and the plan that begins every run: what is printed, written, downloaded and refused."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from rich.console import Console as Terminal

from lorafit import Recipe, finetune, pipeline, planning, reading, settling
from lorafit.errors import DoesNotFit, PlanError
from lorafit.model import hub
from lorafit.observe.console import Console
from lorafit.plan import answer, settle, shapes
from lorafit.plan.devices import Device, find_device
from lorafit.plan.semantics import NOTES
from lorafit.plan.settle import Question
from lorafit.plan.ways import Ways
from lorafit.planning import plan_recipe
from lorafit.recipe import load_recipe

WIDE = transformers.LlamaConfig(
    hidden_size=512,
    intermediate_size=1408,
    num_hidden_layers=2,
    num_attention_heads=8,
    vocab_size=4000,
    max_position_embeddings=1024,
)


@pytest.fixture
def config_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with nothing but a config.json; a small model is not built for every question."""
    monkeypatch.setattr(settle, "ways_of", lambda config, remote_code: Ways(True, True, None))
    monkeypatch.setenv("COLUMNS", "160")
    WIDE.save_pretrained(tmp_path / "model")
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["config.json"]
    return tmp_path / "model"


def planned(model: Path | str, gpu: str, *overrides: str, **flags: Any) -> int:
    recipe = load_recipe(None, list(overrides), {"data.train": "none", "model.name": str(model)})
    given = dict.fromkeys(("with_data", "free_method", "fit", "table", "explain", "remote_code"), False)
    return plan_recipe(recipe, **{"gpu": gpu, "cards": None, "to": None, **given, **flags})


def test_a_plan_in_the_terminal_and_as_json(
    config_only: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    to = tmp_path / "plan.json"
    assert planned(config_only, "rtx4090", "train.batch_size=4", to=to, explain=True) == 0
    shown = capsys.readouterr().out
    content = json.loads(to.read_text())
    assert content["verdict"] == "yes" and content["settings"]["batch_size"] == 4
    assert content["tokens"] == 4 * 1024, "no longer than the model can read"
    assert sum(content["parts"].values()) == content["needed"]
    assert "fits on RTX 4090" in shown and "assumed: 4 examples of 1,024 tokens an update" in shown
    assert "tokens/s" in shown and "what would change it" in shown
    assert content["changes"] and all(set(c) >= {"sentence", "overrides", "saved"} for c in content["changes"])
    joined = " ".join(shown.split())
    for name, text in NOTES.items():
        assert " ".join(f"{name}: {text}".split()) in joined


def test_what_does_not_fit_is_exit_code_3(
    config_only: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "changes", lambda *_: ())
    assert planned(config_only, "0.6GB") == 3
    shown = capsys.readouterr().out
    assert "LoRA of model does not fit on 0.6GB card" in shown and "too much" in shown


def test_a_length_that_was_asked_for_is_not_cut(config_only: Path) -> None:
    with pytest.raises(PlanError, match="made for 1,024"):
        planned(config_only, "24GB", "data.max_length=2000")


def test_fit_keeps_to_what_the_user_set(
    config_only: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []

    def spied(question: Question, choices: Any, *rest: Any) -> Any:
        found.append(settle.best_fits(question, choices, *rest))
        return found[-1]

    monkeypatch.setattr(planning, "best_fits", spied)
    monkeypatch.setattr(planning, "changes", lambda *_: ())
    set_by_hand = ("train.recompute=layers", "train.tokens_per_pass=1024", "train.optimizer=adamw")
    assert planned(config_only, "24GB", *set_by_hand, "model.quantization=nf4", fit=True, free_method=True) == 0
    tried = {
        (c.choice.recompute, c.choice.tokens_per_pass, c.choice.optimizer, c.choice.quantization) for c in found[0]
    }
    assert tried == {("layers", 1024, "adamw", "nf4")}
    assert "the fastest that fit" in capsys.readouterr().out


def test_rank_and_length_are_changed_only_where_that_is_allowed(
    config_only: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "changes", lambda *_: ())
    fixed = ("train.recompute=layers", "train.optimizer=adamw", "model.quantization=none", "data.max_length=1024")
    planned(config_only, "0.6GB", *fixed, fit=True)
    assert "length" not in capsys.readouterr().out
    planned(config_only, "0.6GB", *fixed, fit=True, allow=("rank", "length"))
    shown = capsys.readouterr().out
    assert "length" in shown and " 256 " in shown and " 4 " in shown


def test_the_bar_of_a_search_ends_full(config_only: Path) -> None:
    moved: list[int] = []

    class Counting(Console):
        def working(self, what: str, total: int | None = None) -> Any:
            moved.append(-(total or 0))
            return super().working(what, total) if total is None else _Counter()

    class _Counter:
        def __enter__(self) -> Callable[[int], None]:
            return moved.append

        def __exit__(self, *_: Any) -> None: ...

    config = shapes.config_of(str(config_only))
    recipe = load_recipe(None, [], {"data.train": "none", "model.name": str(config_only)})
    question = Question(
        "tiny", config.config, recipe.model, recipe.adapter, recipe.train, find_device("24GB"), length=512
    )
    console = Counting(terminal=Terminal(file=io.StringIO()))
    planning._search(console, question, free_base=False)
    assert moved[0] < 0 and sum(moved) == 0 and min(moved[1:]) >= 0


def test_the_table_is_of_cards_whatever_is_at_hand(
    config_only: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = []

    def lines(job_of: Any, *rest: Any) -> Any:
        jobs.extend(job_of(method, 512, "layers") for method in ("full", "lora", "qlora"))
        return ()

    monkeypatch.setattr(planning, "table_lines", lines)
    assert planned(config_only, "cpu", table=True) == 0
    assert {(job.kind, job.dtype) for job in jobs} == {("cuda", torch.bfloat16)}
    assert [(job.adapter.method, job.quantization) for job in jobs] == [
        ("none", "none"),
        ("lora", "none"),
        ("lora", "nf4"),
    ]
    assert all(len(row.token_ids) == 512 for job in jobs for batch in job.updates for row in batch.rows)
    assert "24GB" in capsys.readouterr().out


def test_a_known_shape_downloads_nothing(
    config_only: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(*_: Any, **__: Any) -> Any:
        raise AssertionError("nothing is to be looked for")

    for module, name in ((hub, "_from_hugging_face"), (shapes, "find_config"), (reading, "find_description")):
        monkeypatch.setattr(module, name, refused)
    monkeypatch.setattr(planning, "changes", lambda *_: ())
    assert planned("Qwen/Qwen2.5-0.5B", "rtx4090", "train.tokens_per_pass=512", "train.recompute=none") == 0
    assert "Qwen2.5-0.5B: 24 layers, width 896, 494 M parameters" in capsys.readouterr().out


# ---------------------------------------------------------------- in a run


@pytest.fixture
def recipe(bases: Callable[[str], Path], data_file: Path, tmp_path: Path) -> Callable[..., Recipe]:
    def make(name: str | None = None, **train: Any) -> Recipe:
        content: dict[str, Any] = {
            "name": "run",
            "output": str(tmp_path / "runs"),
            "model": {"name": name or str(bases("even-llama")), "device": "cpu", "dtype": "float32"},
            "data": {"train": str(data_file), "held_out": 0},
            "adapter": {"rank": 4, "alpha": 8},
            "train": {"batch_size": 8, "max_updates": 1, "self_check": False, **train},
            "evaluate": {"prompts": 0},
            "observe": {"console": False},
        }
        return Recipe.model_validate(content)

    return make


def without_allowance(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the heap may take is more than all that this base needs."""
    monkeypatch.setattr(answer, "HEAP_LEAST", 0)
    monkeypatch.setattr(answer, "HEAP_SHARE", 0.0)


def test_a_run_that_cannot_fit_ends_before_anything_is_made(
    recipe: Callable[..., Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Asked(Exception):
        pass

    def stopped(question: Question) -> Any:
        raise Asked(question)

    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError("weights are not to be loaded")

    without_allowance(monkeypatch)
    monkeypatch.setattr(pipeline, "find_model", never)
    monkeypatch.setattr(pipeline, "load_base", never)
    by_hand = recipe(tokens_per_pass=256, recompute="none")
    with monkeypatch.context() as patched, pytest.raises(Asked) as asked:
        patched.setattr(settling, "settle", stopped)
        finetune(by_hand)
    question: Question = asked.value.args[0]
    kept, again = (question.plan(replace(question.start(), recompute=r)).needed for r in ("none", "layers"))
    small = Device("a small CPU", "cpu", kept - 1, None, None, False, 0, "made up", free_bytes=kept - 1)
    assert again < answer.PLAIN_SHARE * small.memory_bytes
    monkeypatch.setattr(settling, "find_device", lambda kind: small)
    with pytest.raises(DoesNotFit, match="are free on a small CPU") as refused:
        finetune(by_hand)
    assert refused.value.exit_code == 3
    assert "train.recompute=" in str(refused.value) and "less; fits)" in str(refused.value)
    assert not (tmp_path / "runs").exists()
    # With the same memory and nothing set by hand it runs.
    monkeypatch.undo()
    without_allowance(monkeypatch)
    monkeypatch.setattr(settling, "find_device", lambda kind: small)
    result = finetune(recipe())
    settled = load_recipe(str(result.folder / "recipe.yaml"))
    plan = json.loads((result.folder / "plan.json").read_text())
    assert plan["verdict"] == "yes" and plan["budget"] == small.memory_bytes
    assert settled.train.recompute == plan["settings"]["recompute"]
    assert settled.train.tokens_per_pass == plan["settings"]["tokens_per_pass"]
    assert settled.train.batch_size == 8


def test_nothing_that_would_help_is_said_too() -> None:
    plan = answer.Plan(
        model="tiny", device="a card", method="LoRA", settings={"tokens_per_pass": 256, "recompute": "layers"},
        verdict="no", needed=3 * 10**9, budget=10**9, peak=1, phase="forward", operation="mm", parts={}, reserved=None,
        retries=0, trained=1, parameters=1, tokens=1, updates=None, update_seconds=None, paged=0, host=0,
        assumptions=(), versions={},
    )  # fmt: skip
    told = settling._what_would_fit(plan, ())
    assert "needs 3.00 GB, and 1.00 GB are free" in told and "256 tokens a pass, recompute layers" in told
    assert "No single setting is enough" in told


def test_weights_are_fetched_after_the_plan(
    recipe: Callable[..., Recipe], bases: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, description = bases("even-llama"), tmp_path / "description"
    shutil.copytree(whole, description, ignore=shutil.ignore_patterns(hub.WEIGHTS))
    fetched: list[str] = []

    def fetch(name: str, revision: str | None, wanted: list[str]) -> Path:
        assert name == "someone/tiny"
        fetched.append("weights" if hub.WEIGHTS in wanted else "description")
        return whole if hub.WEIGHTS in wanted else description

    planning_begins = settling.settle

    def spied(question: Question) -> Any:
        fetched.append("planned")
        return planning_begins(question)

    monkeypatch.setattr(hub, "_from_hugging_face", fetch)
    monkeypatch.setattr(settling, "settle", spied)
    finetune(recipe("someone/tiny"))
    assert fetched == ["description", "planned", "weights"]
