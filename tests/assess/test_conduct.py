from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.conftest import alpaca_rows

from lorafit import finetune
from lorafit.assess import conduct
from lorafit.assess.conduct import evaluate
from lorafit.assess.subject import subject_of
from lorafit.assess.wanted import Wanted
from lorafit.errors import AdapterError, DataError, LorafitError, RecipeError, RunError
from lorafit.observe.console import Console
from lorafit.recipe import Recipe

QUIET = Console(quiet=True)


def subject(path: Path, adapter: Path | None = None) -> Any:
    return subject_of(str(path), adapter, None, "auto", "none", False, QUIET)


def run_of(recipe: Callable[..., Recipe], **parts: Any) -> Path:
    return finetune(recipe(evaluate={"prompts": 0, "max_new_tokens": 8}, **parts)).folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    rows = [{**row, "kind": "zh" if i % 3 == 0 else "en"} for i, row in enumerate(alpaca_rows(12, start=100))]
    rows.append({**rows[0], "output": "another reference"})
    path = tmp_path / "test.json"
    path.write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    return path


@pytest.fixture
def general(tmp_path: Path) -> str:
    (tmp_path / "general.txt").write_text("One paragraph of text.\n\n" * 3 + "第二段文字。\n", encoding="utf-8")
    return str(tmp_path / "general.txt")


def read(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "evaluation.json").read_text())
    return found


def timeless(content: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in content.items() if key not in ("seconds", "made", "name")}


def scores(content: dict[str, Any], kind: str) -> dict[str, Any]:
    part = next(part for part in content["parts"] if part["kind"] == kind)
    return {row["name"]: {who: one["score"] for who, one in row["scores"].items()} for row in part["metrics"]}


