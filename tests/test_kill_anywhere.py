"""The kill harness (benchmarks/kill_anywhere.py) with a few kills."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HARNESS = Path(__file__).parents[1] / "benchmarks" / "kill_anywhere.py"


@pytest.mark.slow
def test_killed_and_resumed_the_end_is_the_same(tmp_path: Path) -> None:
    command = [sys.executable, str(HARNESS), "--kills", "3", "--output", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "largest difference at the end: 0" in done.stdout
