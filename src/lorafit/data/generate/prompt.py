"""Prompt files: a head in YAML between two lines `---`, then a Jinja template of the question."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import jinja2
import yaml
from jinja2 import meta
from jinja2.sandbox import ImmutableSandboxedEnvironment
from pydantic import Field, ValidationError

from lorafit.errors import DataError
from lorafit.records import Message
from lorafit.settings import Settings

FOLDER = Path(__file__).parent / "prompts"
LANGUAGES = ("en", "zh")
VARIABLES = {
    "passage": {"passage", "file", "place", "headings", "rows"},
    "seeds": {"examples", "rows"},
}
_HEAD = re.compile(r"\A---[ \t]*\n(.*?)^---[ \t]*\n", re.DOTALL | re.MULTILINE)
_HAN = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]")


class Head(Settings):
    """The head of a prompt file."""

    about: str = ""
    """What rows it makes, in a few words."""

    made_from: Literal["passage", "seeds"] = Field("passage", alias="from")
    """What fills the template: a passage of a document, or examples drawn from seed instructions."""

    rows: int = Field(3, ge=1)
    """How many rows are asked for in one request."""

    input: Literal["none", "passage"] = "none"
    """`passage` puts the passage into each row, below its instruction: for summaries, classification and the like."""

    examples: int = Field(4, ge=1)
    """How many seed instructions are shown in one request."""

    system: str = ""
    """The system message of the request."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt file, read. name: its name without `.jinja`, or its path."""

    name: str
    head: Head
    template: jinja2.Template

    def messages(self, values: Mapping[str, Any]) -> tuple[Message, ...]:
        """The question for these values of the variables. Raises DataError when the template fails on them."""
        try:
            question = self.template.render(values).strip()
        except Exception as error:
            raise DataError(f"The prompt {self.name} fails: {error}") from error
        system = (Message("system", self.head.system.strip()),) if self.head.system.strip() else ()
        return (*system, Message("user", question))


def built_in() -> dict[str, str]:
    """The kinds of prompts that come with lorafit, with what they make."""
    kinds = sorted({file.name.split(".")[0] for file in FOLDER.glob("*.jinja")})
    return {kind: load_prompt(kind).head.about for kind in kinds}


def load_prompt(name: str, language: str = "en") -> Prompt:
    """A built-in prompt by its kind (`qa`), in a language, or the user's own file by its path.

    Raises DataError for an unknown name, a head with unknown keys, a template with a fault or with unknown variables.
    """
    built = FOLDER / f"{name}.{language}.jinja"
    if re.fullmatch(r"[\w-]+", name) and built.is_file():
        return _read(built, f"{name}.{language}")
    path = Path(name).expanduser()
    if path.is_file():
        return _read(path, str(path))
    kinds = sorted({file.name.split(".")[0] for file in FOLDER.glob("*.jinja")})
    raise DataError(f"There is no prompt {name!r}: it is neither a file nor one of {', '.join(kinds)}.")


def language_of(text: str) -> Literal["en", "zh"]:
    """The language to ask in: Chinese where a fifth of the letters are Han characters."""
    letters = sum(map(str.isalpha, text))
    return "zh" if len(_HAN.findall(text)) > 0.2 * letters else "en"


@cache
def _read(path: Path, name: str) -> Prompt:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"The prompt {path} cannot be read: {error}") from error
    found = _HEAD.match(text)
    head = _head(found.group(1) if found else "", path)
    body = text[found.end() :] if found else text
    environment = ImmutableSandboxedEnvironment(undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    try:
        used = meta.find_undeclared_variables(environment.parse(body))
        template = environment.from_string(body)
    except jinja2.TemplateSyntaxError as error:
        line = text[: found.end()].count("\n") + error.lineno if found else error.lineno
        raise DataError(f"The prompt {path}, line {line}: {error.message}") from None
    known = VARIABLES[head.made_from]
    if unknown := sorted(used - known):
        raise DataError(
            f"The prompt {path} uses {', '.join(unknown)}; a prompt from {head.made_from} knows "
            f"{', '.join(sorted(known))}."
        )
    needed = "passage" if head.made_from == "passage" else "examples"
    if needed not in used:
        raise DataError(f"The prompt {path} does not use {{{{ {needed} }}}}: every request would be the same.")
    return Prompt(name, head, template)


def _head(text: str, path: Path) -> Head:
    try:
        return Head.model_validate(yaml.safe_load(text) or {})
    except yaml.YAMLError as error:
        raise DataError(f"The head of the prompt {path} is not YAML: {error}") from None
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, one['loc'])) or 'head'}: {one['msg']}" for one in error.errors())
        keys = ", ".join(field.alias or key for key, field in Head.model_fields.items())
        raise DataError(f"The head of the prompt {path} is wrong: {faults}. Its keys are {keys}.") from None
