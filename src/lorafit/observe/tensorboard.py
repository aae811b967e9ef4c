"""Events to TensorBoard's event files.

Written with tensorboard's RecordWriter and not with torch's SummaryWriter, whose thread prints a traceback of its own
when the disk is full, and leaves the last seconds of a killed run in its queue.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from lorafit.observe.scalars import HELD_OUT, scalars
from lorafit.records import Event


class TensorBoard:
    """Writes the curves to `folder`, and `hparams` (nested; shown under dotted names) to its HPARAMS tab.

    first_update: the update that the run goes on from; what an earlier process wrote after it is not shown again.
    Samples of the hardware stand at the update last done. Every event is in the file when the call returns. Raises
    OSError when nothing can be written.
    """

    def __init__(self, folder: Path, hparams: Mapping[str, Any], first_update: int = 0) -> None:
        from tensorboard.compat.proto.event_pb2 import SessionLog
        from tensorboard.summary.writer.record_writer import RecordWriter
        from torch.utils.tensorboard.summary import hparams as summaries

        folder.mkdir(parents=True, exist_ok=True)
        # TensorBoard reads the files of a folder in the order of their names.
        name = f"events.out.tfevents.{time.time():017.6f}.{socket.gethostname()}.{os.getpid()}"
        self._records = RecordWriter((folder / name).open("ab"))
        self._update = first_update
        purge_from = first_update + 1 if first_update else 0
        self._write(file_version="brain.Event:2")
        self._write(step=purge_from, session_log=SessionLog(status=SessionLog.START))
        # The tab's metric is the curve of that name, of which it takes the last value.
        experiment, start, self._end = summaries(dict(_flat(hparams)), {HELD_OUT: 0.0})
        self._write(summary=experiment)
        self._write(summary=start)

    def __call__(self, event: Event) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary

        found = scalars(event)
        if found:
            self._update = event.values.get("update", self._update)
            values = [Summary.Value(tag=name, simple_value=value) for name, value in found.items()]
            self._write(step=self._update, summary=Summary(value=values))

    def _write(self, **content: Any) -> None:
        from tensorboard.compat.proto.event_pb2 import Event as Record

        self._records.write(Record(wall_time=time.time(), **content).SerializeToString())
        self._records.flush()

    def __enter__(self) -> TensorBoard:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._write(summary=self._end)
        finally:
            self._records.close()


def _flat(nested: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str | int | float]]:
    """(dotted name, value); what is neither a number nor text is written as JSON."""
    for name, value in nested.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        elif isinstance(value, str | int | float) and not isinstance(value, bool):
            yield f"{prefix}{name}", value
        else:
            yield f"{prefix}{name}", json.dumps(value, ensure_ascii=False)
