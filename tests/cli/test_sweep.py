"""A study with real runs: killed, gone on with, one run that fails."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.conftest import status

from lorafit import Recipe
from lorafit.cli import sweep

SWEEP = """
import argparse, sys
from lorafit.cli import sweep
parser = argparse.ArgumentParser()
sweep.add_parser(parser.add_subparsers(dest="verb"))
args = parser.parse_args()
args.run(args)
"""
WORDS = ["sweep", "mine.yaml", "--set", "adapter.targets=attention,layer9", "--name", "秩"]


@pytest.mark.slow
def test_killed_and_gone_on_with_one_run_that_fails(
    recipe: Callable[..., Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    train = {"epochs": 30, "checkpoint_every": 10, "self_check": False}
    made = recipe(train=train, observe={"console": True, "print_every": 1000, "tensorboard": "never"})
    (tmp_path / "mine.yaml").write_text(made.to_yaml(), encoding="utf-8")
    study = tmp_path / "studies" / "秩"
    run = study / "runs" / "targets-attention-seed-0"

    process = subprocess.Popen([sys.executable, "-c", SWEEP, *WORDS])
    while not list((run / "checkpoints").glob("0*")):
        assert process.poll() is None
        time.sleep(0.02)
    process.kill()
    process.wait()
    os.kill(status(run)["pid"], signal.SIGKILL)
    assert status(run)["state"] == "running"

    parser = argparse.ArgumentParser()
    sweep.add_parser(parser.add_subparsers(dest="verb"))
    args = parser.parse_args(WORDS)
    assert args.run(args) == 0
    shown = capsys.readouterr().out
    log = (study / "logs" / "targets-attention-seed-0.log").read_text()
    assert "goes on from update" in log
    assert status(run)["state"] == "finished"
    assert "1/2 targets attention, seed 0: finished" in shown
    assert "2/2 targets layer9, seed 0: failed: adapter.targets: 'layer9' matches none" in shown
    assert "token F1" in shown and "time per token, merged" in shown.replace("\n", " ")

    first, second = json.loads((study / "study.json").read_text(encoding="utf-8"))["runs"]
    assert (first["state"], second["state"]) == ("finished", "failed")
    figures = first["figures"]
    assert figures["updates"] == 120 and figures["trained"] > 0 and figures["disk"] > 0
    assert figures["held_out_loss"] < figures["base_held_out_loss"]
    inference = figures["inference"]
    assert inference["memory"] > figures["disk"]
    for way in ("unmerged", "merged"):
        assert 0 < inference[way]["median"] <= inference[way]["p95"]
    assert "layer9" in (study / "report.html").read_text(encoding="utf-8")

    assert args.run(args) == 0
    assert "2 runs, 2 done before" in capsys.readouterr().out
    assert (study / "logs" / "targets-attention-seed-0.log").read_text() == log
