"""How fast every screen of the studio answers: 100 runs, one of them with a metrics file of 200,000 lines.

    python benchmarks/studio_screens.py [--runs 100] [--lines 200000]

For each screen: seconds until the server has answered (`answered`), and until a headless Chromium shows what the screen
is for (`shown`: its list, its chart, its first row), each the first time and the best of three more. Needs
`pip install 'lorafit[studio]' playwright` and a Chromium; the runs are made up in a temporary folder.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from studio_reading import make_run

CHART = "[role=img][aria-label*=oss] svg"
# (screen, address, what is to be seen)
SCREENS = (
    ("home", "/", "text=short-098"),
    ("run of 200,000 updates", "/run/long", CHART),
    ("run of 600 updates", "/run/short-001", CHART),
    ("result", "/result/long", ".content .card"),
    ("compare of four", "/compare?runs=long,short-001,short-002,short-003", CHART),
    ("new run", "/new", ".content .card"),
    ("chat", "/chat", ".content .card"),
    ("export", "/export/long", ".content .card"),
)
BEST_OF = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--lines", type=int, default=200_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in range(arguments.runs - 1):
            make_run(folder / "runs" / f"short-{number:03d}", 600)
        make_run(folder / "runs" / "long", arguments.lines)
        with studio(folder) as url, chromium() as browser:
            print(
                f"{arguments.runs} runs, one of {arguments.lines:,} lines; seconds: first time, best of {BEST_OF} more"
            )
            print(f"{'screen':26} {'answered':>16} {'shown':>16}")
            for screen, path, seen in SCREENS:
                answered = [answer_seconds(url + path) for _ in range(BEST_OF + 1)]
                shown = [shown_seconds(browser, url + path, seen) for _ in range(BEST_OF + 1)]
                print(f"{screen:26} {figures(answered):>16} {figures(shown):>16}", flush=True)


def figures(seconds: list[float]) -> str:
    return f"{seconds[0]:.2f}, {min(seconds[1:]):.2f}"


def answer_seconds(url: str) -> float:
    begun = time.perf_counter()
    with urllib.request.urlopen(url) as reply:
        reply.read()
    return time.perf_counter() - begun


def shown_seconds(browser: Any, url: str, seen: str) -> float:
    page = browser.new_page()
    begun = time.perf_counter()
    page.goto(url, wait_until="commit")
    page.locator(seen).first.wait_for(state="visible", timeout=30_000)
    seconds = time.perf_counter() - begun
    page.close()
    return seconds


@contextmanager
def studio(folder: Path) -> Iterator[str]:
    command = [sys.executable, "-u", "-m", "lorafit.cli.main", "studio", str(folder), "--port", "0", "--no-browser"]
    begun = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                if found := re.search(r"studio: (http://\S+)", line):
                    yield from _answering(found[1], begun)
                    break
        finally:
            process.terminate()


def _answering(url: str, begun: float) -> Iterator[str]:
    answer_seconds(url)
    print(f"the studio answers {time.perf_counter() - begun:.1f} s after it was started")
    yield url


@contextmanager
def chromium() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        # One context, as one person has: what a browser keeps between pages is kept.
        yield browser.new_context(viewport={"width": 1440, "height": 900})
        browser.close()


if __name__ == "__main__":
    main()
