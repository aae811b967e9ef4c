"""What the worker answers: the same as the commands do, as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import transformers

from lorafit import builtin
from lorafit.errors import DataError, ModelError, PlanError
from lorafit.model import hub
from lorafit.plan import settle
from lorafit.plan.devices import find_device
from lorafit.plan.settle import Question
from lorafit.planning import question_of
from lorafit.studio import deskwork

ROWS = [{"instruction": f"What is {n} and {n}?", "output": f"It is {2 * n}."} for n in range(40)]


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in [*ROWS, {"instruction": "no answer"}]))
    return file


def test_a_base_without_its_weights() -> None:
    found = deskwork.model("builtin")
    assert json.loads(json.dumps(found)) == found
    assert (found["origin"], found["layers"], found["context"], found["here"]) == ("builtin", 4, 512, True)
    assert found["weights"] == sum(file.stat().st_size for file in builtin.MODEL.glob("*.safetensors"))
    assert found["looks"] == "a plain base" and found["evidence"] and found["template"]["name"] == "human-assistant"


def test_a_known_shape_whose_tokenizer_cannot_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: Any) -> Path:
        raise ModelError("the hub cannot be reached")

    monkeypatch.setattr(hub, "_from_hugging_face", unreachable)
    found = deskwork.model("smollm2-135m")
    assert found["name"] == "HuggingFaceTB/SmolLM2-135M", "as it can be downloaded"
    assert not found["here"] and found["weights"] == 2 * found["parameters"]
    assert found["template"] is None and found["reason"] == "the hub cannot be reached"
    with pytest.raises(PlanError, match="cannot be reached"):
        deskwork.model("somebody/something")


def test_a_folder_that_cannot_be_trained_is_refused(tmp_path: Path) -> None:
    transformers.LlamaConfig(num_hidden_layers=2).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"no \*\.safetensors"):
        deskwork.model(str(tmp_path))


def test_the_data_report_and_the_rows_that_are_left_out(rows: Path) -> None:
    found = deskwork.data("builtin", str(rows), held_out=0.1, epochs=2.0, batch_size=8)
    assert json.loads(json.dumps(found)) == found
    assert found["rejected"] == 1 and found["updates"]["epochs"] == 2.0 and found["held_out"] == 0.1
    (row,) = found["rejected_rows"]
    assert row["row"] == 41 and row["file"].endswith("rows.jsonl") and row["problem"]
    assert len(found["examples"]) <= deskwork.SAMPLES and found["examples"][0]["why"] == "the first"
    with pytest.raises(DataError, match=r"none\.json"):
        deskwork.data("builtin", str(rows.with_name("none.json")))


def test_a_plan_is_the_planners_and_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    deskwork._planned.cache_clear()
    settled = []

    def counted(question: Question) -> Any:
        settled.append(question)
        return settle.settle(question)

    monkeypatch.setattr(deskwork, "settle", counted)
    recipe = {"model": {"name": "builtin"}, "train": {"batch_size": 4}, "output": "runs"}
    quick = deskwork.plan(recipe, "rtx4090", changes=False)
    whole = deskwork.plan(recipe, "rtx4090", changes=True)
    assert len(settled) == 1 and "changes" not in quick and whole["changes"]
    assert {**quick, "changes": whole["changes"]} == whole and json.dumps(whole)
    assert whole["fits"] and whole["tokens"] == 4 * 512 and whole["assumptions"], "no data yet"
    assert whole["run_seconds"] is None and whole["tokens_per_second"][0] < whole["tokens_per_second"][1]
    (question,) = settled
    assert question == question_of(
        deskwork.parse_recipe({**recipe, "data": {"train": "none"}}),
        deskwork.config_of("builtin"),
        find_device("rtx4090"),
        None,
    )


def test_a_plan_of_data(rows: Path) -> None:
    recipe = {"model": {"name": "builtin"}, "data": {"train": str(rows), "bad_rows": "drop", "held_out": 0}}
    found = deskwork.plan(recipe, "rtx4090", changes=False)
    assert found["updates"] == 9 and found["run_seconds"] and not found["assumptions"]


def test_advice_of_known_data_is_the_advisers(rows: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Advised:
        def to_json(self) -> dict[str, Any]:
            return {"settings": []}

    def advised(*given: Any, console: Any) -> Advised:
        asked.append(given)
        return Advised()

    monkeypatch.setattr(deskwork, "advice", advised)
    assert deskwork.advise("builtin", str(rows), "24GB", None) == {"settings": []}
    assert asked == [("builtin", str(rows), "24GB", None)]
