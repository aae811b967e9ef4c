"""The border around the workspace: paths, recipes and uploads."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lorafit.data.documents import code
from lorafit.data.documents.read import _READERS
from lorafit.run import RunFolder
from lorafit.studio.refusal import StudioError
from lorafit.studio.workspace import DOCUMENTS, Workspace, is_data_name, safe_name


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret.json").write_text("[]")
    return Workspace(tmp_path / "w", upload_bytes=100)


def upload(workspace: Workspace, name: str, *chunks: bytes) -> Path:
    async def stream() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    return asyncio.run(workspace.save_upload(name, stream()))


def recipe(**data: object) -> dict[str, object]:
    return {"model": {"name": "builtin"}, "data": {"train": "builtin", **data}}


def test_paths_inside_are_given_absolute(workspace: Workspace) -> None:
    file = workspace.uploads / "问 答 100%.json"
    file.write_text("[]")
    assert workspace.path("uploads/问 答 100%.json") == file
    assert workspace.path("./runs/../uploads/问 答 100%.json") == file
    assert workspace.path(str(file)) == file
    assert workspace.shown(file) == "uploads/问 答 100%.json"
    assert workspace.shown(Path("/elsewhere")) == "/elsewhere"


@pytest.mark.parametrize(
    "text",
    [
        "..", "../outside/secret.json", "uploads/../../outside", "/etc/passwd", "~/x", "~root/x", "", " ",
        "%2e%2e/outside", "..%2foutside", "%2e%2e%2foutside/secret.json", "uploads/..\\..\\..\\outside", "..%5coutside",
        "C:\\Windows", "c:x", "\\\\server\\share\\x", "//server/share/x", "x\0.json", "link/secret.json", "circle/x",
    ],
)  # fmt: skip
def test_paths_outside_are_refused(workspace: Workspace, text: str) -> None:
    (workspace.root / "link").symlink_to(workspace.root.parent / "outside")
    (workspace.root / "circle").symlink_to("circle")
    with pytest.raises(StudioError, match="not a path within"):
        workspace.path(text)


def test_a_folder_can_be_allowed(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    workspace = Workspace(tmp_path / "w", allowed=[tmp_path / "models"])
    assert workspace.path(str(tmp_path / "models" / "m")) == tmp_path / "models" / "m"
    with pytest.raises(StudioError):
        workspace.path(str(tmp_path / "models-of-another"))


def test_the_workspace_may_have_any_name(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "50%2e%2e%2f c:")
    made = RunFolder.create(workspace.runs / "10:30 100%")
    made.recipe.write_text("name: x")
    assert workspace.run("10:30 100%").path == made.path
    with pytest.raises(StudioError):
        workspace.path(f"{workspace.root}/%2e%2e/x")


def test_a_run_is_found_by_its_plain_name(workspace: Workspace) -> None:
    made = RunFolder.create(workspace.runs / "客服 1.5b")
    made.recipe.write_text("name: x")
    assert workspace.run("客服 1.5b").path == made.path
    outside = RunFolder.create(workspace.root.parent / "outside" / "run")
    outside.recipe.write_text("name: x")
    (workspace.runs / "link").symlink_to(outside.path)
    for name in ("..", ".", "", "nobody", "../w/runs/客服 1.5b", "a\\b", "x\0", "link", str(made.path)):
        with pytest.raises(StudioError):
            workspace.run(name)


def test_a_recipe_of_hub_ids_and_inner_paths_passes(workspace: Workspace) -> None:
    (workspace.root / "qwen").mkdir()
    (workspace.uploads / "a-1.json").write_text("[]")
    (workspace.root / "dataset_info.json").write_text(json.dumps({"mine": {"file_name": "uploads/a-1.json"}}))
    content = recipe(
        train=["OWNER/NAME", "hf:glue:mrpc[test]", "uploads/a-*.json", "mine", {"source": "uploads", "split": "train"}],
        template="human-assistant",
        held_out="uploads/a-1.json[test]",
        columns={"prompt": "Q: 问题"},
    )
    for name in ("builtin", "Qwen/Qwen3-0.6B", "modelscope:Qwen/Qwen3-0.6B", "qwen", str(workspace.root / "qwen")):
        content["model"] = {"name": name, "revision": "refs/pr/1"}
        content["adapter"] = {"targets": r".*layers\.\d+\..*(q|v)_proj"}
        content["evaluate"] = {"metrics": ["rouge_l", "exact_match"]}
        workspace.check_recipe(content)


@pytest.mark.parametrize(
    "data",
    [
        {"train": "/etc/passwd"}, {"train": ["builtin", {"source": "../outside"}]}, {"held_out": "../outside/s.json"},
        {"template": "/etc/passwd"}, {"train": "../outside/*.json"}, {"train": "**/secret.json"},
        {"train": "link[train]"},
        {"train": "uploads/stolen"}, {"train": "uploads/stolen[train]"}, {"train": "~/.ssh/*"}, {"train": "x\0"},
        {"new": {"setting": [["/etc/passwd"]]}},
    ],
)  # fmt: skip
def test_a_recipe_with_a_path_outside_is_refused(workspace: Workspace, data: dict[str, object]) -> None:
    secret = workspace.root.parent / "outside" / "secret.json"
    (workspace.root / "link").symlink_to(secret.parent)
    (workspace.uploads / "dataset_info.json").write_text(json.dumps({"stolen": {"file_name": str(secret)}}))
    with pytest.raises(StudioError, match=r"^data\."):
        workspace.check_recipe(recipe(**data))


def test_a_model_or_output_outside_is_refused_even_where_nothing_is(workspace: Workspace) -> None:
    for part in ({"model": {"name": "/nowhere/model"}}, {"output": "../elsewhere"}):
        with pytest.raises(StudioError, match="stays in there"):
            workspace.check_recipe({**recipe(), **part})


@pytest.mark.parametrize("metric", ["uploads/mine.py:score", "MINE.PY:score", "os:system", "mine.py :score"])
def test_a_recipe_that_would_run_code_is_refused(workspace: Workspace, metric: str) -> None:
    with pytest.raises(StudioError, match="would run code"):
        workspace.check_recipe({**recipe(), "evaluate": {"metrics": ["exact_match", metric]}})


def test_code_is_refused_wherever_it_is_named(workspace: Workspace) -> None:
    with pytest.raises(StudioError, match="would run code"):
        workspace.check_recipe({**recipe(), "later": {"hooks": "mine.py:call"}})


def test_an_upload_is_whole_and_overwrites_nothing(workspace: Workspace) -> None:
    first = upload(workspace, "答.json", b"[", b"]")
    second = upload(workspace, "答.json", b"[1]")
    third = upload(workspace, "../rows.jsonl.GZ", b"x")
    fourth = upload(workspace, "rows.jsonl.GZ", b"y")
    names = [path.relative_to(workspace.uploads).as_posix() for path in (first, second, third, fourth)]
    assert names == ["答.json", "答-2.json", "rows.jsonl.GZ", "rows-2.jsonl.GZ"]
    assert (first.read_bytes(), second.read_bytes()) == (b"[]", b"[1]")
    assert sorted(workspace.data_files()) == sorted([first, second, third, fourth])


@pytest.mark.parametrize(
    "name", ["x.exe", "x.py", "x.sh", "x.svg", "x.json.exe", "x", "", ".json", "x.pdf.gz", "x.pkl"]
)
def test_an_upload_that_is_no_data_is_refused(workspace: Workspace, name: str) -> None:
    with pytest.raises(StudioError, match="not a file that lorafit trains on"):
        upload(workspace, name, b"x")
    assert not list(workspace.uploads.iterdir())


def test_an_upload_that_is_too_large_empty_or_broken_off_leaves_nothing(workspace: Workspace) -> None:
    with pytest.raises(StudioError, match="larger than the 100 bytes"):
        upload(workspace, "x.json", *[b"x" * 60] * 2)
    with pytest.raises(StudioError, match="is empty"):
        upload(workspace, "x.json")

    async def broken() -> AsyncIterator[bytes]:
        yield b"["
        raise ConnectionError("gone")

    with pytest.raises(StudioError, match="could not be written"):
        asyncio.run(workspace.save_upload("x.json", broken()))
    assert not list(workspace.uploads.iterdir())


@pytest.mark.parametrize(
    ("given", "safe"),
    [
        ("../../etc/cron.d/x.json", "x.json"), ("C:\\data\\x.csv", "x.csv"), ("a:b*c?[d]~.txt", "a_b_c__d__.txt"),
        ("..\u202ejson.txt", "_json.txt"), ("con.json", "_con.json"), ("--rm.json", "rm.json"),
        ("x\0\n.json", "x__.json"),
        ("  数据 (2).JSONL ", "数据 (2).JSONL"), ("e\u0301.json", "\u00e9.json"), ("<img src=x>.md", "_img src_x_.md"),
    ],
)  # fmt: skip
def test_names_are_made_harmless(given: str, safe: str) -> None:
    assert safe_name(given) == safe


def test_a_long_name_is_cut_at_a_character() -> None:
    name = safe_name("数" * 300 + ".jsonl.gz")
    assert name == "数" * 40 + ".jsonl.gz"


def test_what_may_be_uploaded_is_what_is_read_but_code() -> None:
    assert _READERS.keys() - code.LANGUAGES.keys() - {".doc"} == DOCUMENTS
    assert all(is_data_name(f"x{ending}") for ending in (".json", ".parquet", ".zip", ".csv.zst", ".txt.gz", ".PDF"))


def test_what_a_killed_studio_left_is_removed_after_a_day(workspace: Workspace) -> None:
    old, new = workspace.uploads / ".old.part", workspace.uploads / ".new.part"
    for folder in (old, new):
        folder.mkdir()
    os.utime(old, (0, time.time() - 90_000))
    Workspace(workspace.root)
    assert (old.exists(), new.exists()) == (False, True)


def test_data_files_are_data_and_inside(workspace: Workspace) -> None:
    for name in ("a.json", ".hidden.json", "x.sh"):
        (workspace.root / name).write_text("[]")
    (workspace.root / "empty.json").touch()
    (workspace.root / "link.json").symlink_to(workspace.root.parent / "outside" / "secret.json")
    (workspace.root / "folder.json").mkdir()
    assert workspace.data_files() == [workspace.root / "a.json"]
