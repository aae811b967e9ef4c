"""The recipe's settings as fields of a form, made from its schema: a new setting appears by itself."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from lorafit.errors import LorafitError, RecipeError
from lorafit.recipe import METHODS, Recipe, parse_recipe
from lorafit.studio.refusal import StudioError

# `text` is taken as it is; `yaml` as `key=value` on the command line is: mappings, and what may be of several kinds.
Kind = Literal["switch", "choice", "choices", "whole", "number", "text", "list", "yaml"]
_THOUSANDS = re.compile(r"[+-]?\d{1,3}(,\d{3})+")


@dataclass(frozen=True, slots=True)
class FormField:
    """One setting. name: dotted. choices: the words that it takes, of `whole` and `number` beside a number. lowest,
    highest: bounds as in a formula (`>= 1`), empty where there are none. default: as in JSON. required: it has none."""

    name: str
    kind: Kind
    choices: tuple[str, ...]
    lowest: str
    highest: str
    default: Any
    required: bool
    description: str

    @property
    def part(self) -> str:
        """What it belongs to: `data.clean`; empty at the top."""
        return self.name.rpartition(".")[0]


def fields_of(recipe: type[BaseModel] = Recipe) -> tuple[FormField, ...]:
    """Every setting in the order of the recipe."""
    return tuple(_walk(recipe, ""))


@functools.cache
def recipe_fields() -> Mapping[str, FormField]:
    """The fields of a recipe, by dotted name."""
    return {field.name: field for field in fields_of()}


def parse(field: FormField, text: str) -> Any:
    """What was written in a field as a value; what cannot be read stays text, of which the recipe then complains."""
    text = text.strip()
    if field.kind in ("whole", "number"):
        return _number(text, field.kind)
    if field.kind in ("list", "choices") and not text.startswith("["):
        return [item.strip() for item in text.replace("\n", ",").split(",") if item.strip()]
    if field.kind in ("text", "choice"):
        return text
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        return text
    return value if isinstance(value, str | int | float | list | dict) else text  # YAML also knows dates


def setting_of(override: str) -> tuple[str, Any]:
    """Name and value of a `key=value`. Raises StudioError for a name that no setting has."""
    name, _, text = override.partition("=")
    field = recipe_fields().get(name)
    if field is None:
        raise StudioError(f"There is no setting {name!r}.")
    return name, None if text == "null" else parse(field, text)


def written(field: FormField, value: Any) -> str:
    """A value as text that `parse` gives back; nothing for None."""
    if value is None:
        return ""
    if field.kind in ("list", "choices") and isinstance(value, list) and not any("," in str(item) for item in value):
        return ", ".join(map(str, value))
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str) and (field.kind != "yaml" or parse(field, value) == value):
        return value
    shown = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, sort_keys=False, width=1 << 20)
    return shown.removesuffix("\n").removesuffix("\n...")


def faults_of(content: Mapping[str, Any], check: Callable[[Mapping[str, Any]], None]) -> list[tuple[str, str]]:
    """(dotted name, what is wrong) of each fault of a recipe; no name where several settings do not agree.

    check: Workspace.check_recipe, whose word is taken first: parsing would run the code that a text may name.
    """
    try:
        check(content)
        parse_recipe(dict(content))
    except RecipeError as error:
        return [_told(fault) for fault in error.faults]
    except LorafitError as error:
        return [_told(str(error))]
    return []


def method_of(quantization: Any, adapter: Any) -> str:
    """The name that `--method` has for these values of model.quantization and adapter.method; empty for others."""
    wanted = {"model.quantization": quantization, "adapter.method": adapter}
    return next((name for name, settings in METHODS.items() if settings == wanted), "")


def _walk(part: type[BaseModel], prefix: str) -> Iterator[FormField]:
    for name, field in part.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from _walk(inner, f"{prefix}{name}.")
        else:
            yield _field(f"{prefix}{name}", field)


def _field(name: str, field: FieldInfo) -> FormField:
    members = [one for one in _members(field.annotation, tuple(field.metadata)) if one[0] is not type(None)]
    kind, choices = _kind([member for member, _ in members])
    marks = [mark for member, marks in members for mark in marks if member in (int, float)]
    default = None if field.is_required() else to_jsonable_python(field.get_default(call_default_factory=True))
    return FormField(
        name,
        kind,
        choices,
        _bound(marks, {"ge": ">=", "gt": ">"}),
        _bound(marks, {"le": "<=", "lt": "<"}),
        default,
        field.is_required(),
        " ".join((field.description or "").split()),
    )


def _members(annotation: Any, marks: tuple[Any, ...]) -> Iterator[tuple[Any, tuple[Any, ...]]]:
    """(type, constraints on it) of each member of a union, of the one type where it is none."""
    origin = get_origin(annotation)
    if origin is Annotated:
        inner, *more = get_args(annotation)
        told = [mark for one in more for mark in (one.metadata if isinstance(one, FieldInfo) else (one,))]
        yield from _members(inner, (*marks, *told))
    elif origin in (Union, UnionType):
        for member in get_args(annotation):
            yield from _members(member, marks)
    else:
        yield annotation, marks


def _kind(members: list[Any]) -> tuple[Kind, tuple[str, ...]]:
    """The kind of a field and its words, by the types that its value may have (None aside)."""
    words = tuple(str(word) for member in members if get_origin(member) is Literal for word in get_args(member))
    plain = [member for member in members if get_origin(member) is not Literal]
    if not plain:
        return "choice", words
    if len(plain) > 1:
        return "yaml", words
    if get_origin(plain[0]) in (list, tuple):
        return _list_kind(plain[0], words)
    kinds: dict[Any, Kind] = {bool: "switch", int: "whole", float: "number", str: "text"}
    return kinds.get(plain[0], "yaml"), words


def _list_kind(member: Any, words: tuple[str, ...]) -> tuple[Kind, tuple[str, ...]]:
    """Of a list (or tuple of any length): of words, of texts, or of what has to be written as YAML."""
    item = next(iter(get_args(member)), str)
    if words:
        return "yaml", words
    if get_origin(item) is Literal:
        return "choices", tuple(map(str, get_args(item)))
    return ("list", ()) if item is str else ("yaml", ())


def _bound(marks: list[Any], signs: Mapping[str, str]) -> str:
    for mark in marks:
        for attribute, sign in signs.items():
            limit = getattr(mark, attribute, None)
            if limit is not None:
                return f"{sign} {limit:g}" if isinstance(limit, float) else f"{sign} {limit:,}"
    return ""


def _number(text: str, kind: Kind) -> Any:
    digits = text.replace(",", "") if _THOUSANDS.fullmatch(text) else text
    for cast in (int, float) if kind == "number" else (int,):
        try:
            return cast(digits)
        except ValueError:
            continue
    return text


def _told(fault: str) -> tuple[str, str]:
    name, colon, text = fault.partition(": ")
    if colon and name in recipe_fields():
        return name, text
    # A part that faults as a whole (`data: found {...}; ...`) repeats all of it: what follows is what is wrong.
    return "", text.rpartition("}; ")[2] if colon and name in _parts() else fault


@functools.cache
def _parts() -> frozenset[str]:
    names = [name.split(".") for name in recipe_fields()]
    return frozenset(".".join(name[:end]) for name in names for end in range(1, len(name)))