def test_a_run_is_compared_with_its_base_and_goes_on_where_it_was_stopped(
    recipe: Callable[..., Recipe], data: Path, general: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_of(recipe)
    wanted = Wanted(data=[str(data)], category="kind", forgetting=general, metrics=["token_f1", "bleu"])
    folder = evaluate(subject(run), wanted, QUIET)
    content = read(folder)
    assert folder == run / "evaluation" / "test" and (folder / "report.html").is_file()
    assert content["speakers"] == ["base", "tuned"] and content["method"] == "LoRA"
    assert [part["kind"] for part in content["parts"]] == ["likelihood", "answers", "forgetting"]
    likely, answers, forgetting = content["parts"]
    assert (likely["rows"], answers["rows"], answers["questions"], forgetting["rows"]) == (13, 13, 12, 1)
    perplexity = scores(content, "likelihood")["perplexity"]
    assert perplexity["tuned"] < perplexity["base"]
    assert set(answers["categories"]) == {"en", "zh"} and set(scores(content, "answers")) == {"token_f1", "bleu"}

    # Stopped in the middle of every part: the same numbers.
    stops = iter([3, 5, 7, 11])

    def interrupted(name: str) -> Callable[..., Any]:
        original = getattr(conduct.Journal, name)
        left = [next(stops, 0)]

        def write(self: Any, number: int, result: dict[str, Any]) -> None:
            if left[0] == 0:
                raise KeyboardInterrupt
            left[0] -= 1
            original(self, number, result)

        return write

    for _ in range(4):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(conduct.Journal, "write", interrupted("write"))
            evaluate(subject(run), wanted, QUIET, name="stopped")
    kept = sum(
        len(path.read_text().splitlines()) for path in (run / "evaluation" / "stopped").rglob("??????????*/*.jsonl")
    )
    assert kept > 26
    resumed = read(evaluate(subject(run), wanted, QUIET, name="stopped"))
    assert scores(resumed, "answers") == scores(content, "answers")
    for name, found in scores(content, "likelihood").items():
        # Rows are packed with other neighbours, which changes the last digits.
        assert scores(resumed, "likelihood")[name] == pytest.approx(found, rel=1e-5)

    # Nothing is asked twice, and another evaluation is not mixed with it.
    with monkeypatch.context() as patch:
        patch.setattr(conduct, "answer", None)
        assert timeless(read(evaluate(subject(run), wanted, QUIET))) == timeless(content)
    data.write_text(json.dumps([{**row, "kind": "x"} for row in alpaca_rows(5)]), encoding="utf-8")
    with pytest.raises(RunError, match=r"01-answers-test\.json\.\n.*--restart"):
        evaluate(subject(run), wanted, QUIET)
    assert (
        read(evaluate(subject(run), Wanted(data=[str(data)], forgetting="none"), QUIET, restart=True))["parts"][0][
            "rows"
        ]
        == 5
    )


@pytest.mark.parametrize("method", ["full", "qlora"])
def test_the_base_is_the_one_that_was_trained(recipe: Callable[..., Recipe], data: Path, method: str) -> None:
    """Of a fully tuned model it is loaded anew; of QLoRA it is the quantised one."""
    parts: dict[str, Any] = {"adapter": {"method": "none"}, "train": {"learning_rate": 1e-3}}
    run = run_of(recipe, **(parts if method == "full" else {"model": {"quantization": "nf4"}}))
    held_out = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    losses = [line["held_out_loss"] for line in held_out if "held_out_loss" in line]
    content = read(evaluate(subject(run), Wanted(forgetting="none"), QUIET))
    assert content["method"] == {"full": "full fine-tuning", "qlora": "QLoRA (nf4)"}[method]
    perplexity = scores(content, "likelihood")["perplexity"]
    found = [torch.tensor(perplexity[who]).log().item() for who in ("base", "tuned")]
    assert found == pytest.approx([losses[0], min(losses)], rel=1e-4), (
        "the run's own held-out rows, scored as in the run"
    )


def test_a_task_and_a_model_that_is_no_run(
    llama: Path, recipe: Callable[..., Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.csv").write_text("q,a,b,right\n" + "".join(f"What is {i}?,one,two,{i % 2}\n" for i in range(6)))
    (tmp_path / "task.yaml").write_text(
        "name: toy\nversion: 1\nrecords: rows.csv\nprompt: '{{ q }} It is'\nchoices: ['{{ a }}', '{{ b }}']\n"
        "answer: '{{ right }}'\nmetrics: [accuracy]\n"
    )
    wanted = Wanted(tasks=["task.yaml"], forgetting="none")
    content = read(evaluate(subject(llama), wanted, QUIET))
    assert content["speakers"] == ["base"] and 0 <= scores(content, "choices")["accuracy"]["base"] <= 1
    with pytest.raises(RunError, match="--data FILE"):
        evaluate(subject(llama), Wanted(), QUIET)
    run = run_of(recipe)
    with_adapter = read(evaluate(subject(llama, run / "adapter"), wanted, QUIET))
    assert with_adapter["speakers"] == ["base", "tuned"]
    assert scores(with_adapter, "choices")["accuracy"]["base"] == scores(content, "choices")["accuracy"]["base"]


def test_an_adapter_of_another_base_is_refused(
    bases: Callable[[str], Path],
    recipe: Callable[..., Recipe],
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    run = run_of(recipe)
    wanted = Wanted(data=[str(data)], forgetting="none")
    with pytest.raises(AdapterError, match="adapter"):
        evaluate(subject(bases("gpt2"), run / "adapter"), wanted, QUIET)


def test_bad_input_is_said_before_a_model_is_loaded(
    recipe: Callable[..., Recipe], data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_of(recipe)
    monkeypatch.setattr("lorafit.assess.subject.open_run", None)
    empty = tmp_path / "empty.jsonl"
    empty.write_text('{"prompt": "a", "answer": ""}\n')
    cases: list[tuple[Wanted, type[LorafitError], str]] = [
        (Wanted(data=[str(tmp_path / "none.json")]), DataError, "none.json"),
        (Wanted(data=[str(data)], metrics=["blue"]), RecipeError, "did you mean bleu"),
        (Wanted(data=[str(data)], metrics=["json_schema"]), DataError, "--schema"),
        (Wanted(data=[str(data)], category="kid"), DataError, "no column 'kid'"),
        (Wanted(data=[str(empty)]), DataError, "row 1"),
        (Wanted(tasks=["mmul"]), RecipeError, "mmlu"),
        (Wanted(data=[str(data)], metrics=["accuracy"]), DataError, "one reference for each prompt"),
    ]
    for wanted, kind, message in cases:
        with pytest.raises(kind, match=message):
            evaluate(subject(run), wanted, QUIET)
    with pytest.raises(RunError, match="runs in"):
        subject(run.parent / "no-such-run")
