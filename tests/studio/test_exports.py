"""Exports: what can be asked for, and what is on the disk."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from lorafit import exporting
from lorafit.export.gguf.formats import FORMATS as GGUF_FORMATS
from lorafit.export.onnx_model import NEEDED
from lorafit.studio.exports import KINDS, Kind, command, exported, exports_of, is_asked, size_of
from lorafit.studio.jobs import Job
from lorafit.studio.refusal import StudioError
from lorafit.studio.workspace import Workspace

BY_NAME = {kind.name: kind for kind in KINDS}


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


def fill(folder: Path, **figures: object) -> None:
    folder.mkdir(parents=True)
    (folder / "self_check.json").write_text(json.dumps(figures))


def test_the_kinds_and_forms_are_those_of_the_command() -> None:
    assert BY_NAME.keys() == set(exporting.KINDS)
    for kind in KINDS:
        for form in kind.forms:
            asked = {"dtype": form} if kind.option == "--dtype" else {"form": form}
            exporting.settled(exporting.Options(kind.name, **asked))
    for name in ("quantized", "onnx"):
        assert BY_NAME[name].forms == tuple(exporting.FORMATS[name])
    assert set(BY_NAME["gguf"].forms) == GGUF_FORMATS.keys() and set(BY_NAME["merged"].forms) == set(exporting.DTYPES)
    assert BY_NAME["onnx"].packages == NEEDED


def test_a_missing_package_is_named() -> None:
    assert Kind("x", packages=("json", "no_such_package_here")).missing == ["no_such_package_here"]


def test_the_command_writes_to_a_free_folder(workspace: Workspace) -> None:
    gguf, merged, adapter = BY_NAME["gguf"], BY_NAME["merged"], BY_NAME["gguf-adapter"]
    first = command(workspace, "客服", gguf, "q8_0")
    wanted = ["export", "runs/客服", "--to", "gguf", "--format", "q8_0", "--output", "exports/客服/gguf-q8_0"]
    assert first == wanted
    fill(workspace.root / first[-1])
    fill(workspace.runs / "客服" / "export" / "gguf-q8_0-2")
    assert command(workspace, "客服", gguf, "q8_0")[-1] == "exports/客服/gguf-q8_0-3"
    assert command(workspace, "客服", merged, "auto")[4:] == ["--dtype", "auto", "--output", "exports/客服/merged"]
    assert command(workspace, "客服", merged, "float16")[-1] == "exports/客服/merged-float16"
    assert command(workspace, "客服", adapter, None)[3:] == ["gguf-adapter", "--output", "exports/客服/gguf-adapter"]
    for kind, form in ((gguf, "q9; rm"), (gguf, None), (adapter, "q8_0")):
        with pytest.raises(StudioError, match="has no form"):
            command(workspace, "客服", kind, form)


def test_the_same_is_not_asked_for_twice(workspace: Workspace) -> None:
    words = command(workspace, "a", BY_NAME["gguf"], "q8_0")
    log = workspace.root / "log"
    job = Job("1", "export", tuple(words), "", "a", "running", None, 0.0, None, None, None, log, log)
    fill(workspace.root / words[-1])
    assert is_asked([job], command(workspace, "a", BY_NAME["gguf"], "q8_0"))
    assert not is_asked([job], command(workspace, "a", BY_NAME["gguf"], "f16"))
    assert not is_asked([replace(job, state="done")], words)


def test_exports_are_found_newest_first(workspace: Workspace) -> None:
    here, by_hand = workspace.exports / "a", workspace.runs / "a" / "export"
    fill(here / "gguf-q8_0", format="q8_0", reference_perplexity=2.0, perplexity=2.1)
    (here / "gguf-q8_0" / "a.gguf").write_bytes(b"x" * 50)
    fill(by_hand / "merged", format="bfloat16", within_tolerance=False)
    fill(here / ".gguf-f16-temporary")
    (here / "unfinished").mkdir()
    (here / "broken").mkdir()
    (here / "broken" / "self_check.json").write_text("{")
    os.utime(here / "gguf-q8_0" / "self_check.json", (0, 0))
    merged, gguf = exports_of(workspace, "a")
    assert (merged.kind, merged.form, merged.holds, merged.perplexity_change) == ("merged", "bfloat16", False, None)
    assert (gguf.kind, gguf.holds, gguf.main_file) == ("gguf", True, here / "gguf-q8_0" / "a.gguf")
    assert gguf.perplexity_change == pytest.approx(0.05)
    assert gguf.size == size_of(here / "gguf-q8_0") > 50
    assert exported(workspace, "a", "merged") == by_hand / "merged"
    with pytest.raises(StudioError):
        exported(workspace, "a", "unfinished")


def test_a_kind_is_known_by_the_name_of_its_folder(workspace: Workspace) -> None:
    for name, kind in (("gguf-adapter-2", "gguf-adapter"), ("gguf-f16", "gguf"), ("merged", "merged"), ("mine", "")):
        fill(workspace.exports / "a" / name)
        assert next(one for one in exports_of(workspace, "a") if one.folder.name == name).kind == kind
