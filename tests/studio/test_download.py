"""What can be taken away, and what cannot."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from lorafit.run import RunFolder
from lorafit.studio.download import CHUNK, routes, zipped
from lorafit.studio.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    workspace = Workspace(tmp_path / "w")
    run = RunFolder.create(workspace.runs / "客服")
    for file in (run.recipe, run.report, run.status):
        file.write_text(file.name)
    run.adapter.mkdir()
    (run.adapter / "adapter_model.safetensors").write_bytes(os.urandom(CHUNK + 7))
    fill(workspace.exports / "客服" / "gguf-q8_0")
    fill(run.path / "export" / "merged")
    (tmp_path / "secret").write_text("secret")
    return workspace


def fill(folder: Path) -> None:
    (folder / "inner").mkdir(parents=True)
    (folder / "self_check.json").write_text("{}")
    (folder / "inner" / "模型.gguf").write_bytes(b"weights" * 5)


def client(workspace: Workspace) -> TestClient:
    return TestClient(Starlette(routes=routes(workspace)))


def names_of(content: bytes) -> list[str]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        return archive.namelist()


def test_a_file_comes_with_its_name(workspace: Workspace) -> None:
    answer = client(workspace).get("/download/run/客服/report.html")
    assert answer.text == "report.html"
    assert answer.headers["content-disposition"] == "attachment; filename*=utf-8''%E5%AE%A2%E6%9C%8D-report.html"
    assert client(workspace).get("/download/export/客服/gguf-q8_0/self_check.json").text == "{}"


def test_a_folder_comes_as_zip(workspace: Workspace) -> None:
    answer = client(workspace).get("/download/run/客服/adapter")
    assert names_of(answer.content) == ["客服-adapter/adapter_model.safetensors"]
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        kept = (workspace.runs / "客服" / "adapter" / "adapter_model.safetensors").read_bytes()
        assert archive.read(archive.namelist()[0]) == kept
    for name in ("gguf-q8_0", "merged"):  # of the studio, and of the command line
        answer = client(workspace).get(f"/download/export/客服/{name}")
        assert names_of(answer.content) == [f"客服-{name}/inner/模型.gguf", f"客服-{name}/self_check.json"]
        assert f"filename*=utf-8''%E5%AE%A2%E6%9C%8D-{name}.zip" in answer.headers["content-disposition"]


def test_a_folder_is_read_piece_by_piece(workspace: Workspace) -> None:
    folder = workspace.runs / "客服" / "adapter"
    pieces = list(zipped(folder, sorted(folder.iterdir()), "x"))
    assert max(map(len, pieces)) <= CHUNK and sum(map(len, pieces)) > CHUNK
    assert names_of(b"".join(pieces)) == ["x/adapter_model.safetensors"]


def test_a_head_request_reads_nothing(workspace: Workspace) -> None:
    answer = client(workspace).head("/download/run/客服/adapter")
    assert (answer.status_code, answer.content) == (200, b"")


def test_corrected_answers_are_given(workspace: Workspace) -> None:
    (workspace.uploads / "corrections-a.jsonl").write_text("{}")
    (workspace.uploads / "private.jsonl").write_text("{}")
    assert client(workspace).get("/download/corrections/corrections-a.jsonl").text == "{}"
    assert client(workspace).get("/download/corrections/private.jsonl").status_code == 404


@pytest.mark.parametrize(
    "address",
    [
        "run/客服/status.json", "run/客服/..", "run/../report.html", "run/%2e%2e/%2e%2e", "run/客服/%2e%2e%2f%2e%2e",
        "run/客服/..%2f..%2f..%2fsecret", "run/nobody/report.html", "export/客服/..", "export/%2e%2e/runs",
        "export/客服/gguf-q8_0/..%2f..%2f..%2fsecret", "export/客服/gguf-q8_0/%2e%2e", "export/客服/link",
        "export/客服/gguf-q8_0/link", "export/link/w", "export/客服/unfinished", "corrections/..%2fsecret",
        "corrections/corrections-link.jsonl", "corrections/%252e%252e", "run/客服%00/report.html", "run//etc/passwd",
    ],
)  # fmt: skip
def test_nothing_else_is_given(workspace: Workspace, address: str) -> None:
    outside = workspace.root.parent
    here = workspace.exports / "客服"
    (here / "unfinished").mkdir()
    (here / "link").symlink_to(workspace.runs / "客服")
    (here / "gguf-q8_0" / "link").symlink_to(outside / "secret")
    (workspace.exports / "link").symlink_to(outside)
    (workspace.uploads / "corrections-link.jsonl").symlink_to(outside / "secret")
    answer = client(workspace).get(f"/download/{address}")
    assert answer.status_code == 404 and answer.text != "secret"


def test_a_folder_with_a_link_out_of_it_is_not_given(workspace: Workspace) -> None:
    (workspace.exports / "客服" / "gguf-q8_0" / "inner" / "link").symlink_to(workspace.root.parent / "secret")
    answer = client(workspace).get("/download/export/客服/gguf-q8_0")
    assert answer.status_code == 404 and "link out of the folder" in answer.text
