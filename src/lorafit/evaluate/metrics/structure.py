"""Structured output: is the answer JSON, and does it keep a schema."""

from __future__ import annotations

import json
from typing import Any

from lorafit.errors import DataError
from lorafit.evaluate.metrics.measured import Measured, mean_of
from lorafit.evaluate.metrics.packages import needed
from lorafit.evaluate.metrics.texts import Texts

_INVALID = object()


def measure_json_valid(texts: Texts) -> Measured:
    """Share of answers that are one JSON value and nothing else (RFC 8259: no NaN, no text or fence around it)."""
    return mean_of([float(parsed(answer) is not _INVALID) for answer in texts.answers])


def measure_json_schema(texts: Texts) -> Measured:
    """Share of answers that are JSON and keep `texts.schema`. References to other files or hosts are not followed."""
    jsonschema: Any = needed("jsonschema", "json_schema")
    if texts.schema is None:
        raise DataError("json_schema needs a JSON Schema, and none was given.")
    kind = jsonschema.validators.validator_for(texts.schema)
    try:
        kind.check_schema(texts.schema)
    except jsonschema.SchemaError as error:
        raise DataError(f"json_schema: this is not a JSON Schema: {error.message}") from None
    registry = needed("referencing", "json_schema").Registry()  # jsonschema's own would fetch what it does not know
    validator = kind(texts.schema, registry=registry)
    values = (parsed(answer) for answer in texts.answers)
    return mean_of([float(value is not _INVALID and validator.is_valid(value)) for value in values])


def parsed(text: str) -> Any:
    """The JSON value, or a mark of its own where the text is none."""
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return _INVALID


def _refuse(constant: str) -> Any:
    raise ValueError(constant)
