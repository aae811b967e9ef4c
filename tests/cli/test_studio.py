"""`lorafit studio`: what it refuses before it begins; the studio itself is tested in tests/studio."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

from lorafit.cli.main import main
from lorafit.run import only_process
from lorafit.studio.workspace import Workspace


def test_what_cannot_be_opened(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LORAFIT_TOKEN", raising=False)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        busy = str(taken.getsockname()[1])
        for words, message in [
            ([str(tmp_path / "none")], "is not a folder"),
            ([str(tmp_path), "--allow", str(tmp_path / "none")], "--allow"),
            ([str(tmp_path), "--host", "0.0.0.0"], "so it needs a token"),
            ([str(tmp_path), "--port", busy], "Choose another --port"),
            ([str(tmp_path), "--port", "70000"], "from 0 to 65535"),
        ]:
            try:
                assert main(["studio", *words, "--no-browser"]) == 2
            except SystemExit as refused:  # argparse's own way
                assert refused.code == 2
            assert message in capsys.readouterr().err, words


def test_without_its_packages_it_says_which(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "nicegui", None)
    assert main(["studio", str(tmp_path)]) != 0
    assert "lorafit[studio]" in capsys.readouterr().err


def test_a_workspace_has_one_studio(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hidden = Workspace(tmp_path).hidden
    with only_process(hidden / "studio.lock"):
        (hidden / "address").write_text("http://127.0.0.1:7600")
        assert main(["studio", str(tmp_path), "--no-browser", "--port", "0"]) == 2
    assert "already, at http://127.0.0.1:7600: open that" in capsys.readouterr().err
