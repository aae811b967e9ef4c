"""One run in a process of its own: its memory figures are its own, and a crash hurts only itself."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType

POLL_SECONDS = 0.1


class Child:
    """A Python process whose output goes to the end of a log. stopped: a signal asked the study to end meanwhile."""

    def __init__(self, arguments: Sequence[str], log: Path) -> None:
        self.stopped = False
        self._log = log
        with log.open("ab") as file:
            self._begin = file.tell()
            # A session of its own: what a terminal sends comes through `_pass_on` alone, once.
            self._process = subprocess.Popen(
                [sys.executable, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait(self, look: Callable[[], None]) -> int:
        """The exit code, or minus the signal that ended it; `look` is called again and again meanwhile."""
        with self._signals_passed_on():
            while self._process.poll() is None:
                look()
                time.sleep(POLL_SECONDS)
        return self._process.returncode

    def message(self) -> str:
        """Why it failed: the error that it said, else how it ended and its last line."""
        with self._log.open("rb") as file:
            file.seek(self._begin)
            text = "\n" + file.read().decode("utf-8", "replace")
        _, said, error = text.rpartition("\nerror: ")
        if said:
            return error.strip()
        code = self._process.returncode
        how = f"it ended with exit code {code}"
        if code < 0:
            how = f"it was ended by signal {-code} ({signal.strsignal(-code)})"
            if -code == getattr(signal, "SIGKILL", None):
                how += ", as the system does when memory runs out"
        last = text.strip().splitlines()[-1:]
        return "\n".join([": ".join([how, *last]), f"All that it said: {self._log}"])

    @contextlib.contextmanager
    def _signals_passed_on(self) -> Iterator[None]:
        """Within this block the study does not end before its run has: that finishes its update and saves."""
        if threading.current_thread() is not threading.main_thread():  # where no handler can be set
            yield
            return
        before = {number: signal.signal(number, self._pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        self.stopped = True
        if os.name == "posix" and self._process.poll() is None:  # elsewhere the terminal's reaches it, too
            self._process.send_signal(number)
