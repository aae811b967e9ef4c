"""`lorafit doctor` as a user types it: exit codes, both ways of showing, JSON, following a run, wrong input."""

from __future__ import annotations

import argparse
import io
import json
import sys
import time
import types
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from rich.console import Console

from lorafit.cli import doctor
from lorafit.doctor import machine
from lorafit.doctor.line import Line
from lorafit.errors import RecipeError, RunError
from lorafit.run import RunFolder

LINES = [
    Line("ok", "Python", "3.12.1"),
    Line("note", "extras", "[optional] 可选", "pip install 'lorafit[gguf]'"),
    Line("fault", "CUDA", "the card idles " * 12, "install a build for it"),
]


def call(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    doctor.add_parser(parser.add_subparsers())
    args = parser.parse_args(["doctor", *arguments])
    code: int = args.run(args)
    return code


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def give(*given: Line) -> None:
        monkeypatch.setattr(machine, "examine", lambda: iter(given))

    give(*LINES)
    return give


def test_piped_each_line_is_whole_and_plain(lines: object, capsys: pytest.CaptureFixture[str]) -> None:
    assert call() == 4
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == "ok       Python            3.12.1"
    assert "[optional] 可选" in shown[1] and "hint: pip install 'lorafit[gguf]'" in shown[2]
    assert "the card idles " * 12 in shown[3] and shown[4].strip() == "remedy: install a build for it"
    assert "1 fault" in shown[5] and "exit code 4" in shown[5] and "\x1b" not in "".join(shown)


def test_without_a_fault_the_code_is_0(lines: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    lines(LINES[0], Line("warning", "threads", "few", "more"))
    assert call() == 0 and "1 warning" in capsys.readouterr().out


def test_on_a_terminal_in_colour_and_columns() -> None:
    said = io.StringIO()
    terminal = Console(file=said, force_terminal=True, width=60, color_system="standard", highlight=False)
    doctor.show(LINES[2], terminal)
    first, *rest = said.getvalue().splitlines()
    assert "\x1b[1;31mfault" in first and len(rest) > 2
    assert all(line.startswith(" " * 27) for line in rest)
    assert "install a build for it" in said.getvalue()


def test_json(lines: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--json", "-") == 4
    content = json.loads(capsys.readouterr().out)
    assert content["schema"] == 1 and [line["level"] for line in content["lines"]] == ["ok", "note", "fault"]
    assert call("--json", str(tmp_path / "doctor.json")) == 4
    assert json.loads((tmp_path / "doctor.json").read_text(encoding="utf-8")) == content
    with pytest.raises(RunError, match="nowhere"):
        call("--json", str(tmp_path / "nowhere" / "doctor.json"))


@dataclass(frozen=True)
class Finding:
    symptom: str
    severity: str = "warning"
    evidence: str = ""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """A run that goes on, and a doctor of runs that finds one thing more each time it looks."""
    folder = RunFolder.create(tmp_path / "runs" / "a")
    folder.recipe.write_text("")
    folder.write_status("running")
    looks = iter(range(1, 99))

    def diagnose(found: RunFolder) -> list[Finding]:
        assert found.path == folder.path
        count = next(looks)
        if count == 4:
            folder.write_status("finished")
        return [Finding(f"symptom-{min(n, 3)}", evidence=str(count)) for n in range(1, count + 1)]

    stand_in = types.ModuleType("lorafit.doctor.run")
    stand_in.diagnose = diagnose  # type: ignore[attr-defined]
    stand_in.findings_text = lambda findings, _: " ".join(f.symptom for f in findings)  # type: ignore[attr-defined]
    stand_in.export_note = lambda _: None  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "lorafit.doctor.run", stand_in)
    monkeypatch.setattr(doctor, "FOLLOW_SECONDS", 0.0)
    return folder


def test_a_run_once(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(str(run.path)) == 0
    assert capsys.readouterr().out == "symptom-1\n"


def test_followed_only_what_is_new_is_said(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(str(run.path), "--follow") == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[:3] == ["symptom-1", "symptom-2", "symptom-3"] and "no more to follow" in shown[3]


def test_what_counts_as_going_on(run: RunFolder) -> None:
    now = time.time()
    assert doctor.goes_on(run, now) and not doctor.goes_on(run, now + 2 * doctor.DEAD_SECONDS)
    run.write_status("failed")
    assert not doctor.goes_on(run, now)


def test_wrong_input(run: RunFolder, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"runs in .*: a"):
        call(str(tmp_path / "runs" / "b"))
    with pytest.raises(RunError, match="No run folder"):
        call(str(tmp_path / "file"))
    with pytest.raises(RecipeError, match="--follow needs a run folder"):
        call("--follow")
    with pytest.raises(RecipeError, match="--json is of the machine"):
        call(str(run.path), "--json", "-")
