"""Advice as a whole: on the built-in model and data, on made models that fit or do not, as recipe, JSON and table."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import transformers
import yaml
from rich.console import Console as Terminal
from rich.text import Text

from lorafit import builtin
from lorafit.advise import advice as room
from lorafit.advise import methods as asked
from lorafit.advise.advice import Advice, advice
from lorafit.advise.look import Base, Look, base_named, look_at
from lorafit.advise.methods import Method, best_adapter
from lorafit.advise.show import figure
from lorafit.advise.task import TASKS
from lorafit.advise.values import Basis, settings_for
from lorafit.advise.write import check_output, recipe_lines, write_recipe
from lorafit.cli import advise as verb
from lorafit.errors import DataError, DoesNotFit, PlanError, RecipeError
from lorafit.observe.console import Console
from lorafit.plan.devices import find_device
from lorafit.recipe import load_recipe

QUIET = Console(quiet=True)


@pytest.fixture(scope="module")
def found() -> Advice:
    return advice("builtin", "builtin", gpu="cpu 8GB")


@pytest.fixture(scope="module")
def look() -> Look:
    return look_at(["builtin"], base_named("builtin"), None, QUIET)


def basis(look: Look, task: str = "assistant", parameters: int = 7_000_000_000, **changed: Any) -> Basis:
    base = replace(base_named("builtin"), parameters=parameters, rank_weights=2_500_000, narrowest=1024)
    return Basis(base, replace(look, **changed), TASKS[task])


def values(basis: Basis, method: str = "lora") -> dict[str, Any]:
    return {setting.key: setting.value for setting in settings_for(basis, method)}


def test_every_setting_has_a_reason_and_a_source_and_the_figures_are_those_of_the_data(found: Advice) -> None:
    rows = len(json.loads(builtin.TRAIN.read_text(encoding="utf-8")))
    for setting in found.settings:
        assert setting.reason.endswith("."), setting
        assert setting.source.name
        assert setting.source.says
    reasons = {setting.key: setting.reason for setting in found.settings}
    assert f"{rows:,} dialogues" in reasons["data.train"]
    assert f"{rows:,} rows × 3 / 16 = {-(-rows // 16) * 3} updates" in reasons["train.batch_size"]
    chosen = next(method for method in found.methods if method.chosen)
    assert chosen.name == "lora"
    assert f"{chosen.trained:,} weights" in reasons["adapter.rank"]


def test_the_doctor_finds_nothing_against_it(found: Advice) -> None:
    assert found.warnings == ()


def test_the_recipe_file_is_the_recipe(found: Advice, tmp_path: Path) -> None:
    path = tmp_path / "建议 recipe.yaml"
    write_recipe(found, path)
    assert load_recipe(path) == found.recipe
    text = path.read_text(encoding="utf-8")
    for setting in found.settings:
        assert f"\n  {setting.key.partition('.')[2]}: " in text
        assert " ".join(setting.reason.split()[:4]) in text
    assert max(map(len, text.splitlines())) <= 120


def test_names_that_break_lines_or_mean_something_in_yaml_come_back(found: Advice, tmp_path: Path) -> None:
    name = "a: 'b'\n#c 数据.json"
    odd = tuple(
        replace(s, value=[name, "no"], reason=f"Of {name}.") if s.key == "data.train" else s for s in found.settings
    )
    lines = "\n".join(recipe_lines(replace(found, settings=odd, why_task=name), tmp_path / "r.yaml"))
    assert yaml.safe_load(lines)["data"]["train"] == [name, "no"]


def test_a_file_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    check_output(path, force=False)
    path.write_text("mine")
    with pytest.raises(RecipeError, match="--force"):
        check_output(path, force=False)
    check_output(path, force=True)
    with pytest.raises(RecipeError, match="no folder"):
        check_output(tmp_path / "none" / "recipe.yaml", force=True)


@pytest.mark.parametrize("width", [80, 140])
def test_the_table_keeps_within_the_terminal(found: Advice, width: int) -> None:
    terminal = Terminal(width=width, record=True, file=io.StringIO())
    terminal.print(figure(replace(found, why_task="数据" * 60)))
    lines = terminal.export_text().splitlines()
    assert max(Text(line).cell_len for line in lines) <= width
    for setting in found.settings:
        assert any(line.strip().startswith(setting.key) for line in lines), setting.key


def test_as_json(found: Advice) -> None:
    written = json.loads(json.dumps(found.to_json()))
    assert written["task"]["name"] == "assistant"
    assert {s["key"] for s in written["settings"]} >= {"adapter.rank", "train.learning_rate"}
    assert [m["chosen"] for m in written["methods"]].count(True) == 1


# ---------------------------------------------------------------- the values


def test_few_rows_make_smaller_batches_then_more_epochs(look: Look) -> None:
    few, many = values(basis(look, rows=40)), values(basis(look, rows=200_000))
    assert (few["train.batch_size"], few["train.epochs"]) == (4, 6)
    assert (many["train.batch_size"], many["train.epochs"]) == (16, 1)
    assert few["adapter.dropout"] == 0.1
    assert many["adapter.dropout"] == 0.0
    assert values(basis(look, rows=40, parameters=30_000_000_000))["adapter.dropout"] == 0.05
    assert (few["data.held_out"], many["data.held_out"]) == ("builtin", "builtin")
    own = values(basis(look, rows=200_000, files=("mine.json",)))
    assert own["data.held_out"] == 0.003
    assert values(basis(look, rows=8, files=("mine.json",)))["train.validate_every"] == "never"


@pytest.mark.parametrize(
    ("parameters", "rate"), [(3_000_000, 4e-3), (500_000_000, 3e-4), (7_000_000_000, 2e-4), (70_000_000_000, 1e-4)]
)
def test_the_learning_rate_follows_the_size(look: Look, parameters: int, rate: float) -> None:
    assert values(basis(look, parameters=parameters))["train.learning_rate"] == rate
    assert values(basis(look, parameters=parameters), "full")["train.learning_rate"] == pytest.approx(rate / 10)


def test_the_rank_is_what_the_data_can_feed_and_has_to_hold(look: Look) -> None:
    assert values(basis(look, "domain", supervised=10_000_000))["adapter.rank"] == 64
    assert values(basis(look, "domain", supervised=20_000))["adapter.rank"] == 16  # 64 would be 8,000 weights a token
    assert values(basis(look, supervised=300_000_000))["adapter.rank"] == 64  # 60 ranks of 5 million bits
    assert values(basis(look, supervised=10**12))["adapter.rank"] == 256
    assert values(basis(look, "classification"))["adapter.rank"] == 8
    narrow = basis(look, supervised=300_000_000)
    assert values(replace(narrow, base=replace(narrow.base, narrowest=24)))["adapter.rank"] == 16


def test_long_samples_are_bounded_and_what_becomes_of_them_is_said(look: Look) -> None:
    lengths = {"p50": 300, "p99": 3000, "max": 9000}
    base = basis(look, lengths=lengths)
    long = replace(base, base=replace(base.base, config=_context(8192)))
    assert values(long)["data.max_length"] == 3008
    assert values(long)["data.too_long"] == "drop"
    short = replace(base, base=replace(base.base, config=_context(1024)))
    assert values(short)["data.max_length"] == 1024
    texts = replace(short, look=replace(short.look, texts=True))
    assert values(texts)["data.too_long"] == "split"
    assert "evaluate.max_new_tokens" not in values(texts)


def _context(tokens: int) -> Any:
    config = base_named("builtin").config
    return replace(config, config=transformers.LlamaConfig(max_position_embeddings=tokens))


# ---------------------------------------------------------------- the methods


def method(name: str, verdict: Any = "yes", pace: float | None = 1.0, needed: int = 10) -> Method:
    return Method("m", name, verdict, needed, 100, 1, 1, None, pace, "none", 4096)


def test_the_plan_decides_between_16_and_4_bits() -> None:
    def best(*ways: Method) -> str | None:
        chosen = best_adapter(ways)
        return chosen.name if chosen else None

    assert best(method("lora", pace=1.1), method("qlora", pace=1.0)) == "lora"  # a tie
    assert best(method("lora", pace=1.4), method("qlora", pace=1.0)) == "qlora"
    assert best(method("lora", "no"), method("int8", pace=1.3), method("qlora")) == "qlora"
    assert best(method("lora", "no"), method("int8", "tight", needed=9), method("qlora", "tight")) == "int8"
    assert best(method("lora", "no"), method("qlora", "no"), method("full")) is None
    assert best(method("lora", pace=None), method("qlora", pace=None)) == "lora"


SHAPE = {
    "vocab_size": 2048,
    "num_hidden_layers": 2,
    "num_attention_heads": 8,
    "max_position_embeddings": 512,
}


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """Two folders with nothing but a config.json: bases of 28 and 105 million parameters."""
    for name, width in (("small", 1024), ("large", 2048)):
        transformers.LlamaConfig(**SHAPE, hidden_size=width, intermediate_size=3 * width).save_pretrained(
            tmp_path / name
        )
    return tmp_path


def test_a_larger_base_in_4_bits_beside_a_smaller_one_in_16(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = [method("lora", needed=40), method("qlora", pace=1.2, needed=20), method("full", "no")]
    large = [method("lora", "no"), method("qlora", pace=4.0, needed=60), method("full", "no")]
    planned = {str(made / "small"): small, str(made / "large"): large}
    monkeypatch.setattr(room, "plan_methods", lambda base, *asked: planned[base.name])
    found = advice(str(made / "small"), "builtin", gpu="8GB", larger=[str(made / "large")])
    assert [way.chosen for way in found.methods] == [False, False, False, False, True, False]
    assert found.recipe.model.quantization == "nf4"
    assert "takes 4 times the time" in found.choice
    assert found.recipe.model.name == str(made / "large")
    assert "only a comparison tells" in found.choice
    # Neither folder has a tokenizer: it is said who counted.
    assert any("built-in one counts" in note for note in found.notes)


def test_where_nothing_fits_it_is_said_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    planned = [method(name, "no", needed=2_000_000_000) for name in ("lora", "qlora", "int8", "full")]
    monkeypatch.setattr(room, "plan_methods", lambda *asked: planned)
    monkeypatch.setattr(room, "nearest", lambda *asked: ["QLoRA (4 bits) fits with data.max_length=64"])
    with pytest.raises(DoesNotFit, match=r"No method trains builtin on 0.6GB card") as caught:
        advice("builtin", "builtin", gpu="0.6GB")
    assert str(caught.value).endswith("fits with data.max_length=64")
    assert caught.value.exit_code == 3


def test_the_nearest_that_fits_is_searched_by_length_then_rank_then_model(look: Look, monkeypatch: Any) -> None:
    tried: list[tuple[int, int]] = []

    def fits(question: Any, rank: int, length: int) -> bool:
        tried.append((rank, length))
        return (rank, length) == (4, 64)

    monkeypatch.setattr(asked, "_fits", fits)
    job = basis(look, "assistant")
    found = asked.nearest(job.base, room.recipe_of(job, "qlora"), job.look.cut(128), find_device("8GB"))
    assert found == ["QLoRA (4 bits) fits with data.max_length=64 adapter.rank=4"]
    assert tried[:4] == [(16, 128), (16, 64), (4, 128), (4, 64)]


# ---------------------------------------------------------------- wrong input


def test_what_is_missing_or_unknown_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="Did you mean style"):
        advice("builtin", "builtin", task="stile")
    with pytest.raises(PlanError, match="no such device"):
        advice("builtin", "builtin", gpu="rtx9999x")
    with pytest.raises(PlanError, match="nowhere"):
        advice(str(tmp_path / "nowhere"), "builtin")
    with pytest.raises(DataError, match=r"missing\.json"):
        advice("builtin", str(tmp_path / "missing.json"))


def test_few_rows_are_warned_about(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "plan_methods", lambda *asked: [method("lora"), method("full")])
    rows = [{"instruction": f"Where does Mira live {i}?", "output": f"In Lund {i}."} for i in range(12)]
    (tmp_path / "few.json").write_text(json.dumps(rows))
    found = advice("builtin", str(tmp_path / "few.json"), gpu="cpu 8GB", task="style")
    assert any("12 rows are few" in warning for warning in found.warnings)
    assert found.why_task.startswith("as asked; the data looks like assistant")
    assert found.recipe.data.held_out == 0.0


def test_the_verb_writes_what_it_shows(
    found: Advice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import argparse

    parser = argparse.ArgumentParser()
    verb.add_parser(parser.add_subparsers())
    monkeypatch.setattr(room, "advice", lambda *asked: found)
    to, page = tmp_path / "recipe.yaml", tmp_path / "advice.json"
    args = parser.parse_args(
        ["advise", "--model", "builtin", "--data", "builtin", "--output", str(to), "--json", str(page)]
    )
    assert args.run(args) == 0
    assert "train with: lorafit train" in capsys.readouterr().out
    assert load_recipe(to) == found.recipe
    assert json.loads(page.read_text())["device"] == found.device
    with pytest.raises(RecipeError, match="--force"):
        args.run(args)


def test_a_base_is_measured_without_weights() -> None:
    base: Base = base_named("builtin")
    assert base.parameters == 3_279_104
    assert base.rank_weights * 16 == 286_720
    assert base.narrowest == 128


def test_a_known_shape_is_named_as_the_hub_has_it() -> None:
    assert base_named("llama-2-7b").name == "meta-llama/Llama-2-7b-hf"
