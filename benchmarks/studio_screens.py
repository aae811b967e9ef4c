"""How fast every screen of the studio answers: 100 runs, one of them with a metrics file of 200,000 lines.

    python benchmarks/studio_screens.py [--runs 100] [--lines 200000]

For each screen: seconds until the server has answered (`answered`), and until a headless Chromium shows what the screen
is for (`shown`: its list, its chart, its first row): the first time, in a new tab, and the best of three more in that
tab; then the same of what is clicked on or typed in a screen that is there. Needs `pip install 'lorafit[studio]'
playwright` and a Chromium; the runs are made up in a temporary folder.
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
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from studio_reading import make_run

from lorafit.studio.drafts import Drafts
from lorafit.studio.workspace import Workspace

CHART = "[role=img][aria-label*=oss] svg path[stroke='var(--one)']"  # its curve
ADVICE = ".setting-task"  # it has arrived
DOCTOR = ".home-unfold"  # what it says
MORE = "text=hardware_every"  # the last of them
# (screen, address, what is to be seen)
SCREENS = (
    ("home", "/", "text=short-098"),
    ("run of 200,000 updates", "/run/long", CHART),
    ("run of 600 updates", "/run/short-001", CHART),
    ("result", "/result/long", ".losses .figure"),
    ("compare of four", "/compare?runs=long,short-001,short-002,short-003", CHART),
    ("chat", "/chat", ".content .card"),
    ("export", "/export/long", ".export-kind"),
    ("new run: model", "/new", ".choice"),
    ("new run: data", "/new/{draft}/data", ".choice"),
    ("new run: advice, made once", "/new/{draft}/settings", ADVICE),  # the steps after it stand on it
    ("new run: settings", "/new/{draft}/settings", ".setting-grid .setting"),
    ("new run: plan", "/new/{draft}/plan", ".content .card"),
    ("new run: review", "/new/{draft}/review", ".copyable"),
)
# (what is done, address, what has to be there before, what is done, what is to be seen then)
ACTS: tuple[tuple[str, str, str, Callable[[Any], Any], str], ...] = (
    ("filter the runs", "/", "text=short-098", lambda page: page.get_by_label("Search").fill("short-042"),
     "tbody tr:only-child >> text=short-042"),
    ("unfold More settings", "/new/{draft}/settings", ".setting-grid .setting",
     lambda page: page.get_by_text("More settings").click(), MORE),
    ("look at a model", "/new", ".choice", lambda page: page.locator(".choice").first.click(), "text=Parameters"),
)  # fmt: skip
BEST_OF = 3
LONGEST = 60_000  # milliseconds
READER_SECONDS = 1.0  # that somebody looks at a screen before doing something there


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
        settings = {"model.name": "builtin", "data.train": "builtin"}
        draft = Drafts(Workspace(folder)).new(settings).id
        with studio(folder) as url, chromium() as browser:
            print(f"{arguments.runs} runs, one of {arguments.lines:,} lines")
            print(f"seconds, first time and best of {BEST_OF} more:")
            print(f"{'screen':26} {'answered':>16} {'shown':>16}")
            for screen, path, seen in SCREENS:
                address = url + path.format(draft=draft)
                answered = [answer_seconds(address) for _ in range(BEST_OF + 1)]
                with closing(browser.new_page()) as page:
                    shown = [shown_seconds(page, address, seen) for _ in range(BEST_OF + 1)]
                    if path == "/":  # the doctor keeps a processor busy, once: no other screen is timed meanwhile
                        page.locator(DOCTOR).wait_for(timeout=LONGEST)
                print(f"{screen:26} {figures(answered):>16} {figures(shown):>16}", flush=True)
            for what, path, ready, act, seen in ACTS:
                address = url + path.format(draft=draft)
                with closing(browser.new_page()) as page:
                    done = [act_seconds(page, address, ready, act, seen) for _ in range(BEST_OF + 1)]
                print(f"{what:26} {'':16} {figures(done):>16}", flush=True)


def figures(seconds: list[float]) -> str:
    return f"{seconds[0]:.2f}, {min(seconds[1:]):.2f}"


def answer_seconds(url: str) -> float:
    begun = time.perf_counter()
    with urllib.request.urlopen(url) as reply:
        reply.read()
    return time.perf_counter() - begun


def shown_seconds(page: Any, url: str, seen: str) -> float:
    begun = time.perf_counter()
    page.goto(url, wait_until="commit")
    page.locator(seen).first.wait_for(state="visible", timeout=LONGEST)
    return time.perf_counter() - begun


def act_seconds(page: Any, url: str, ready: str, act: Callable[[Any], Any], seen: str) -> float:
    page.goto(url)
    page.locator(ready).first.wait_for(state="visible", timeout=LONGEST)
    page.wait_for_timeout(READER_SECONDS * 1000)
    begun = time.perf_counter()
    act(page)
    page.locator(seen).first.wait_for(state="visible", timeout=LONGEST)
    return time.perf_counter() - begun


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
