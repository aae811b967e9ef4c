"""The web process: what it may not do."""

from __future__ import annotations

import subprocess
import sys


def test_it_brings_no_torch() -> None:
    """No model can be loaded in a process without it, and the studio starts quickly."""
    code = (
        "import sys, lorafit.studio.app, lorafit.study.plots\n"
        "sys.exit(', '.join({'torch', 'transformers', 'peft', 'bitsandbytes'} & sys.modules.keys()) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
