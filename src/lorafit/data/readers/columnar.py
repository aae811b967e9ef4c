"""Parquet and Arrow to rows, some thousand at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lorafit.data.readers.opened import Opened
from lorafit.errors import DataError
from lorafit.records import Record, Source

PARQUET, ARROW_FILE, ARROW_STREAM = b"PAR1", b"ARROW1", b"\xff\xff\xff\xff"
_ROWS = 2048  # at a time


def read_parquet(opened: Opened) -> Iterator[Record]:
    """Raises DataError when pyarrow is missing or the file is damaged."""
    _import_pyarrow(opened.name)
    import pyarrow.parquet

    opened.stream.seek(0)
    yield from _rows(opened, lambda: pyarrow.parquet.ParquetFile(opened.stream).iter_batches(batch_size=_ROWS))


def read_arrow(opened: Opened) -> Iterator[Record]:
    """Arrow's file format (also Feather 2), or its stream as `datasets` writes it. Raises DataError as above."""
    pyarrow = _import_pyarrow(opened.name)
    opened.stream.seek(0)

    def batches() -> Iterator[Any]:
        if opened.head.startswith(ARROW_FILE):
            reader = pyarrow.ipc.open_file(opened.stream)
            whole = (reader.get_batch(number) for number in range(reader.num_record_batches))
        else:
            whole = iter(pyarrow.ipc.open_stream(opened.stream))
        for batch in whole:
            yield from (batch.slice(start, _ROWS) for start in range(0, batch.num_rows, _ROWS))

    yield from _rows(opened, batches)


def dense(fields: dict[str, Any]) -> dict[str, Any]:
    """A row without the nulls in its objects: Arrow gives an object every key that it has in any row.

    Without this the arguments of one tool would stand, empty, in the calls of all the others.
    """
    return {name: _dense(value) if isinstance(value, list | dict) else value for name, value in fields.items()}


def _dense(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _dense(inner) for key, inner in value.items() if inner is not None}
    return [_dense(inner) for inner in value] if isinstance(value, list) else value


def _rows(opened: Opened, batches: Any) -> Iterator[Record]:
    import pyarrow

    number = 0
    try:
        for batch in batches():
            for fields in batch.to_pylist():
                number += 1
                yield Record(dense(fields), Source(opened.name, number))
    except (pyarrow.ArrowException, OSError, ValueError, OverflowError, UnicodeDecodeError) as error:
        raise DataError(
            f"{opened.name}, after row {number}: the file cannot be read: {str(error)[:200]}.\n"
            "It is damaged or cut off: get it again."
        ) from None


def _import_pyarrow(name: str) -> Any:
    try:
        import pyarrow
        import pyarrow.ipc
    except ModuleNotFoundError:
        raise DataError(
            f"{name} is a Parquet or Arrow file, for which the package pyarrow is missing.\n"
            "Run: pip install 'lorafit[datasets]'"
        ) from None
    return pyarrow
