from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from lorafit.cli import report
from lorafit.run import RunFolder


def test_report_says_where_the_page_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = RunFolder.create(tmp_path / "first")
    run.recipe.write_text("model:\n  name: tiny\n")
    parser = argparse.ArgumentParser()
    report.add_parser(parser.add_subparsers())
    for flags, target in (
        ([], run.path / "report.html"),
        (["--output", str(tmp_path / "a.html")], tmp_path / "a.html"),
    ):
        args = parser.parse_args(["report", str(run.path), *flags])
        assert args.run(args) == 0
        assert capsys.readouterr().out == f"report: {target}\n"
        assert target.is_file()
