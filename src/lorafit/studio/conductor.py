"""`python -m lorafit.studio.conductor WORKSPACE [WORD ...]`: carries out the queue of a workspace, then ends.

A process of its own, apart from any page, studio or terminal. It starts one job at a time and waits for it. When it
is killed, the job goes on, and the next conductor waits for that job first. WORD ...: the command before a job's words.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from lorafit.run import InUseError, only_process
from lorafit.studio import jobs
from lorafit.studio.jobs import Job
from lorafit.studio.queue import Queue
from lorafit.studio.workspace import Workspace

POLL_SECONDS = 0.2
# For one that has nothing left to do and is just ending.
HANDOVER_SECONDS = 5.0


def main(words: list[str]) -> int:
    queue = Queue(Workspace(Path(words[0])))
    queue.command = tuple(words[1:]) or queue.command
    until = time.monotonic() + HANDOVER_SECONDS
    while time.monotonic() < until:
        try:
            with only_process(queue.lock):
                conduct(queue)
            return 0
        except InUseError:
            if queue.is_conducted():
                return 0
            time.sleep(POLL_SECONDS / 4)
    return 0


def conduct(queue: Queue) -> None:
    """Wait for what runs already, then carry out what is queued; only for who holds the queue's lock."""
    for job in queue.take_up():
        _wait_for_unknown(job)
        queue.end(job.id, None)
    while (begun := queue.begin()) is not None:
        job, process = begun
        if process is not None:
            queue.end(job.id, process.wait())


def _wait_for_unknown(job: Job) -> None:
    """Until a process that another conductor started is gone. It is no child of ours, so it can only be looked at."""
    process = jobs.process_of_job(job)
    while process is not None:
        time.sleep(POLL_SECONDS)
        process = jobs.process_of(process.pid, process.create_time(), job.id)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
