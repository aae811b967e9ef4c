"""What every form asks of a value: a text that is not empty and can be written, a list that may stand as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

_SHOWN_COLUMNS = 12


class BadRow(Exception):
    """A row is not of its form: the field and what is wrong with it. fault=False: it is not meant to be trained on."""

    def __init__(self, field: str, problem: str, fault: bool = True) -> None:
        super().__init__(problem)
        self.field, self.problem, self.fault = field, problem, fault


def text(fields: Mapping[str, Any], name: str) -> str:
    if name not in fields:
        raise BadRow(name, f"missing; the row has {', '.join(map(str, fields)) or 'no fields'}")
    return spoken(fields[name], name)


def optional_text(fields: Mapping[str, Any], name: str | None) -> str:
    value = fields.get(name) if name else None
    if value is None or (isinstance(value, str) and not value.strip()):
        return ""
    return spoken(value, str(name))


def spoken(value: Any, where: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise BadRow(where, f"should be a text that is not empty, found {kind(value)}")
    return whole(value, where)


def whole(value: str, where: str) -> str:
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise BadRow(
                where, f"holds half a surrogate pair at character {error.start + 1}: a character was cut in two"
            ) from None
    return value


def unfolded(value: Any, where: str) -> Any:
    """A list or object that a table holds as JSON text; anything else as it is."""
    if not isinstance(value, str) or not value.lstrip().startswith(("[", "{")):
        return value
    try:
        return json.loads(value)
    except (RecursionError, ValueError) as error:
        raise BadRow(where, f"is a text that begins like JSON and cannot be read as it: {str(error)[:100]}") from None


def kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, str):
        return "an empty text" if not value.strip() else f"the text {value[:40]!r}"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if isinstance(value, Mapping):
        return "an object"
    return repr(value)[:60]


def near(name: str, names: Iterable[str]) -> str:
    """The names there are, the nearest first asked for."""
    names = list(names)
    matches = get_close_matches(name.lower(), [n.lower() for n in names], n=1)
    meant = next((n for n in names if matches and n.lower() == matches[0]), None)
    listed = ", ".join(map(repr, names[:_SHOWN_COLUMNS])) or "none"
    more = f" and {len(names) - _SHOWN_COLUMNS} more" if len(names) > _SHOWN_COLUMNS else ""
    return f"{f'Did you mean {meant!r}? ' if meant else ''}The columns are {listed}{more}."
