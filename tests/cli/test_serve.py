"""`lorafit serve` as a command: what it refuses at the start, how it ends, and the command that it becomes for vLLM."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openai
import pytest

from lorafit import Recipe, finetune
from lorafit.cli.main import main
from lorafit.errors import AdapterError
from lorafit.infer.generate import answer_prompts
from lorafit.opened import open_run
from lorafit.records import Message
from lorafit.serve.limits import Limits
from lorafit.serve.place import Place
from lorafit.serve.server import open_service
from lorafit.serve.vllm import command
from lorafit.serve.wanted import Wanted, plan


@pytest.fixture
def run(recipe: Callable[..., Recipe]) -> Path:
    return Path(finetune(recipe(train={"max_updates": 2}, evaluate={"prompts": 1})).folder)


@pytest.mark.parametrize(
    ("sent", "code"), [(signal.SIGTERM, 0), pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow)]
)
def test_a_run_is_served_until_a_signal_comes(run: Path, sent: signal.Signals, code: int) -> None:
    """As a program: its run's answers under its name, SIGTERM ends it with 0, Ctrl-C with 130."""
    words = [sys.executable, "-m", "lorafit.cli.main", "serve", str(run), "--port", "0"]
    program = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert program.stdout is not None
    said = ""
    while "serving on" not in said:
        line = program.stdout.readline()
        assert line, program.communicate()
        said += line
    client = openai.OpenAI(base_url=said.split("serving on ")[1].split()[0], api_key="none", max_retries=0)
    assert [model.id for model in client.models.list()] == ["llama", "run"]
    reply = client.chat.completions.create(
        model="run", messages=[{"role": "user", "content": "Where does 1 live?"}], max_tokens=8, temperature=0
    )
    opened = open_run(run)
    asked = opened.renderer.prompt_ids([Message("user", "Where does 1 live?")])
    assert reply.choices[0].message.content == answer_prompts(opened.model, opened.renderer, [asked], 8)[0].text
    program.send_signal(sent)
    assert program.wait(20) == code, program.communicate()


def test_what_cannot_be_served(run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LORAFIT_TOKEN", raising=False)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        busy = str(taken.getsockname()[1])
        for words, message in [
            ([], "Nothing to serve"),
            ([str(run), "--host", "0.0.0.0"], "so it needs a token"),
            ([str(run), "--base", "builtin"], "brings its own base"),
            ([str(run), "--adapter", str(run)], "name the model too"),
            ([str(run), "--adapter", f"run={run}"], "Two models would have the name run"),
            (["--base", "builtin", "--adapter", f"llama={run}", "--port", "0"], "is of another base"),
            (["--base", "builtin", "--adapters-folder", "none"], "there is no folder none"),
            ([str(run), "--port", busy], "Choose another --port"),
            ([f"{run}none"], "runs in"),
        ]:
            assert main(["serve", *words]) == 2
            assert message in capsys.readouterr().err, words


@pytest.mark.parametrize("changed", [{"adapter": {"method": "none"}}, {"adapter": {"train_bias": True}}])
def test_a_run_that_changed_the_base_is_served_alone(recipe: Callable[..., Recipe], changed: dict[str, Any]) -> None:
    folder = finetune(recipe(**changed, train={"max_updates": 1}, evaluate={"prompts": 1})).folder
    service = open_service(plan(Wanted(str(folder))), Limits(), 4)
    assert service.catalogue.names == ["run"]
    with pytest.raises(AdapterError, match="served without adapters"):
        service.catalogue.look_over("more", folder)
    with pytest.raises(AdapterError, match="without other adapters"):
        plan(Wanted(str(folder), adapters=(("more", str(folder)),)))


def test_vllm_is_given_the_same(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command as a stand-in executable on PATH sees it."""
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    stand_in = bin_folder / "vllm"
    stand_in.write_text(
        f"#!{sys.executable}\nimport json, os, sys\n"
        "print(json.dumps({'words': sys.argv[1:], 'key': os.environ.get('VLLM_API_KEY')}))\n"
    )
    stand_in.chmod(stand_in.stat().st_mode | stat.S_IXUSR)
    words = [sys.executable, "-m", "lorafit.cli.main", "serve", str(run), "--engine", "vllm", "--host", "0.0.0.0"]
    environment = {**os.environ, "PATH": str(bin_folder), "LORAFIT_TOKEN": "geheim"}
    done = subprocess.run([*words, "--port", "8123"], env=environment, capture_output=True, text=True, check=True)
    seen = json.loads(done.stdout.splitlines()[-1])
    recipe = open_recipe(run)
    template = seen["words"][-1]
    assert Path(template).read_text() == (run / "template.jinja").read_text()
    modules = json.dumps({"name": "run", "path": str((run / "adapter").resolve())})
    assert seen == {
        "key": "geheim",
        "words": [
            *["serve", recipe, "--served-model-name", "llama", "--host", "0.0.0.0", "--port", "8123"],
            *["--dtype", "float32", "--enable-lora", "--max-loras", "16", "--max-lora-rank", "8"],
            *["--lora-modules", modules, "--chat-template", template],
        ],
    }
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["serve", str(run), "--engine", "vllm"]) == 2


def open_recipe(run: Path) -> str:
    from lorafit.recipe import load_recipe

    return load_recipe(run / "recipe.yaml").model.name


def test_vllm_has_one_template(recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    folders = []
    for name, template in (("a", "alpaca"), ("b", "human-assistant")):
        made = recipe(name=name, data={"template": template}, train={"max_updates": 1}, evaluate={"prompts": 1})
        folders.append((name, str(finetune(made).folder)))
    with pytest.raises(AdapterError, match="different chat templates"):
        command(plan(Wanted(adapters=tuple(folders))), Place(), 4, tmp_path)
    service = open_service(plan(Wanted(adapters=tuple(folders))), Limits(), 4)
    renderers = [service.catalogue.get(name).renderer for name in ("a", "b")]  # type: ignore[union-attr]
    assert [renderer.template.name for renderer in renderers] == ["alpaca", "human-assistant"]
