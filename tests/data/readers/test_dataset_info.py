"""LLaMA-Factory's registry."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lorafit.data.forms.layout import ColumnMap, Tags
from lorafit.data.readers.dataset_info import find_entry
from lorafit.errors import DataError


def registry(folder: Path, **entries: Any) -> str:
    (folder / "dataset_info.json").write_text(json.dumps(entries), encoding="utf-8")
    return folder.as_posix()


def test_an_entry_is_a_source_with_columns_and_tags(tmp_path: Path) -> None:
    folder = registry(
        tmp_path,
        plain={"file_name": "plain.json"},
        pair={"file_name": "p.json", "columns": {"prompt": "q", "query": "more", "response": "a"}, "num_samples": 9},
        talk={
            "hf_hub_url": "owner/talk",
            "ms_hub_url": "other/talk",
            "subset": "zh",
            "split": "sft",
            "formatting": "sharegpt",
            "columns": {"messages": "turns"},
            "tags": {"role_tag": "role", "content_tag": "content", "user_tag": "me", "assistant_tag": "you"},
        },
        kto={"ms_hub_url": "o/kto", "formatting": "sharegpt", "columns": {"messages": "m", "kto_tag": "good"}},
        text={"file_name": "wiki.json", "columns": {"prompt": "text"}},
    )
    plain, pair, talk = (find_entry(f"{folder}/{name}") for name in ("plain", "pair", "talk"))
    assert plain and pair and talk
    assert (Path(plain.source), plain.given) == (tmp_path / "plain.json", ColumnMap())
    assert (pair.given.columns, pair.limit) == ({"prompt": "q", "input": "more", "answer": "a"}, 9)
    assert (talk.source, talk.split) == ("hf:owner/talk:zh", "sft")
    assert talk.given.tags == Tags("role", "content", {"me": "user", "you": "assistant"})
    kto, text = find_entry(f"{folder}/kto"), find_entry(f"{folder}/text")
    assert kto and text
    assert (kto.source, kto.given.columns) == ("modelscope:o/kto", {"messages": "m", "label": "good"})
    assert text.given.columns == {"text": "text"}
    assert find_entry(f"{folder}/other") is None


def test_it_is_looked_for_here_and_in_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_entry("mine") is None
    (tmp_path / "data").mkdir()
    registry(tmp_path / "data", mine={"file_name": "mine.json"})
    found = find_entry("mine")
    assert found and Path(found.source) == Path("data/mine.json")


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (
            {"file_name": "a.json", "columns": {"messages": "m", "images": "i"}},
            "has images, and lorafit trains on text",
        ),
        ({"script_url": "x"}, "no file_name, hf_hub_url or ms_hub_url"),
        ({"file_name": "a.json", "formatting": "xml"}, "formatting 'xml' is not known"),
        ({"file_name": 3}, "file_name should be a text"),
        ({"file_name": "a.json", "columns": ["q"]}, "columns should be an object"),
        ({"file_name": "a.json", "num_samples": -1}, "num_samples should be a number above 0"),
        ("a.json", "should be an object"),
    ],
)
def test_an_entry_that_cannot_be_used_is_said(tmp_path: Path, entry: Any, said: str) -> None:
    with pytest.raises(DataError, match=said):
        find_entry(f"{registry(tmp_path, mine=entry)}/mine")
    (tmp_path / "dataset_info.json").write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match="cannot be read as JSON"):
        find_entry(f"{tmp_path.as_posix()}/mine")
