"""A studio as its own process and a headless Chromium before it, for the browser tests."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
START_SECONDS = 60.0


class StudioProcess:
    """`lorafit studio` on a folder, at one port over its restarts."""

    def __init__(self, folder: Path, port: int = 0, token: str = "", words: tuple[str, ...] = ()) -> None:
        self.folder, self.port, self.token, self.words = folder, port, token, words
        self.said: list[str] = []
        self._process: subprocess.Popen[str] | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [sys.executable, "-m", "lorafit.cli.main", "studio", str(self.folder), "--no-browser"]
        self._process = subprocess.Popen(
            [*command, "--port", str(self.port), *self.words],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **({"LORAFIT_TOKEN": self.token} if self.token else {})},
        )  # fmt: skip
        begun = len(self.said)
        threading.Thread(target=self._listen, args=(self._process,), daemon=True).start()
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until:
            for line in self.said[begun:]:
                if found := re.search(r"studio: http://\S+:(\d+)", line):
                    self.port = int(found[1])
                    return
            assert self._process.poll() is None, self.said
            time.sleep(0.05)
        raise AssertionError(self.said)

    def _listen(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self.said.append(line)

    def kill(self, number: int = signal.SIGKILL) -> None:
        assert self._process is not None
        self._process.send_signal(number)
        self._process.wait(20)

    def clear(self) -> None:
        """The studio, and all that works in its folder, is ended."""
        if self._process is not None and self._process.poll() is None:
            self.kill()
        for process in psutil.process_iter(["cmdline", "cwd"]):
            words = " ".join(process.info["cmdline"] or ())
            if "lorafit" in words and str(self.folder) in f"{words} {process.info['cwd']}":
                process.kill()


@pytest.fixture(scope="module")  # not longer: Playwright keeps its event loop running in the thread of the tests
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed here (chromium, chromium-browser or google-chrome)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield chromium
        chromium.close()


@pytest.fixture
def start_studio(tmp_path: Path) -> Iterator[Callable[..., StudioProcess]]:
    """Starts studios; what they started ends with the test."""
    started: list[StudioProcess] = []

    def start(folder: Path | None = None, **options: Any) -> StudioProcess:
        workspace = folder or tmp_path / "workspace"
        workspace.mkdir(exist_ok=True)
        started.append(StudioProcess(workspace, **options))
        return started[-1]

    yield start
    for studio in started:
        studio.clear()
