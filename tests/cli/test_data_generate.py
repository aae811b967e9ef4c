"""lorafit data generate as a user types it, against a server of our own and the built-in model."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.data.generate.server import Server, serving

from lorafit import builtin
from lorafit.cli import data_generate
from lorafit.errors import DataError, RecipeError


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv(data_generate.KEY, raising=False)
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "town.md").write_text("# Harbour\n\nThe harbour has 12 boats.\n\n# Mill\n\nThe mill has 3 wheels.\n")
    (docs / "小镇.md").write_text("# 米拉\n\n米拉住在柳树街，她有一只猫。\n", encoding="utf-8")

    def write(body: dict[str, Any]) -> str:
        asked = body["messages"][-1]["content"]
        if "米拉" in asked:
            return '好的：\n```json\n[{"question": "米拉住在哪里？", "answer": "米拉住在柳树街。"}]\n```'
        number, thing = ("12", "boats") if "boats" in asked else ("4", "wheels")
        return json.dumps([{"question": f"How many {thing} are there?", "answer": f"There are {number}."}])

    with serving(write) as server:
        yield server


def call(*words: str) -> int:
    parser = argparse.ArgumentParser()
    data_generate.add_parser(parser.add_subparsers())
    args = parser.parse_args(["data-generate", *words])
    code: int = args.run(args)
    return code


def rows(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(name).read_text(encoding="utf-8").splitlines()]


def test_documents_to_rows(server: Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "secret-key\n")
    command = ["docs", "--endpoint", server.address, "--model", "small", "--out", "rows.jsonl", "--passage", "40"]
    command += ["--key-env", "MY_KEY", "--numbers", "--set", "seed=1", "--set", "max_tokens=null"]
    server.script = [429]
    assert call(*command) == 0
    shown = capsys.readouterr().out
    for text in (
        "3 passages: 3 of 3 requests",
        "2 rows from 3 requests: rows.jsonl",
        "tokens: 300 read, 30 written",
        "refused: 1 × the answer has a number that the passage does not have",
        "requests sent again: 1",
    ):
        assert text in shown, shown
    made = {row["messages"][1]["content"]: row["source"] for row in rows("rows.jsonl")}
    assert made.keys() == {"There are 12.", "米拉住在柳树街。"}
    assert made["米拉住在柳树街。"]["prompt"] == "qa.zh"
    assert made["There are 12."]["file"] == "docs/town.md"
    body = server.asked[-1]
    assert (body["seed"], body["temperature"], "max_tokens" in body) == (1, 0.7, False)
    assert server.headers[0]["authorization"] == "Bearer secret-key"
    files = [path for path in Path().iterdir() if path.is_file()]
    assert not any("secret-key" in path.read_text() for path in files)
    assert call(*command) == 0
    assert "(3 of them answered before)" in capsys.readouterr().out
    assert len(server.asked) == 4


def test_the_key_is_hidden(server: Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(data_generate.KEY, "secret-key")
    server.script = [401]
    with pytest.raises(DataError, match="API key") as error:
        call("docs", "--endpoint", server.address, "--model", "small", "--out", "rows.jsonl", "--at-once", "1")
    assert "secret-key" not in str(error.value) + capsys.readouterr().out


def test_seeds_in_alpaca_form(server: Server) -> None:
    Path("seeds.jsonl").write_text('{"instruction": "How many wheels are there?"}\n{"instruction": "Sing."}')
    command = ["--seeds", "seeds.jsonl", "--endpoint", server.address, "--model", "small", "--out", "rows.jsonl"]
    assert call(*command, "--form", "alpaca", "--max-requests", "6") == 0
    assert len(server.asked) == 6
    assert rows("rows.jsonl") == []  # the only row asks what a seed asks


def test_dry_run_asks_nothing(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("docs", "--endpoint", server.address, "--model", "small", "--out", "rows.jsonl", "--dry-run") == 0
    assert "<passage>" in capsys.readouterr().out
    assert server.asked == []
    assert not Path("rows.jsonl").exists()


def test_the_builtin_model(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    Path("ask.jinja").write_text("{{ passage }}")
    Path("docs/long.md").write_text("The harbour has 12 boats. " * 150)
    local = ["--local", builtin.NAME, "--prompt", "ask.jinja", "--max-tokens", "8", "--out", "rows.jsonl"]
    assert call("docs", *local, "--passage", "5000") == 0
    shown = capsys.readouterr().out
    assert "0 rows from 3 requests" in shown
    assert "refused: 2 × " in shown
    assert "no answer: 1 × the request does not fit the model's 512 tokens (see --passage)" in shown
    assert re.search(r"tokens: [1-9]\d* read, [1-9]\d* written", shown)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--endpoint", "http://h/v1", "--model", "m"], "Name either documents"),
        (["docs", "--seeds", "s", "--local", "m"], "Name either documents"),
        (["docs"], "Say what answers"),
        (["docs", "--local", "m", "--endpoint", "http://h/v1"], "Say what answers"),
        (["docs", "--endpoint", "http://h/v1"], "--endpoint URL --model NAME"),
        (["docs", "--local", "m", "--prompt", "instructions"], "is made from seeds"),
        (["docs", "--endpoint", "http://h/v1", "--model", "m", "--key-env", "NO_SUCH_KEY"], "NO_SUCH_KEY is not set"),
    ],
)
def test_wrong_commands(server: Server, words: list[str], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        call(*words, "--out", "rows.jsonl")
