"""The web process: what it may not do."""

from __future__ import annotations

import subprocess
import sys
from urllib.parse import quote

import pytest
from starlette.requests import Request

from lorafit.studio.app import _names


def test_it_brings_no_torch() -> None:
    """No model can be loaded in a process without it, and the studio starts quickly."""
    code = (
        "import sys, lorafit.studio.app, lorafit.study.plots\n"
        "sys.exit(', '.join({'torch', 'transformers', 'peft', 'bitsandbytes'} & sys.modules.keys()) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("names", [[], ["a"], ["a,b", "名字 'x'", "c&runs=d", "e%2C+f"], ["base", "base:org/M"]])
def test_any_names_of_runs_stand_in_an_address(names: list[str]) -> None:
    query = f"x=1&runs={','.join(quote(name, safe='') for name in names)}&talk=2"
    request = Request({"type": "http", "query_string": query.encode(), "path": "/chat", "headers": [], "server": None})
    assert _names(request) == names
