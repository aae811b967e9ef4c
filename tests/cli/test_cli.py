"""The command line as a user types it: what is printed, exit codes, and one clear message for each wrong input."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import alpaca_rows

from lorafit.cli.main import main
from lorafit.recipe import settings_table


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, as wide as a wide terminal."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


def write_rows(folder: Path, count: int = 30) -> Path:
    path = folder / "rows.json"
    path.write_text(json.dumps(alpaca_rows(count), ensure_ascii=False), encoding="utf-8")
    return path


SMALL = ["train.epochs=1", "train.batch_size=8", "evaluate.prompts=2", "evaluate.max_new_tokens=4", "data.held_out=0.2"]


def test_from_a_file_to_a_merged_model(
    llama: Path, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_rows(folder, 40)
    train = [
        "train",
        "--model",
        str(llama),
        "--data",
        "rows.json",
        "--method",
        "qlora",
        "--name",
        "first",
        "--rank",
        "4",
    ]
    assert main([*train[:1], *SMALL, *train[1:]]) == 0
    shown = capsys.readouterr().out
    for text in (
        "4 bits (nf4, double quantisation)",
        "parameters are trained",
        "update 4/4",
        "held-out loss after update 4",
        "tuned",
        "run folder: runs/first",
        "next: lorafit chat runs/first",
    ):
        assert text in shown, text
    assert "\x1b[" not in shown, "plain text when piped"
    assert main(["train", "runs/first/recipe.yaml", "name=second", "train.max_updates=1"]) == 0
    monkeypatch.setattr(
        "sys.stdin", io.StringIO("/help\nWhere does 1 live?\n/base\nWhere does 1 live?\n/tuned\n/new\n/quit\n")
    )
    assert main(["chat", "runs/first", "--max-new-tokens", "4"]) == 0
    shown = capsys.readouterr().out
    assert "base:" in shown and "tuned:" in shown and "a new conversation" in shown
    assert main(["export", "runs/first", "--to", "merged", "--output", "out"]) == 0
    shown = capsys.readouterr().out
    assert "self-check, transformers:" in shown and "on 16 prompts are the same" in shown
    assert (folder / "out" / "model.safetensors").is_file()


def test_a_recipe_file_with_overrides(llama: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_rows(folder)
    (folder / "recipe.yaml").write_text(f"model: {{name: {llama}}}\ndata: {{train: rows.json}}\nname: mine\n")
    assert main(["train", "recipe.yaml", *SMALL, "train.max_updates=1"]) == 0
    assert "run folder: runs/mine" in capsys.readouterr().out
    assert main(["train", "runs/mine/recipe.yaml", "--rank", "2", "train.max_updates=1"]) == 0, "a flag, then a pair"
    assert len(list((folder / "runs").iterdir())) == 2, "the recipe of a run makes a run of another name"


def test_unknown_words_are_refused() -> None:
    for line in ("train --model a --rnak 3", "chat runs/a b=c", "chat a --max-new-tokens 0"):
        with pytest.raises(SystemExit) as end:
            main(line.split())
        assert end.value.code == 2


def test_data_shows_what_is_trained_on(llama: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_rows(folder)
    assert main(["data", "rows.json", "--model", str(llama), "--samples", "1"]) == 0
    shown = capsys.readouterr().out
    assert "30 samples" in shown
    assert "Human: 0住在哪里?\n请用中文回答。\n\nAssistant:⟦ 0住在柳树街。<|endoftext|>⟧" in shown


def test_data_writes_its_report_from_a_tokenizer_alone(
    tokenizer: Any, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_rows(folder)
    tokenizer.save_pretrained(folder / "words-chat")
    (folder / "<b>更多.jsonl").write_text('{"instruction": "谁?", "output": "<i>米拉</i>"}\n', encoding="utf-8")
    words = ["data", "rows.json", "<b>更多.jsonl", "--model", "words-chat", "--held-out", "0.2", "--samples", "3"]
    assert main([*words, "--json", "out.json", "--html", "out.html", "--batch-size", "4", "--epochs", "2"]) == 0
    shown = capsys.readouterr().out
    report = json.loads((folder / "out.json").read_text(encoding="utf-8"))
    kept = report["kept"]
    assert report["rows"] == 31 and kept["training"] + kept["held_out"] == 31 and kept["held_out"] > 0
    updates = report["updates"]
    assert updates["count"] == round(-(-kept["training"] // 4) * 2)
    assert f"{updates['count']} updates. Fewer than 40 hardly change a model." in shown
    assert report["base"]["looks"] == "instruction-tuned" and len(report["examples"]) == 3
    assert shown.index("warning: ") < shown.index("read from"), "problems come first"
    page = (folder / "out.html").read_text(encoding="utf-8")
    assert "&lt;b&gt;更多.jsonl" in page and "<b>更多" not in page
    assert "data.template=FILE.jinja" in page and "<script" not in page


def test_help_lists_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["train", "--help"])
    assert end.value.code == 0
    shown = capsys.readouterr().out
    for name, _, text in settings_table():
        assert name in shown and text.split()[0] in shown


# What is typed (after writing the file), and what must be in the one message.
WRONG = {
    "missing file": ("", ["--data", "nothing.json"], ["No data file nothing.json"]),
    "empty file": ("", ["--data", "bad.json"], ["bad.json is empty"]),
    "broken JSON on row 7": (
        "\n".join([*(json.dumps(row) for row in alpaca_rows(6)), '{"instruction": "a", "output"'] * 1),
        ["--data", "bad.json"],
        ["bad.json, row 7: broken JSON at line 7"],
    ),
    "a row without output": (
        json.dumps([{"instruction": "a", "output": "b"}, {"instruction": "c"}]),
        ["--data", "bad.json"],
        ["1 of 2 rows cannot be used", "bad.json, row 2, field 'output': missing"],
    ),
    "all labels masked": (
        json.dumps([{"instruction": "a " * 300, "output": "b"}] * 2),
        ["--data", "bad.json", "--max-length", "32", "--held-out", "0"],
        ["no sample has a token to train on", "Raise data.max_length"],
    ),
    "unknown key": ("", ["--data", "rows.json", "adapter.rnak=4"], ["adapter.rnak: unknown key", "adapter.rank"]),
    "rank 0": ("", ["--data", "rows.json", "--rank", "0"], ["adapter.rank: found 0", "greater than or equal to 1"]),
    "no target": (
        "",
        ["--data", "rows.json", "--targets", "qkv"],
        ["'qkv' matches none of the linear layers", "model.layers.*.self_attn.q_proj"],
    ),
    "unknown optimizer": ("", ["--data", "rows.json", "train.optimizer=adamv"], ["train.optimizer: found 'adamv'"]),
    "a broken device": ("", ["--data", "rows.json", "model.device=cpu:x"], ["'cpu:x' was asked for"]),
    "full on 4 bits": (
        "",
        ["--data", "rows.json", "--method", "full", "model.quantization=nf4"],
        ["one fault", "full fine-tuning"],
    ),
    "a name that is no folder": (
        "",
        ["--data", "rows.json", "--name", ".."],
        ["name: found '..'; a run's name becomes a folder"],
    ),
    "rows inside an object": (
        json.dumps({"data": [{"instruction": "a", "output": "b"}], "more": [{"instruction": "c"}]}, indent=1),
        ["--data", "bad.json"],
        ["'data'", "'more'"],
    ),
    "unknown device": ("", ["--data", "rows.json", "model.device=tpu"], ["'tpu' was asked for", "cpu"]),
    "8-bit Adam on the CPU": (
        "",
        ["--data", "rows.json", "train.optimizer=adamw-8bit", "model.device=cpu"],
        ["adamw-8bit", "this run is on cpu"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input_gives_one_message_and_exit_code_2(
    llama: Path, folder: Path, capsys: pytest.CaptureFixture[str], case: str
) -> None:
    content, words, messages = WRONG[case]
    write_rows(folder)
    (folder / "bad.json").write_text(content)
    overrides = [word for word in words if "=" in word]
    flags = [word for word in words if "=" not in word]
    assert main(["train", *overrides, *flags, "--model", str(llama)]) == 2
    shown = capsys.readouterr()
    for message in messages:
        assert message.lower() in shown.err.lower(), shown.err
    assert not (folder / "runs").exists(), "nothing was made"
    assert "Traceback" not in shown.err + shown.out


def test_a_pickle_only_model_folder(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_rows(folder)
    (folder / "pickled").mkdir()
    (folder / "pickled" / "config.json").write_text("{}")
    (folder / "pickled" / "pytorch_model.bin").write_bytes(b"\x80")
    assert main(["train", "--model", "pickled", "--data", "rows.json"]) == 2
    assert "only as pickle (pytorch_model.bin)" in capsys.readouterr().err


def test_all_faults_of_a_recipe_come_together(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "recipe.yaml").write_text("model: {quantisation: nf4}\nadapter: {rank: 0}\ntrain: {epoch: 3}\n")
    assert main(["train", "recipe.yaml"]) == 2
    shown = capsys.readouterr().err
    for text in (
        "5 faults in recipe.yaml",
        "model.name: missing",
        "data.train: missing",
        "model.quantization",
        "train.epochs",
    ):
        assert text in shown, shown


def test_nothing_to_train(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train"]) == 2
    assert "Nothing to train" in capsys.readouterr().err


@pytest.mark.parametrize("verb", [["chat"], ["export", "--to", "merged"]])
def test_a_missing_run_names_those_there_are(verb: list[str], folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "runs" / "other").mkdir(parents=True)
    (folder / "runs" / "other" / "status.json").write_text("{}")
    assert main([verb[0], "runs/none", *verb[1:]]) == 2
    assert "runs in runs: other" in capsys.readouterr().err
