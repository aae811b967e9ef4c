"""Rows that a chat adds to a data set, and ratings."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lorafit.studio import corrections
from lorafit.studio.corrections import add_correction, corrections_file, count_rows, rate
from lorafit.studio.refusal import StudioError
from lorafit.studio.workspace import Workspace

ROW = [{"role": "user", "content": "哪里?\n\u2028<b>"}, {"role": "assistant", "content": "这里"}]


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


def test_rows_of_many_at_once_are_whole(workspace: Workspace) -> None:
    with ThreadPoolExecutor(8) as pool:
        (path,) = set(pool.map(lambda _: add_correction(workspace, "法律 one", ROW), range(40)))
    assert path == workspace.uploads / "corrections-法律 one.jsonl" and path in workspace.data_files()
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1]]
    assert rows == [{"messages": ROW}] * 40 and count_rows(path) == 40


def test_a_file_that_an_editor_left_without_a_last_line_feed(workspace: Workspace) -> None:
    path = corrections_file(workspace, "a")
    path.write_text('{"messages": []}')
    add_correction(workspace, "a", ROW)
    assert [json.loads(line) for line in path.read_bytes().splitlines()] == [{"messages": []}, {"messages": ROW}]
    assert count_rows(path) == 2 and count_rows(path.with_name("none")) == 0


def test_a_row_that_does_not_fit_on_the_disk_leaves_nothing(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = add_correction(workspace, "a", ROW)
    before = path.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StudioError, match="No space left"):
        add_correction(workspace, "a", ROW)
    assert path.read_bytes() == before


@pytest.mark.parametrize("name", ["../../x", "a/b", "..", "C:\\x", "%2e%2e"])
def test_a_name_stays_in_uploads(workspace: Workspace, name: str) -> None:
    path = add_correction(workspace, name, ROW)
    assert path.parent == workspace.uploads and path.name.endswith(".jsonl")


def test_refused_names(workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> None:
    with pytest.raises(StudioError, match="needs a name"):
        add_correction(workspace, " ", ROW)
    outside = tmp_path_factory.mktemp("outside") / "x.jsonl"
    (workspace.uploads / "corrections-link.jsonl").symlink_to(outside)
    with pytest.raises(StudioError, match="stays in there"):
        add_correction(workspace, "link", ROW)
    assert not outside.exists()


def test_who_waits_for_the_lock_in_vain_is_told(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corrections, "WAIT_SECONDS", 0.1)
    (workspace.hidden / "chat").mkdir()
    with corrections.only_process(workspace.hidden / "chat" / "append.lock"), pytest.raises(StudioError, match="again"):
        add_correction(workspace, "a", ROW)


def test_a_rating(workspace: Workspace) -> None:
    rate(workspace, "run", ROW[:1], "answer", rating="bad", sampling={"temperature": 0.5})
    (line,) = (workspace.hidden / "chat" / "ratings.jsonl").read_text(encoding="utf-8").split("\n")[:-1]
    row = json.loads(line)
    assert row.pop("time") > 1e9
    assert row == {
        "run": "run",
        "prompt": ROW[:1],
        "answer": "answer",
        "rating": "bad",
        "sampling": {"temperature": 0.5},
    }
