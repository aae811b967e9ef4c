"""Data sets of hubs, with stand-ins for their libraries: no test goes to the network."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest

from lorafit.data.readers.hub import HubSet, parse_hub_set, read_hub_set
from lorafit.errors import DataError

ROWS = [{"question": "q", "answer": f"a{number}"} for number in range(3)]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("owner/name", HubSet("hf", "owner/name")),
        ("hf:squad", HubSet("hf", "squad")),
        ("hf:owner/name:main@v1.2", HubSet("hf", "owner/name", "main", "v1.2")),
        ("owner/name@refs/convert", HubSet("hf", "owner/name", None, "refs/convert")),
        ("modelscope:owner/name:default", HubSet("modelscope", "owner/name", "default")),
        ("ms:owner/name", HubSet("modelscope", "owner/name")),
        ("name", None),
        ("a/b/c", None),
        ("/owner/name", None),
        ("s3:owner/name", None),
        ("C:\\data\\rows", None),
    ],
)
def test_names_of_data_sets(name: str, expected: HubSet | None) -> None:
    assert parse_hub_set(name) == expected


def stand_in(monkeypatch: pytest.MonkeyPatch, given: Any) -> list[Any]:
    """`datasets` and `modelscope` that give this (or raise it), and note what they are asked."""
    asked: list[Any] = []

    def load(*args: Any, **options: Any) -> Any:
        asked.append((args, options))
        if isinstance(given, Exception):
            raise given
        return given

    datasets, modelscope, sets = ModuleType("datasets"), ModuleType("modelscope"), ModuleType("modelscope.msdatasets")
    datasets.load_dataset = load  # type: ignore[attr-defined]
    sets.MsDataset = type("MsDataset", (), {"load": staticmethod(load)})  # type: ignore[attr-defined]
    for module in (datasets, modelscope, sets):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return asked


@pytest.mark.parametrize("given", [ROWS, {"test": [], "train": ROWS}, {"only": ROWS}])
def test_rows_are_streamed_and_numbered(monkeypatch: pytest.MonkeyPatch, given: Any) -> None:
    asked = stand_in(monkeypatch, given)
    found = list(read_hub_set(HubSet("hf", "owner/name", "main", "v1")))
    assert [row.fields for row in found] == ROWS
    assert str(found[2].source) == "hf:owner/name:main@v1, row 3"
    assert asked == [(("owner/name", "main"), {"revision": "v1", "split": None, "streaming": True})]


def test_modelscope_is_asked_in_its_own_words(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = stand_in(monkeypatch, ROWS)
    assert len(list(read_hub_set(HubSet("modelscope", "owner/name", "main", None, "test")))) == 3
    assert asked == [(("owner/name",), {"use_streaming": True, "subset_name": "main", "split": "test"})]


def test_without_a_training_split_one_must_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, {"a": ROWS, "b": ROWS})
    with pytest.raises(DataError, match=r"has no split `train`, but a, b\.\nName one, as in hf:owner/name\[a\]"):
        list(read_hub_set(HubSet("hf", "owner/name")))


@pytest.mark.parametrize("hub", ["hf", "modelscope"])
def test_a_missing_package_or_network_is_one_clear_message(monkeypatch: pytest.MonkeyPatch, hub: Any) -> None:
    stand_in(monkeypatch, ConnectionError("no route to host\nand more"))
    with pytest.raises(
        DataError, match=r"cannot be read from (Hugging Face|ModelScope): no route to host\nIs it spelt"
    ):
        list(read_hub_set(HubSet(hub, "owner/name")))
    for module in ("datasets", "modelscope", "modelscope.msdatasets"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(DataError, match=r"pip install 'lorafit\[(datasets|modelscope)\]'"):
        list(read_hub_set(HubSet(hub, "owner/name")))
