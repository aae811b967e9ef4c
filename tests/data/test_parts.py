"""One pass over the rows of a file: what is said of bad ones, and which are left."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import pytest

from lorafit.data.convert import Rejected
from lorafit.data.parts import Parts
from lorafit.data.settings import DataSettings
from lorafit.errors import DataError
from lorafit.records import Conversation

GOOD = {"instruction": "Where does Mira live?", "output": "On Willow Street."}


def taken(
    folder: Path, *rows: dict[str, Any], bad_rows: Literal["error", "drop"] = "error"
) -> tuple[list[Conversation], list[Rejected]]:
    """What is left of the rows of a file, and what was rejected."""
    path = folder / "rows.json"
    path.write_text(json.dumps(rows))
    parts = Parts(DataSettings(train=str(path), held_out=0.0, bad_rows=bad_rows), seed=0)
    rejected: list[Rejected] = []
    parts.reject = lambda row, part, reason: rejected.append(row)
    return [conversation for _, conversation in parts.take()], rejected


def test_the_first_twenty_bad_rows_are_named_together(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        taken(tmp_path, GOOD, *({"instruction": f"{number}"} for number in range(23)))
    lines = str(caught.value).splitlines()
    assert lines[0] == "23 of 24 rows cannot be used:"
    assert [line.split(",")[1] for line in lines[1:21]] == [f" row {number}" for number in range(2, 22)]
    assert lines[21] == "  ... and 3 more"
    assert "data.bad_rows=drop" in lines[22]


def test_dropped_rows_are_kept_aside_and_the_others_keep_their_numbers(tmp_path: Path) -> None:
    conversations, rejected = taken(tmp_path, GOOD, {"instruction": "no answer"}, GOOD, bad_rows="drop")
    assert [c.source.row for c in conversations] == [1, 3]
    assert [r.record.source.row for r in rejected] == [2]


def test_when_every_row_is_bad_dropping_is_no_way_out(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="2 of 2 rows"):
        taken(tmp_path, {**GOOD, "output": ""}, {**GOOD, "output": " "}, bad_rows="drop")
