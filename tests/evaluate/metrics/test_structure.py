"""What is JSON and what is not."""

from __future__ import annotations

import pytest

from lorafit.errors import DataError
from lorafit.evaluate.metrics import Texts, measure

SCHEMA = {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}}


def test_one_json_value_and_nothing_else() -> None:
    answers = [
        '{"名": 1}',
        " [1, 2] ",
        "null",
        '{"a": NaN}',
        '```json\n{"a": 1}\n```',
        '{"a": 1} ok',
        "",
        "[" * 100_000,
    ]
    assert measure(["json_valid"], Texts(answers))["json_valid"].samples.tolist() == [1, 1, 1, 0, 0, 0, 0, 0]


def test_a_schema_is_kept() -> None:
    pytest.importorskip("jsonschema")
    answers = ['{"name": "Mira"}', '{"name": 7}', '{"nom": "Mira"}', "Mira", "null"]
    measured = measure(["json_schema"], Texts(answers, schema=SCHEMA))["json_schema"]
    assert measured.samples.tolist() == [1, 0, 0, 0, 0]


def test_a_schema_that_is_none() -> None:
    pytest.importorskip("jsonschema")
    with pytest.raises(DataError, match="not a JSON Schema"):
        measure(["json_schema"], Texts(["{}"], schema={"type": "objekt"}))
    with pytest.raises(DataError, match="none was given"):
        measure(["json_schema"], Texts(["{}"]))
